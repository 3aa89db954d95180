"""A model on a device: tiles in, denoised tiles out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masked_denoiser.errors import DeviceError
from masked_denoiser.inference.memory_limits import Limits, is_out_of_memory
from masked_denoiser.inference.precision import Precision
from masked_denoiser.inference.transfer import Waiting, to_device, to_host
from masked_denoiser.models.file import Model
from masked_denoiser.network.exact import exact_float32
from masked_denoiser.network.masks import HashedTokenMask
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.tiling.plan import Plan

Batch = NDArray[np.float32]

#: Channels of a noise map.
_MAP_CHANNELS = 2

#: Context of the parts that a tile is cut into when memory runs out, in pixels.
_PART_OVERLAP = 32


@dataclass(frozen=True)
class Denoised:
    """A result batch [B, C, H, W] float32: the mean over the passes, and their standard deviation if asked for."""

    mean: Batch
    std: Batch | None


#: Gives a result when it is called, from any thread.
Pending = Callable[[], Denoised]


class ModelRunner:
    """Runs a model on tiles.

    When memory runs out, half as many tiles are computed at once from then on, then tiles of half the side, cut with
    overlaps. `limits` records how far that went, and `messages` holds a sentence for each step until the pipeline
    takes it. `waited` counts the seconds that callers waited for results of `submit`.

    Args:
        model: what to run.
        device: where.
        passes: runs with different attention masks.
        seed: of the attention masks.
        std: whether to return the spread of the passes.
        overlap: context in pixels of the parts of a tile that memory does not hold: the halo of its job.
        precision: of the network's matrix products and convolutions. Norms, softmax and, in the Swin family, the
            residual sums stay in float32.
        limits: what is known of the memory.
        keep: called with each new limit.
        or_cpu: whether the CPU takes over where a GPU's memory does not hold the smallest part.
    """

    def __init__(
        self,
        model: Model,
        device: torch.device,
        *,
        passes: int = 1,
        seed: int = 0,
        std: bool = False,
        precision: Precision = "float32",
        overlap: int = _PART_OVERLAP,
        limits: Limits | None = None,
        keep: Callable[[Limits], None] | None = None,
        or_cpu: bool = False,
    ) -> None:
        self.config = model.card.architecture
        self.device, self.passes, self.seed, self.std, self.precision = device, passes, seed, std, precision
        self.network = model.build().to(device)
        # Pixels are masked in training only, and looking for them takes time.
        self._no_masked_pixels: dict[str, Any] = {"masked": False} if isinstance(self.config, UConfig) else {}
        self.overlap = -(-max(overlap, 1) // self.config.grid) * self.config.grid
        self.limits, self._keep, self._or_cpu = limits or Limits(), keep, or_cpu
        self.messages: list[str] = []
        self.waited = 0.0

    @property
    def takes_noise_map(self) -> bool:
        """Whether the network takes a map of the noise's standard deviation."""
        return isinstance(self.config, UConfig) and self.config.noise_map

    @property
    def soft_limit(self) -> float:
        """Standard deviations of the noise that the network corrects a pixel by at most; 0 if it has no such limit."""
        return self.config.limit if isinstance(self.config, UConfig) else 0.0

    def __call__(self, tiles: Batch, origins: tuple[tuple[int, int], ...], noise: Batch | None = None) -> Denoised:
        """Denoise tiles of one shape.

        Args:
            tiles: [B, C, H, W] in [0, 1], C 1 or 3, of any height and width; sides that are no multiple
                of the window are completed at the bottom and the right by reflection.
            origins: (row, column) in the image of each tile's first pixel.
            noise: [B, 1, H, W], standard deviation of the noise in the same units, for networks that take a map of
                it; None where it is not known.

        Raises:
            DeviceError: if the device has too little memory for the smallest tile that makes sense.
        """
        return self._begin(tiles, origins, noise)()

    def submit(self, tiles: Batch, origins: tuple[tuple[int, int], ...], noise: Batch | None = None) -> Pending:
        """The same, but a GPU is only given the work; what is returned waits for it. A CPU has done it by then.

        Raises:
            DeviceError: as above. Memory runs out when work is given, not when it is waited for.
        """
        coming = self._begin(tiles, origins, noise)

        def result() -> Denoised:
            began = time.monotonic()
            out = coming()
            self.waited += time.monotonic() - began
            return out

        return result

    def _begin(self, tiles: Batch, origins: tuple[tuple[int, int], ...], noise: Batch | None) -> Pending:
        height, width = tiles.shape[-2:]
        whole = reflect(self._with_noise_map(tiles, noise), self.config.grid)
        while True:
            try:
                coming = self._all(whole, origins)
                break
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                failed = error.with_traceback(None)  # whose frames would hold the memory of what failed
            self._take_less(whole.shape, failed)

        def result() -> Denoised:
            outs = coming()[..., :height, :width]
            return Denoised(outs.mean(axis=0), outs.std(axis=0, ddof=1) if self.std else None)

        return result

    def _with_noise_map(self, tiles: Batch, noise: Batch | None) -> Batch:
        """For networks that take them, two more channels: standard deviation, and whether it is known."""
        if not self.takes_noise_map:
            return tiles
        known = np.full_like(tiles[:, :1], noise is not None)
        return np.concatenate([tiles, np.zeros_like(known) if noise is None else noise, known], axis=1)

    def _all(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> Waiting:
        """[passes, B, C, H, W], so many tiles of such a side at once as memory allows."""
        step, side = self.limits.at_once or len(tiles), self.limits.side
        fits = side is None or max(tiles.shape[-2:]) <= side
        if step >= len(tiles) and fits:
            return self._each_pass(tiles, origins)
        one = self._whole if fits else self._in_parts
        parts = [one(tiles[i : i + step], origins[i : i + step]) for i in range(0, len(tiles), step)]
        out = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return lambda: out

    def _whole(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> NDArray[np.float32]:
        return self._each_pass(tiles, origins)()

    def _in_parts(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> NDArray[np.float32]:
        batch, channels, *sides = tiles.shape
        channels -= _MAP_CHANNELS * self.takes_noise_map
        out, grid = np.empty((self.passes, batch, channels, *sides), np.float32), self.config.grid
        core = max(grid, ((self.limits.side or 0) - 2 * self.overlap) // grid * grid)
        for tile in Plan((tiles.shape[-2], tiles.shape[-1]), core, self.overlap, grid):
            rows, columns = (span.index for span in tile.read)
            places = tuple((y + rows.start, x + columns.start) for y, x in origins)
            inner = self._whole(np.ascontiguousarray(tiles[..., rows, columns]), places)
            out[..., tile.core[0].index, tile.core[1].index] = inner[..., *tile.core_in_read]
        return out

    def _each_pass(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> Waiting:
        return to_host(torch.stack([self._run(tiles, origins, n) for n in range(self.passes)]))

    def _take_less(self, shape: tuple[int, ...], error: RuntimeError) -> None:
        """Less at once from now on; nothing less, and the CPU takes over if it may.

        Raises:
            DeviceError: if there is nothing left to halve, and no CPU to go on with.
        """
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        less = self.limits.less(shape[0], max(shape[-2:]), self.config.grid + 2 * self.overlap)
        if less is not None:
            self.limits = less
            self.messages.append(f"memory ran out on {self.device}: from now on {less}")
            if self._keep is not None:
                self._keep(less)
            return
        too_little = (
            f"{self.device} has too little memory for a tile of {shape[-2]} x {shape[-1]} pixels, even in parts"
        )
        if self.device.type == "cpu":
            raise DeviceError(f"{too_little}; choose a smaller tile") from error
        if not self._or_cpu:
            raise DeviceError(
                f"{too_little}; choose a smaller tile, end what else uses its memory, or go on with "
                "--cpu-as-last-resort, on the CPU"
            ) from error
        self.messages.append(f"{too_little}: from now on the CPU computes, as was asked for; it is slower")
        self.device, self.limits = torch.device("cpu"), Limits()
        self.network = self.network.to(self.device)

    def _run(self, tiles: Batch, origins: tuple[tuple[int, int], ...], number: int) -> Tensor:
        """One pass, [B, C, H, W] on the device."""
        images, more = to_device(tiles, self.device), dict(self._no_masked_pixels)
        if self.takes_noise_map:
            images, noise = images[:, :-_MAP_CHANNELS], images[:, -_MAP_CHANNELS:]
            more["noise"] = noise.repeat_interleave(images.shape[1], 0) if self.config.channels == 1 else noise
        batch, channels = images.shape[:2]
        if channels == 3 and self.config.channels == 1:
            images = images.flatten(0, 1)[:, None]
            origins = tuple(origin for origin in origins for _ in range(3))
        elif channels == 1 and self.config.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        with torch.inference_mode(), computing(self.device, self.precision):
            out: Tensor = self.network(images, self._mask(origins, number), **more).float()
        if self.config.channels == channels:
            return out
        return out.view(batch, 3, *out.shape[-2:]) if channels == 3 else out.mean(dim=1, keepdim=True)

    def _mask(self, origins: tuple[tuple[int, int], ...], number: int) -> HashedTokenMask | None:
        if not self.config.attention_mask:
            return None
        return HashedTokenMask(self.config.attention_mask, self.seed, number, origins, self.config.scale, self.device)


@contextmanager
def computing(device: torch.device, precision: Precision) -> Iterator[None]:
    """Matrix products and convolutions in this precision, norms and softmax in float32.

    Where float32 is promised, TF32 is switched off: see `exact_float32`.
    """
    half = nullcontext() if precision == "float32" else torch.autocast(device.type, getattr(torch, precision))
    with exact_float32(), half:
        yield


def reflect(tiles: Batch, grid: int) -> Batch:
    """Completes height and width to multiples of the grid, by reflection at the bottom and the right.

    NumPy's reflection goes on to and fro, so that an image of 1 x 3 pixels is completed too.
    """
    height, width = tiles.shape[-2:]
    return np.pad(tiles, ((0, 0), (0, 0), (0, -height % grid), (0, -width % grid)), mode="reflect")
