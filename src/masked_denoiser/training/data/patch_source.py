"""Interface of what supplies the clean patches of a step: images resident on the device, or files read ahead."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name)

from masked_denoiser.training.recipe import TrainingRecipe


class Patches(NamedTuple):
    """Patches of a step, on the device.

    Attributes:
        images: [B, C, size, size] float32.
        truths: those of pairs.
        stretches: [B, 2], gain and offset of each patch with which the network sees it; see `TrainingImage.stretch`.
    """

    images: Tensor
    truths: Tensor | None
    stretches: Tensor


#: Number of downscaling factors in a step; patches of one factor are resized together.
_FACTORS = 4
#: Smallest downscaling factor.
_MIN_FACTOR = 0.5


class PatchSource(Protocol):
    """Supply of patches. The same recipe and step give the same patches on the same kind of device."""

    def get(self, step: int, cancel: threading.Event | None = None) -> Patches:
        """Return the patches of a step, in random order.

        Raises:
            PatchesCancelledError: if `cancel` is set while waiting for a slow disk.
        """
        ...

    def close(self) -> None:
        """Free patches that were read ahead."""
        ...


class PatchesCancelledError(Exception):
    """Signal that the wait for the patches of a step was cancelled."""


def downscaled_count(recipe: TrainingRecipe, rng: np.random.Generator) -> int:
    """Draw how many patches of a step are downscaled."""
    return int(recipe.batch * recipe.downscaled_share + rng.random()) if recipe.downscaled_share else 0


def downscale(patches: Tensor, rng: np.random.Generator) -> Tensor:
    """Return random crops of patches, downscaled by factors of 0.5 to 1 to half the side.

    Args:
        patches: [B, C, 2 size, 2 size].
        rng: draws crops and factors, a few for each batch.

    Returns:
        [B, C, size, size], in [0, 1] like `patches`.
    """
    size = patches.shape[-1] // 2
    parts = []
    for part in patches.tensor_split(min(_FACTORS, len(patches))):
        side = round(size / rng.uniform(_MIN_FACTOR, 1.0))
        top, left = rng.integers(2 * size - side + 1, size=2)
        part = part[..., top : top + side, left : left + side]
        parts.append(F.interpolate(part, size=(size, size), mode="bilinear", antialias=True))
    return torch.cat(parts)


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return a copy of an array on a device, or the array itself as a tensor on a CPU.

    Only CUDA reads the array before the call returns, even if the copy itself is not awaited: elsewhere a temporary
    array could be freed, and its memory used again, before it is read.
    """
    return torch.from_numpy(array).to(device, non_blocking=device.type == "cuda")


def shuffled(images: Tensor, stretches: Tensor, rng: np.random.Generator) -> Patches:
    """Return patches in random order, as noise recipes are assigned to runs of consecutive patches."""
    order = to_device(rng.permutation(len(images)), images.device)
    return Patches(images[order], None, stretches[order])
