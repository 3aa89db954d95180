"""A model on a device: tiles in, denoised tiles out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masked_denoiser.denoising.precision import Precision
from masked_denoiser.errors import UserError
from masked_denoiser.models.file import Model
from masked_denoiser.network.masks import HashedTokenMask
from masked_denoiser.tiling.plan import Plan

Batch = NDArray[np.float32]

#: Context of the parts that a tile is cut into when memory runs out, in pixels.
_PART_OVERLAP = 32


class DeviceError(UserError, ValueError):
    """The device could not do what was asked of it.

    Not a RuntimeError, as torch's own is: napari's workers lose those.
    """


@dataclass(frozen=True)
class Denoised:
    """A result batch [B, C, H, W] float32: the mean over the passes, and their standard deviation if asked for."""

    mean: Batch
    std: Batch | None


class Denoiser:
    """Runs a model on tiles.

    Memory that runs out is no end: half as many tiles are taken at once from then on, then tiles of half the side, cut
    with overlaps. `said` holds a sentence for each such step until somebody takes it.

    Args:
        model: what to run.
        device: where.
        passes: runs with different attention masks.
        seed: of the attention masks.
        std: whether to return the spread of the passes.
        overlap: context in pixels of the parts of a tile that memory does not hold: the halo of its job.
        precision: of the network's matrix products and convolutions. Norms, softmax and, in the Swin family, the
            residual sums stay in float32.
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
    ) -> None:
        self.config = model.card.architecture
        self.device, self.passes, self.seed, self.std, self.precision = device, passes, seed, std, precision
        self.network = model.build().to(device)
        self.overlap = -(-max(overlap, 1) // self.config.grid) * self.config.grid
        self.at_once: int | None = None
        self.side: int | None = None
        self.said: list[str] = []

    def __call__(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> Denoised:
        """Denoises tiles of one shape.

        Args:
            tiles: [B, C, H, W] in [0, 1], C 1 or 3, of any height and width; sides that are no multiple
                of the window are completed at the bottom and the right by reflection.
            origins: (row, column) in the image of each tile's first pixel.

        Raises:
            DeviceError: if the device has too little memory for the smallest tile that makes sense.
        """
        height, width = tiles.shape[-2:]
        whole = reflect(tiles, self.config.grid)
        while True:
            try:
                outs = self._all(whole, origins)[..., :height, :width]
                break
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._take_less(whole.shape, error)
        std = outs.std(axis=0, ddof=1) if self.std else None
        return Denoised(outs.mean(axis=0), std)

    def _all(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> NDArray[np.float32]:
        """[passes, B, C, H, W], so many tiles of such a side at once as memory allows."""
        step = self.at_once or len(tiles)
        parts = [self._tiles(tiles[i : i + step], origins[i : i + step]) for i in range(0, len(tiles), step)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _tiles(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> NDArray[np.float32]:
        height, width = tiles.shape[-2:]
        if self.side is None or max(height, width) <= self.side:
            return self._each_pass(tiles, origins)
        out = np.empty((self.passes, *tiles.shape), np.float32)
        grid = self.config.grid
        core = max(grid, (self.side - 2 * self.overlap) // grid * grid)
        for tile in Plan((height, width), core, self.overlap, grid):
            rows, columns = (span.index for span in tile.read)
            places = tuple((y + rows.start, x + columns.start) for y, x in origins)
            inner = self._each_pass(np.ascontiguousarray(tiles[..., rows, columns]), places)
            out[..., tile.core[0].index, tile.core[1].index] = inner[..., *tile.core_in_read]
        return out

    def _each_pass(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> NDArray[np.float32]:
        return torch.stack([self._run(tiles, origins, n) for n in range(self.passes)]).cpu().numpy()

    def _take_less(self, shape: tuple[int, ...], error: RuntimeError) -> None:
        """Half as many tiles at once from now on, or tiles of half the side.

        Raises:
            DeviceError: if there is nothing left to halve.
        """
        count, height, width = self.at_once or shape[0], *shape[-2:]
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if count > 1:
            self.at_once = count // 2
            self.said.append(f"memory ran out on {self.device}: from now on {self.at_once} tiles at once")
            return
        side, least = self.side or max(height, width), self.config.grid + 2 * self.overlap
        if side <= least:
            raise DeviceError(
                f"{self.device} has too little memory for a tile of {height} x {width} pixels, even in parts; "
                "choose a smaller tile, or the CPU"
            ) from error
        self.side = max(side // 2, least)
        self.said.append(
            f"memory ran out on {self.device}: from now on tiles are denoised in parts of at most {self.side} x "
            f"{self.side} pixels, which differ from whole tiles as tiles with this halo differ from the whole image"
        )

    def _run(self, tiles: Batch, origins: tuple[tuple[int, int], ...], number: int) -> Tensor:
        """One pass, [B, C, H, W] on the device."""
        batch, channels = tiles.shape[:2]
        images = torch.from_numpy(tiles).to(self.device)
        if channels == 3 and self.config.channels == 1:
            images = images.flatten(0, 1)[:, None]
            origins = tuple(origin for origin in origins for _ in range(3))
        elif channels == 1 and self.config.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        with torch.inference_mode(), computing(self.device, self.precision):
            out: Tensor = self.network(images, self._mask(origins, number)).float()
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

    torch rounds convolutions on CUDA to TF32 unless told otherwise; float32 is what is promised.
    """
    half = nullcontext() if precision == "float32" else torch.autocast(device.type, getattr(torch, precision))
    with torch.backends.cudnn.flags(allow_tf32=False), half:
        yield


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says, in the words of any device, that memory ran out; only CUDA has a type for it."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


def reflect(tiles: Batch, grid: int) -> Batch:
    """Completes height and width to multiples of the grid, by reflection at the bottom and the right.

    NumPy's reflection goes on to and fro, so that an image of 1 x 3 pixels is completed too.
    """
    height, width = tiles.shape[-2:]
    return np.pad(tiles, ((0, 0), (0, 0), (0, -height % grid), (0, -width % grid)), mode="reflect")
