"""A model on a device: tiles in, denoised tiles out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masked_denoiser.errors import UserError
from masked_denoiser.models.file import Model
from masked_denoiser.network.masks import HashedTokenMask

Batch = NDArray[np.float32]


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

    Args:
        model: what to run.
        device: where.
        passes: runs with different attention masks.
        seed: of the attention masks.
        std: whether to return the spread of the passes.
    """

    def __init__(
        self, model: Model, device: torch.device, *, passes: int = 1, seed: int = 0, std: bool = False
    ) -> None:
        self.config = model.card.architecture
        self.device, self.passes, self.seed, self.std = device, passes, seed, std
        self.network = model.build().to(device)

    def __call__(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> Denoised:
        """Denoises tiles of one shape.

        Args:
            tiles: [B, C, H, W] in [0, 1], C 1 or 3, of any height and width; sides that are no multiple
                of the window are completed at the bottom and the right by reflection.
            origins: (row, column) in the image of each tile's first pixel.

        Raises:
            DeviceError: if the device runs out of memory.
        """
        whole = reflect(tiles, self.config.grid)
        try:
            outs = torch.stack([self._run(whole, origins, number) for number in range(self.passes)])
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            height, width = whole.shape[-2:]
            raise DeviceError(
                f"{self.device} has too little memory for {len(whole)} tiles of {height} x {width} pixels; "
                "choose a smaller tile or batch, or the CPU"
            ) from error
        height, width = tiles.shape[-2:]
        outs = outs[..., :height, :width]
        std = outs.std(dim=0).cpu().numpy() if self.std else None
        return Denoised(outs.mean(dim=0).cpu().numpy(), std)

    def _run(self, tiles: Batch, origins: tuple[tuple[int, int], ...], number: int) -> Tensor:
        """One pass, [B, C, H, W] on the device."""
        batch, channels = tiles.shape[:2]
        images = torch.from_numpy(tiles).to(self.device)
        if channels == 3 and self.config.channels == 1:
            images = images.flatten(0, 1)[:, None]
            origins = tuple(origin for origin in origins for _ in range(3))
        elif channels == 1 and self.config.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        # torch rounds convolutions on CUDA to TF32 unless told otherwise; float32 is what is promised.
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            out: Tensor = self.network(images, self._mask(origins, number))
        if self.config.channels == channels:
            return out
        return out.view(batch, 3, *out.shape[-2:]) if channels == 3 else out.mean(dim=1, keepdim=True)

    def _mask(self, origins: tuple[tuple[int, int], ...], number: int) -> HashedTokenMask | None:
        if not self.config.attention_mask:
            return None
        return HashedTokenMask(self.config.attention_mask, self.seed, number, origins, self.config.scale)


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
