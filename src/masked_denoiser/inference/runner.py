"""Model runner: a model on a device, which denoises tiles."""

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
from masked_denoiser.inference.cpu.prepare import prepare_for_cpu
from masked_denoiser.inference.cpu.swin import CpuSwin
from masked_denoiser.inference.cpu.ushape import CpuU
from masked_denoiser.inference.memory_limits import MemoryLimits, is_out_of_memory
from masked_denoiser.inference.orientations import orient, restore
from masked_denoiser.inference.precision import Precision
from masked_denoiser.inference.transfer import PendingArray, place, to_device, to_host
from masked_denoiser.models.file import Model
from masked_denoiser.models.uncertainty import Uncertainty
from masked_denoiser.network.exact import exact_float32
from masked_denoiser.network.masks import HashedTokenMask
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.tiling.plan import Plan

Batch = NDArray[np.float32]

#: Channels of a noise map.
_MAP_CHANNELS = 2

#: Default halo, in pixels, of the parts into which a tile is split when memory runs out.
_PART_OVERLAP = 32


@dataclass(frozen=True)
class Denoised:
    """A result batch [B, C, H, W] float32: the mean over the passes, and their standard deviation if requested."""

    mean: Batch
    std: Batch | None


#: Function that waits for a result and returns it, from any thread.
Pending = Callable[[], Denoised]


