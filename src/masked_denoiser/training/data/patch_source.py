"""Where the clean patches of a step come from: images kept on the device where they fit, else files read ahead."""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name)

from masked_denoiser.training.recipe import TrainingRecipe

#: Patches of a step, [B, C, size, size] float32 on the device, and the truths of pairs.
Patches = tuple[Tensor, Tensor | None]
#: Factors of downscaling in one step: patches of one factor are resized together.
_FACTORS = 4
#: Smallest factor of downscaling.
_LEAST_FACTOR = 0.5


class PatchSource(Protocol):
    """The patches of a training. The same recipe and step give the same patches on the same kind of device."""

    def get(self, step: int, cancel: threading.Event | None = None) -> Patches:
        """Return the patches of a step, in random order.

        Raises:
            PatchesCancelledError: if `cancel` is set while a slow disk is waited for.
        """
        ...

    def close(self) -> None:
        """Free what was read."""
        ...


class PatchesCancelledError(Exception):
    """The patches of a step were not waited for, on request."""


def downscaled_count(recipe: TrainingRecipe, choices: np.random.Generator) -> int:
    """Draw how many patches of a step come from a coarser version of their image."""
    return int(recipe.batch * recipe.downscaled + choices.random()) if recipe.downscaled else 0


def downscale(patches: Tensor, choices: np.random.Generator) -> Tensor:
    """Return patches of half the size: parts of the given ones, downscaled by factors of 0.5 to 1.

    Args:
        patches: [B, C, 2 size, 2 size].
        choices: draws the factors, a few for each batch.

    Returns:
        [B, C, size, size], in [0, 1] as the given ones are.
    """
    size = patches.shape[-1] // 2
    parts = []
    for part in patches.tensor_split(min(_FACTORS, len(patches))):
        side = round(size / choices.uniform(_LEAST_FACTOR, 1.0))
        top, left = choices.integers(2 * size - side + 1, size=2)
        part = part[..., top : top + side, left : left + side]
        parts.append(F.interpolate(part, size=(size, size), mode="bilinear", antialias=True))
    return torch.cat(parts)


def shuffled(patches: Tensor, choices: np.random.Generator) -> Tensor:
    """Return patches in random order: noise recipes and sources are shared out over a batch in runs."""
    order = torch.from_numpy(choices.permutation(len(patches))).to(patches.device, non_blocking=True)
    return patches[order]
