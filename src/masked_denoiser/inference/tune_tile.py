"""`--tile auto`: the tile and the batch that are fastest for a model on a device: measured once, and remembered.

Tiles of 256, 512 and 1024 pixels with the halo of the job are timed one by one, and on GPUs 1, 2, 4, 8 and 16 of the
best at once. Larger is taken only where it gains 3 % or more of megapixels of core a second, and nothing is tried that
would take more than half of the free memory, or longer than is left of 20 seconds.

Tiles change a result by what the halo leaves (nothing, with the exact one), so only a job that asks for "auto" takes
what was measured, and a resumed job takes what it was begun with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from masked_denoiser.inference.device import free_memory
from masked_denoiser.inference.memory_estimate import network_memory
from masked_denoiser.inference.memory_limits import Limits
from masked_denoiser.inference.precision import Precision
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.models.file import Model

_TILES, _BATCHES = (256, 512, 1024), (1, 2, 4, 8, 16)

#: What a larger size must gain, what it may take of the free memory, and how long all may take, in seconds.
_WORTH, _SHARE, _SECONDS = 1.03, 0.5, 20.0


@dataclass(frozen=True)
class Size:
    """What goes through a network at once: tiles, and the side of their cores in pixels."""

    tile: int
    batch: int

    def __str__(self) -> str:
        return f"{self.tile} x {self.tile}" + (f", {self.batch} at once" if self.batch > 1 else "")


#: Megapixels a second; None where a size is not to be tried, or memory ran out.
Speed = Callable[[Size], float | None]


def choose_size(sizes: Sequence[Size], speed: Speed) -> tuple[Size, dict[Size, float]]:
    """The size beyond which nothing is gained, and what was measured.

    Args:
        sizes: from small to large, at least one. The first is the answer where none can be measured.
        speed: measures a size.
    """
    best, measured = sizes[0], dict[Size, float]()
    for size in sizes:
        got = speed(size)
        if got is None:
            break
        measured[size] = got
        if got < _WORTH * measured[best] and size != best:
            break
        best = size
    return best, measured


def _measured(probe: Probe, batch: int) -> tuple[Size, dict[Size, float]]:
    """Tiles first, then batches of the best, where a GPU is to be filled and no batch is given."""
    grid = probe.model.card.architecture.grid
    best, speeds = choose_size([Size(-(-tile // grid) * grid, batch or 1) for tile in _TILES], probe.speed)
    if batch or probe.device.type == "cpu":
        return best, speeds
    best, more = choose_size([replace(best, batch=count) for count in _BATCHES], probe.speed)
    return best, speeds | more


@dataclass
class Probe:
    """Times a model on a device, within bounds of memory and time.

    Attributes:
        model, device, precision, halo: as of the job.
        seconds: that all measurements may take together.
        hurried: whether a size was left out for want of time.
    """

    model: Model
    device: torch.device
    precision: Precision
    halo: int
    seconds: float = _SECONDS
    hurried: bool = field(default=False, init=False)
    _per_pixel: float = field(default=0.0, init=False)
    _bytes_per_pixel: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._denoiser = ModelRunner(self.model, self.device, precision=self.precision)
        self._runs = 2 if self.device.type == "cpu" else 4  # a GPU looks for its kernels at each new shape

    def speed(self, size: Size) -> float | None:
        """Megapixels of core a second; None if the size would take too much memory or time, or did."""
        config = self.model.card.architecture
        side = -(-(size.tile + 2 * self.halo) // config.grid) * config.grid
        pixels = size.batch * side * side
        memory = max(network_memory(config, size.batch, side, side), self._bytes_per_pixel * pixels)
        if memory > _SHARE * free_memory(self.device):
            return None
        if self._runs * self._per_pixel * pixels > self.seconds:
            self.hurried = True
            return None
        times = self._times(np.full((size.batch, config.channels, side, side), 0.5, np.float32))
        if not times:
            return None
        self.seconds -= sum(times)
        self._per_pixel = min(times) / pixels
        return size.batch * size.tile**2 / 1e6 / min(times)

    def _times(self, tiles: Any) -> list[float]:
        """Of some runs; none where memory ran out."""
        times: list[float] = []
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        for _ in range(self._runs):
            began = time.perf_counter()
            self._denoiser(tiles, ((0, 0),) * len(tiles))
            times.append(time.perf_counter() - began)
            if self._denoiser.limits != Limits():
                return []
        if self.device.type == "cuda":
            self._bytes_per_pixel = torch.cuda.max_memory_allocated(self.device) / tiles[:, 0].size
        return times