class ModelRunner:
    """A model on a device that adapts to its memory.

    When memory runs out, the number of tiles per run is halved for the rest of the job, and finally tiles are split
    into overlapping parts of half the side. `limits` records the result, and `take_messages` returns a message for
    each step. `wait_seconds` is the time that callers waited for results of `submit`.

    Args:
        model: to run.
        device: where to run it.
        passes: number of runs: with different attention masks or, for networks without masks, orientations.
        seed: of the attention masks.
        std: whether to return the standard deviation of the passes.
        overlap: halo in pixels of the parts of a tile that does not fit into memory: the halo of the job.
        precision: of the network's matrix products and convolutions. Norms, softmax and, in the Swin family, the
            residual sums of the blocks stay in float32; in fused kernels those between groups do not.
        limits: known memory limits.
        on_new_limits: called with each new limit.
        cpu_fallback: whether the CPU takes over if a GPU has too little memory for the smallest part.
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
        limits: MemoryLimits | None = None,
        on_new_limits: Callable[[MemoryLimits], None] | None = None,
        cpu_fallback: bool = False,
    ) -> None:
        self.config = model.card.architecture
        self.passes, self.seed, self.std, self.precision = passes, seed, std, precision
        self.network, self.device, self._messages = place(model.build(), device, cpu_fallback)
        self._fused = self._prepare_fused()
        # Pixels are masked only in training, and searching for them takes time.
        self._no_masked_pixels: dict[str, Any] = {"masked": False} if isinstance(self.config, UConfig) else {}
        self.overlap = -(-max(overlap, 1) // self.config.grid) * self.config.grid
        self.limits, self._on_new_limits, self._cpu_fallback = limits or MemoryLimits(), on_new_limits, cpu_fallback
        self.wait_seconds = 0.0
        self.uncertainty = Uncertainty.from_dict(model.card.uncertainty)

    @property
    def takes_noise_map(self) -> bool:
        """Whether the network takes a map of the standard deviation of the noise."""
        return isinstance(self.config, UConfig) and self.config.noise_map

    @property
    def soft_limit(self) -> float:
        """Largest correction of a pixel, in standard deviations of the noise; 0 if the network has no such limit."""
        return self.config.limit if isinstance(self.config, UConfig) else 0.0

    def use_layers(self) -> None:
        """Run the layers of `network` instead of fused kernels from now on."""
        self._fused = None

    def _prepare_fused(self) -> CpuSwin | CpuU | None:
        """Return the network with fused kernels, or None if they are not available for the device and precision."""
        return prepare_for_cpu(self.network, getattr(torch, self.precision)) if self.device.type == "cpu" else None

    def add_message(self, text: str) -> None:
        """Add a message for the user."""
        self._messages.append(text)

    def take_messages(self) -> list[str]:
        """Return and remove the messages since the last call."""
        messages, self._messages = self._messages, []
        return messages

    def __call__(self, tiles: Batch, origins: tuple[tuple[int, int], ...], noise: Batch | None = None) -> Denoised:
        """Denoise tiles of one shape.

        Args:
            tiles: [B, C, H, W] in [0, 1], C 1 or 3, of any height and width; sides that are not multiples of the
                window are padded at the bottom and the right by reflection.
            origins: (row, column) in the image of each tile's first pixel.
            noise: [B, 1, H, W], standard deviation of the noise in the same units, for networks that take a noise map;
                None if it is not known.

        Raises:
            DeviceError: if memory does not suffice for the smallest useful tile, or the result is not finite.
        """
        return self._start(tiles, origins, noise)()

    def submit(self, tiles: Batch, origins: tuple[tuple[int, int], ...], noise: Batch | None = None) -> Pending:
        """Start to denoise tiles as `__call__` does, and return a function that waits for the result.

        A GPU works in the background; a CPU is finished when this returns.

        Raises:
            DeviceError: as above. Memory runs out here, not while waiting for the result.
        """
        pending = self._start(tiles, origins, noise)

        def result() -> Denoised:
            start = time.monotonic()
            out = pending()
            self.wait_seconds += time.monotonic() - start
            return out

        return result

    def _start(self, tiles: Batch, origins: tuple[tuple[int, int], ...], noise: Batch | None) -> Pending:
        height, width = tiles.shape[-2:]
        padded = reflect(self._with_noise_map(tiles, noise), self.config.grid)
        while True:
            try:
                pending = self._run_batch(padded, origins)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                failure = error.with_traceback(None)  # the frames would keep the memory of the failed run
            self._reduce_limits(padded.shape, failure)

        def result() -> Denoised:
            passes = pending()[..., :height, :width]
            if not np.isfinite(passes).all():
                remedy = "choose another model" if self.precision == "float32" else "use --precision float32"
                raise DeviceError(f"the network returned NaN or infinity in {self.precision}; {remedy}")
            return Denoised(passes.mean(axis=0), passes.std(axis=0, ddof=1) if self.std else None)

        return result

    def _with_noise_map(self, tiles: Batch, noise: Batch | None) -> Batch:
        """Return tiles with two more channels if the network takes them: standard deviation and whether it is known."""
        if not self.takes_noise_map:
            return tiles
        known = np.full_like(tiles[:, :1], noise is not None)
        return np.concatenate([tiles, np.zeros_like(known) if noise is None else noise, known], axis=1)

    def _run_batch(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> PendingArray:
        """Start [passes, B, C, H, W], within the memory limits."""
        step, side = self.limits.at_once or len(tiles), self.limits.side
        fits = side is None or max(tiles.shape[-2:]) <= side
        if step >= len(tiles) and fits:
            return self._run_passes(tiles, origins)
        run = self._run_whole if fits else self._run_in_parts
        parts = [run(tiles[i : i + step], origins[i : i + step]) for i in range(0, len(tiles), step)]
        out = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return lambda: out

    def _run_whole(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> NDArray[np.float32]:
        return self._run_passes(tiles, origins)()

    def _run_in_parts(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> NDArray[np.float32]:
        batch, channels, *sides = tiles.shape
        channels -= _MAP_CHANNELS * self.takes_noise_map
        out, grid = np.empty((self.passes, batch, channels, *sides), np.float32), self.config.grid
        core = max(grid, ((self.limits.side or 0) - 2 * self.overlap) // grid * grid)
        for part in Plan((tiles.shape[-2], tiles.shape[-1]), core, self.overlap, grid):
            rows, columns = (span.index for span in part.read)
            part_origins = tuple((y + rows.start, x + columns.start) for y, x in origins)
            denoised = self._run_whole(np.ascontiguousarray(tiles[..., rows, columns]), part_origins)
            out[..., part.core[0].index, part.core[1].index] = denoised[..., *part.core_in_read]
        return out

    def _run_passes(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> PendingArray:
        return to_host(torch.stack([self._run_pass(tiles, origins, number) for number in range(self.passes)]))

    def _reduce_limits(self, shape: tuple[int, ...], error: RuntimeError | MemoryError) -> None:
        """Reduce the memory limits, or switch to the CPU if they are minimal and the fallback is allowed.

        Raises:
            DeviceError: if neither is possible.
        """
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        reduced = self.limits.reduced(shape[0], max(shape[-2:]), self.config.grid + 2 * self.overlap)
        if reduced is not None:
            self.limits = reduced
            self.add_message(f"{self.device} ran out of memory: continuing with {reduced}")
            if self._on_new_limits is not None:
                self._on_new_limits(reduced)
            return
        reason = f"{self.device} has too little memory for a tile of {shape[-2]} x {shape[-1]} pixels, even in parts"
        if self.device.type == "cpu":
            raise DeviceError(f"{reason}; choose a smaller tile") from error
        if not self._cpu_fallback:
            raise DeviceError(
                f"{reason}; choose a smaller tile, close other programs that use its memory, or continue on the "
                "CPU with --cpu-as-last-resort"
            ) from error
        self.add_message(f"{reason}: continuing on the CPU, as requested, which is slower")
        self.device, self.limits = torch.device("cpu"), MemoryLimits()
        self.network = self.network.to(self.device)
        self._fused = self._prepare_fused()

    def _run_pass(self, tiles: Batch, origins: tuple[tuple[int, int], ...], number: int) -> Tensor:
        """Return the result of one pass, [B, C, H, W] on the device."""
        images, arguments = to_device(tiles, self.device), dict(self._no_masked_pixels)
        oriented = number if not self.config.attention_mask else 0
        images = orient(images, oriented).contiguous()
        if self.takes_noise_map:
            images, noise = images[:, :-_MAP_CHANNELS], images[:, -_MAP_CHANNELS:]
            arguments["noise"] = noise.repeat_interleave(images.shape[1], 0) if self.config.channels == 1 else noise
        batch, channels = images.shape[:2]
        if channels == 3 and self.config.channels == 1:
            images = images.flatten(0, 1)[:, None]
            origins = tuple(origin for origin in origins for _ in range(3))
        elif channels == 1 and self.config.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        with torch.inference_mode():
            out = restore(self._forward(images, self._mask(origins, number), arguments), oriented)
        if self.config.channels == channels:
            return out
        return out.view(batch, 3, *out.shape[-2:]) if channels == 3 else out.mean(dim=1, keepdim=True)

    def _forward(self, images: Tensor, mask: HashedTokenMask | None, arguments: dict[str, Any]) -> Tensor:
        """Return the result of the network in float32."""
        if self._fused is not None:
            with exact_float32():
                return self._fused(images, mask, **arguments)
        with precision_context(self.device, self.precision):
            out: Tensor = self.network(images, mask, **arguments)
        return out.float()

    def _mask(self, origins: tuple[tuple[int, int], ...], number: int) -> HashedTokenMask | None:
        if not self.config.attention_mask:
            return None
        # Versions of torch differ in 64-bit integers on Apple's GPUs.
        device = self.device if self.device.type == "cuda" else "cpu"
        return HashedTokenMask(self.config.attention_mask, self.seed, number, origins, self.config.scale, device)


@contextmanager
def precision_context(device: torch.device, precision: Precision) -> Iterator[None]:
    """Set the precision of matrix products and convolutions; norms and softmax stay in float32.

    TF32 is switched off, so that float32 is exact: see `exact_float32`.
    """
    half = nullcontext() if precision == "float32" else torch.autocast(device.type, getattr(torch, precision))
    with exact_float32(), half:
        yield


def reflect(tiles: Batch, grid: int) -> Batch:
    """Return tiles padded to multiples of the grid, by reflection at the bottom and the right.

    NumPy repeats the reflection as often as needed, so that even an image of 1 x 3 pixels can be padded.
    """
    height, width = tiles.shape[-2:]
    return np.pad(tiles, ((0, 0), (0, 0), (0, -height % grid), (0, -width % grid)), mode="reflect")
