"""A step's batch: patches made noisy and masked, all of it keyed by (seed, step, number in the batch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from masked_denoiser.network.masks import RandomTokenMask, blind_spots, mask_pixels
from masked_denoiser.noise.parse import parse_noise
from masked_denoiser.noise.recipe import USUAL_VALUES, add_noise
from masked_denoiser.training.pool import Patch
from masked_denoiser.training.recipe import TrainingRecipe

#: Numbers the streams of random numbers of one patch, one step or one validation apart.
_NOISE, _TOKENS, _RATIO = 1, 2, 3


@dataclass(frozen=True)
class Batch:
    """What the network gets and what it should give, on the device.

    Attributes:
        given, wanted: [B, C, H, W] float32 in [0, 1]; masked pixels of `given` may be -0.1.
        counted: [B, 1, H, W] bool, the pixels whose loss counts; None for all.
    """

    given: Tensor
    wanted: Tensor
    counted: Tensor | None


def make_batch(
    patches: Patch,
    truths: Patch | None,
    recipe: TrainingRecipe,
    step: int,
    numbers: Sequence[int],
    device: torch.device,
) -> Batch:
    """Adds noise, clips, then masks (Chen et al. 2023, section 3.1), each patch with generators of its own.

    Args:
        patches: [B, C, H, W] float32.
        truths: the clean patches of pairs.
        recipe: the training.
        step: counted from 0.
        numbers: of the patches in the whole batch.
        device: where the network is.
    """
    images = torch.from_numpy(patches).to(device).clamp(0, 1)
    wanted = images.clone() if truths is None else torch.from_numpy(truths).to(device)
    given, masks = [], []
    generator = torch.Generator(device)
    for at, (image, number) in enumerate(zip(images.unbind(), numbers, strict=True)):
        generator.manual_seed(seed_of(recipe.seed, step, number, _NOISE))
        choices = torch.Generator().manual_seed(seed_of(recipe.seed, step, number, _RATIO))
        noisy = image[None]
        if recipe.way == "clean":
            gray = recipe.gray > 0 and float(torch.rand((), generator=choices)) < recipe.gray
            if gray:
                noisy = noisy.mean(dim=1, keepdim=True)
                wanted[at] = noisy[0]
            noisy = add_noise(noisy, parse_noise(recipe.noise), generator, choices, distinct=USUAL_VALUES)
            noisy = noisy.expand(-1, len(image), -1, -1)
        one, mask = _mask(noisy, recipe, generator, choices)
        given.append(one)
        masks.append(mask)
    counted = torch.cat(masks) if recipe.way == "noisy" else None
    return Batch(torch.cat(given), wanted, counted)


def token_mask(recipe: TrainingRecipe, step: int, part: int, device: torch.device) -> RandomTokenMask | None:
    """The attention mask of a part of a step's batch; the ratio is one for the whole step."""
    low, high = recipe.attention_mask
    if not high:
        return None
    rng = np.random.default_rng([recipe.seed, step, 0, _RATIO])  # four keys: patches are drawn by three
    ratio = low + (high - low) * float(rng.random())
    if rng.random() >= recipe.masked_steps:
        return None
    return RandomTokenMask(ratio, torch.Generator(device).manual_seed(seed_of(recipe.seed, step, part, _TOKENS)))


def seed_of(*keys: int) -> int:
    """One seed of 63 bits from several numbers."""
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _mask(
    noisy: Tensor, recipe: TrainingRecipe, generator: torch.Generator, choices: torch.Generator
) -> tuple[Tensor, Tensor]:
    chosen = float(torch.rand((), generator=choices)) < recipe.masked_patches
    if not chosen:
        return noisy, torch.zeros_like(noisy[:, :1], dtype=torch.bool)
    hide = mask_pixels if recipe.pixel_fill == "constant" else blind_spots
    return hide(noisy, *recipe.pixel_mask, generator)
