"""Tuning of `--tile auto`: the fastest tile and batch for a model on a device, measured once and cached.

Tiles of 256, 512 and 1024 pixels with the halo of the job are timed in turn, and on GPUs batches of 1, 2, 4, 8 and 16
of the fastest tile. A larger size is chosen only if it gains at least 3 % in megapixels of core per second. Sizes that
would take more than half of the free memory, or longer than what is left of 20 seconds, are not tried.

Tiles change a result by the error that the halo leaves (none, with the exact halo). So only a job that asks for "auto"
uses the measured size, and a resumed job uses the size with which it started.
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
from masked_denoiser.inference.memory_limits import MemoryLimits
from masked_denoiser.inference.precision import Precision
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.models.file import Model

#: Sides of the tiles, and batches, that are timed.
_TILES, _BATCHES = (256, 512, 1024), (1, 2, 4, 8, 16)

#: Least ratio of the speed of a size to that of a smaller one.
_MIN_GAIN = 1.03

#: Largest share of the free memory that a size may take.
_MEMORY_SHARE = 0.5

#: Longest time of all measurements together, in seconds.
TIME_BUDGET_SECONDS = 20.0


@dataclass(frozen=True)
class Size:
    """Side of the core of a tile in pixels, and number of tiles in a batch."""

    tile: int
    batch: int

    def __str__(self) -> str:
        return f"{self.tile} x {self.tile}" + (f", {self.batch} at a time" if self.batch > 1 else "")


#: Function that returns megapixels per second; None if a size may not be tried, or memory ran out.
Speed = Callable[[Size], float | None]


def choose_size(sizes: Sequence[Size], speed: Speed) -> tuple[Size, dict[Size, float]]:
    """Return the size beyond which nothing is gained, and the measured speeds.

    Args:
        sizes: in increasing order, at least one. The first is returned if none can be measured.
        speed: measures a size.
    """
    best, speeds = sizes[0], dict[Size, float]()
    for size in sizes:
        measured = speed(size)
        if measured is None:
            break
        speeds[size] = measured
        if measured < _MIN_GAIN * speeds[best] and size != best:
            break
        best = size
    return best, speeds


def measure_sizes(probe: Probe, batch: int) -> tuple[Size, dict[Size, float]]:
    """Return the fastest size and all measured speeds: of tiles, then of batches on a GPU if `batch` is 0."""
    grid = probe.model.card.architecture.grid
    best, speeds = choose_size([Size(-(-tile // grid) * grid, batch or 1) for tile in _TILES], probe.speed)
    if batch or probe.device.type == "cpu":
        return best, speeds
    best, batch_speeds = choose_size([replace(best, batch=count) for count in _BATCHES], probe.speed)
    return best, speeds | batch_speeds


@dataclass
class Probe:
    """Speed measurement of a model on a device, within limits of memory and time.

    Attributes:
        model, device, precision, halo: of the job.
        seconds: left for all further measurements.
        out_of_time: whether a size was skipped because it would take too long.
    """

    model: Model
    device: torch.device
    precision: Precision
    halo: int
    seconds: float = TIME_BUDGET_SECONDS
    out_of_time: bool = field(default=False, init=False)
    _seconds_per_pixel: float = field(default=0.0, init=False)
    _bytes_per_pixel: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._runner = ModelRunner(self.model, self.device, precision=self.precision)
        self._runs = 2 if self.device.type == "cpu" else 4  # a GPU selects its kernels for each new shape

    def speed(self, size: Size) -> float | None:
        """Return megapixels of core per second; None if the size takes too much memory or time."""
        config = self.model.card.architecture
        side = -(-(size.tile + 2 * self.halo) // config.grid) * config.grid
        pixels = size.batch * side * side
        memory = max(network_memory(config, size.batch, side, side), self._bytes_per_pixel * pixels)
        if memory > _MEMORY_SHARE * free_memory(self.device):
            return None
        if self._runs * self._seconds_per_pixel * pixels > self.seconds:
            self.out_of_time = True
            return None
        times = self._times(np.full((size.batch, config.channels, side, side), 0.5, np.float32))
        if not times:
            return None
        self.seconds -= sum(times)
        self._seconds_per_pixel = min(times) / pixels
        return size.batch * size.tile**2 / 1e6 / min(times)

    def _times(self, tiles: Any) -> list[float]:
        """Return the seconds of several runs; an empty list if memory ran out."""
        times: list[float] = []
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        for _ in range(self._runs):
            start = time.perf_counter()
            self._runner(tiles, ((0, 0),) * len(tiles))
            times.append(time.perf_counter() - start)
            if self._runner.limits != MemoryLimits():
                return []
        if self.device.type == "cuda":
            self._bytes_per_pixel = torch.cuda.max_memory_allocated(self.device) / tiles[:, 0].size
        return times
