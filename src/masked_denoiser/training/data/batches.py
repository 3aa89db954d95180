"""A step's batch: patches made noisy and masked on their device, all of it keyed by (seed, step)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from masked_denoiser.network.masks import RandomTokenMask, blind_spots, mask_pixels
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import NoiseRecipe, add_noise_to_batch
from masked_denoiser.training.data.microscope_images import draw_microscope_images
from masked_denoiser.training.data.noise_map import training_noise_map
from masked_denoiser.training.data.patch_source import Patches
from masked_denoiser.training.recipe import TrainingRecipe

#: Key the streams of random numbers of a step.
_NOISE, _TOKENS, _CHOICES = 1, 2, 3
#: The lowest contrast that patches get.
_LEAST_CONTRAST = 0.1


@dataclass(frozen=True)
class Batch:
    """What the network gets and what it should give, on the device.

    Attributes:
        given, wanted: [B, C, H, W] float32 in [0, 1]; masked pixels of `given` may be -0.1.
        counted: [B, 1, H, W] bool, the pixels whose loss counts; None for all.
        noise_map: [B, 2, H, W], for a network that takes one; see `MaskedU.forward`.
    """

    given: Tensor
    wanted: Tensor
    counted: Tensor | None = None
    noise_map: Tensor | None = None

    def part(self, rows: slice) -> Batch:
        """Return some of its patches."""
        counted, noise_map = (None if t is None else t[rows] for t in (self.counted, self.noise_map))
        return Batch(self.given[rows], self.wanted[rows], counted, noise_map)


class BatchMaker:
    """Adds noise, clips, then masks (Chen et al. 2023, section 3.1), without waiting for the device.

    Args:
        recipe: the training.
        device: where patches are.
        noise_map: whether the network takes a noise map.
    """

    def __init__(self, recipe: TrainingRecipe, device: torch.device, noise_map: bool) -> None:
        self._recipe, self._device, self._noise_map = recipe, device, noise_map
        self._noise: NoiseRecipe = parse_noise(recipe.noise)
        self._generator = torch.Generator(device)

    def make(self, patches: Patches, step: int, share: float = 1.0) -> Batch:
        """Return the batch of a step.

        Args:
            patches: [B, C, H, W] in [0, 1] in random order, and the truths of pairs.
            step: counted from 0.
            share: how much of the training is done, up to 1.
        """
        recipe = self._recipe
        self._generator.manual_seed(seed_of(recipe.seed, step, _NOISE))
        images, truths = patches
        if recipe.way == "clean":
            wanted = self._varied(images.clamp(0, 1))
            noisy, wanted = self._noisy(wanted, np.random.default_rng([recipe.seed, step, 0, _NOISE]))
        else:
            noisy = images.clamp(0, 1)
            wanted = noisy if truths is None else truths
        noise_map = None
        if self._noise_map and recipe.way != "noisy":
            noise_map = training_noise_map(noisy, wanted, self._generator)
        given, counted = self._masked(noisy, _grown(recipe.pixel_mask, recipe, share))
        return Batch(given, wanted, counted if recipe.way == "noisy" else None, noise_map)

    def _varied(self, images: Tensor) -> Tensor:
        """Synthetic images in place of some, and other contrasts and brightnesses of some."""
        recipe, generator, count = self._recipe, self._generator, len(images)
        drawn = round(count * recipe.microscope)
        if drawn:
            # The last ones: noises are shared out in an order of their own, so that every noise meets some of them.
            synthetic = draw_microscope_images(drawn, images.shape[1], images.shape[-1], generator)
            order = torch.rand(count, generator=generator, device=images.device).argsort()
            images = torch.cat([images[: count - drawn], synthetic])[order]
        if not recipe.contrast:
            return images
        chosen, contrast, brightness = torch.rand(3, count, 1, 1, 1, generator=generator, device=images.device)
        contrast = _LEAST_CONTRAST + (1 - _LEAST_CONTRAST) * contrast
        return torch.where(chosen < recipe.contrast, images * contrast + (1 - contrast) * brightness**3, images)

    def _noisy(self, images: Tensor, choices: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Noisy images, and clean ones; gray ones among RGB have the same noise in all channels."""
        if not self._recipe.gray or images.shape[1] == 1:
            return add_noise_to_batch(images, self._noise, self._generator, choices), images
        drawn = torch.rand(len(images), 1, 1, 1, generator=self._generator, device=images.device)
        gray = drawn < self._recipe.gray
        images = torch.where(gray, images.mean(dim=1, keepdim=True), images)
        noisy = add_noise_to_batch(images, self._noise, self._generator, choices)
        return torch.where(gray, noisy[:, :1], noisy), images

    def _masked(self, noisy: Tensor, ratios: tuple[float, float]) -> tuple[Tensor, Tensor]:
        """The images with masked pixels, and which those are [B, 1, H, W]."""
        recipe = self._recipe
        if not recipe.masked_patches:
            return noisy, torch.zeros_like(noisy[:, :1], dtype=torch.bool)
        hide = mask_pixels if recipe.pixel_fill == "constant" else blind_spots
        hidden, masked = hide(noisy, *ratios, self._generator)
        if recipe.masked_patches == 1:
            return hidden, masked
        drawn = torch.rand(len(noisy), 1, 1, 1, generator=self._generator, device=noisy.device)
        masked = masked & (drawn < recipe.masked_patches)
        return torch.where(masked, hidden, noisy), masked


def token_mask(
    recipe: TrainingRecipe, step: int, part: int, device: torch.device, share: float = 1.0
) -> RandomTokenMask | None:
    """Return the attention mask of a part of a step's batch; the ratio is one for the whole step."""
    low, high = _grown(recipe.attention_mask, recipe, share)
    if not high:
        return None
    rng = np.random.default_rng([recipe.seed, step, 0, _CHOICES])  # four keys: patches are drawn by three
    ratio = low + (high - low) * float(rng.random())
    if rng.random() >= recipe.masked_steps:
        return None
    return RandomTokenMask(ratio, torch.Generator(device).manual_seed(seed_of(recipe.seed, step, part, _TOKENS)))


def seed_of(*keys: int) -> int:
    """Return one seed of 63 bits from several numbers."""
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _grown(ratios: tuple[float, float], recipe: TrainingRecipe, share: float) -> tuple[float, float]:
    """Shares of masked pixels or tokens, smaller while masks are phased in."""
    grown = min(1.0, share / recipe.mask_rise) if recipe.mask_rise else 1.0
    return ratios[0] * grown, ratios[1] * grown
