"""Batch of a step: patches made noisy and masked on their device, with random numbers keyed by (seed, step)."""

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

#: Keys of the random number streams of a step.
_NOISE, _TOKENS, _CHOICES = 1, 2, 3
#: Lowest factor of the contrast of patches.
_MIN_CONTRAST = 0.1


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of the network, on the device.

    Attributes:
        inputs, targets: [B, C, H, W] float32 in [0, 1]; masked pixels of `inputs` may be -0.1.
        loss_mask: [B, 1, H, W] bool, the pixels that contribute to the loss; None for all.
        noise_map: [B, 2, H, W], for a network that takes one; see `MaskedU.forward`.
    """

    inputs: Tensor
    targets: Tensor
    loss_mask: Tensor | None = None
    noise_map: Tensor | None = None

    def part(self, patches: slice) -> Batch:
        """Return the batch of some of the patches."""
        loss_mask, noise_map = (None if t is None else t[patches] for t in (self.loss_mask, self.noise_map))
        return Batch(self.inputs[patches], self.targets[patches], loss_mask, noise_map)


class BatchMaker:
    """Maker of batches: adds noise, clips, then masks (Chen et al. 2023, section 3.1), without waiting for the device.

    Args:
        recipe: how to train.
        device: device of the patches.
        noise_map: whether the network takes a noise map.
    """

    def __init__(self, recipe: TrainingRecipe, device: torch.device, noise_map: bool) -> None:
        self._recipe, self._device, self._noise_map = recipe, device, noise_map
        self._noise: NoiseRecipe = parse_noise(recipe.noise)
        self._generator = torch.Generator(device)

    def make(self, patches: Patches, step: int, progress: float = 1.0) -> Batch:
        """Return the batch of a step.

        Args:
            patches: in random order, in units of the noise recipe where the images are clean.
            step: counted from 0.
            progress: completed share of the training, 0 to 1.
        """
        recipe = self._recipe
        self._generator.manual_seed(combined_seed(recipe.seed, step, _NOISE))
        images, truths, stretches = patches
        if recipe.way == "clean":
            rng = np.random.default_rng([recipe.seed, step, 0, _NOISE])
            if recipe.stretch:
                clean = clamp_to_stretched(self._augmented(images.clamp(0, 1)), stretches)
                noisy, targets = (stretched(each, stretches) for each in self._add_noise(clean, rng))
            else:
                noisy, targets = self._add_noise(self._augmented(images.clamp(0, 1)), rng)
        else:
            noisy = images.clamp(0, 1)
            targets = noisy if truths is None else truths
        noise_map = None
        if self._noise_map and recipe.way != "noisy":
            noise_map = training_noise_map(noisy, targets, self._generator)
        inputs, masked = self._mask(noisy, _phased_in(recipe.pixel_mask, recipe, progress))
        return Batch(inputs, targets, masked if recipe.way == "noisy" else None, noise_map)

    def _augmented(self, images: Tensor) -> Tensor:
        """Replace some images by synthetic ones, and change contrast and brightness of some."""
        recipe, generator, count = self._recipe, self._generator, len(images)
        synthetic_count = round(count * recipe.microscope)
        if synthetic_count:
            # Shuffled, so that every kind of noise is added to some synthetic images.
            synthetic = draw_microscope_images(synthetic_count, images.shape[1], images.shape[-1], generator)
            order = torch.rand(count, generator=generator, device=images.device).argsort()
            images = torch.cat([images[: count - synthetic_count], synthetic])[order]
        if not recipe.contrast:
            return images
        chosen, contrast, brightness = torch.rand(3, count, 1, 1, 1, generator=generator, device=images.device)
        contrast = _MIN_CONTRAST + (1 - _MIN_CONTRAST) * contrast
        return torch.where(chosen < recipe.contrast, images * contrast + (1 - contrast) * brightness**3, images)

    def _add_noise(self, images: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return noisy and clean images; gray ones among RGB have the same noise in all channels."""
        if not self._recipe.gray or images.shape[1] == 1:
            return add_noise_to_batch(images, self._noise, self._generator, rng), images
        uniform = torch.rand(len(images), 1, 1, 1, generator=self._generator, device=images.device)
        gray = uniform < self._recipe.gray
        images = torch.where(gray, images.mean(dim=1, keepdim=True), images)
        noisy = add_noise_to_batch(images, self._noise, self._generator, rng)
        return torch.where(gray, noisy[:, :1], noisy), images

    def _mask(self, noisy: Tensor, ratios: tuple[float, float]) -> tuple[Tensor, Tensor]:
        """Return the images with masked pixels, and the mask [B, 1, H, W]."""
        recipe = self._recipe
        if not recipe.masked_patches:
            return noisy, torch.zeros_like(noisy[:, :1], dtype=torch.bool)
        mask = mask_pixels if recipe.pixel_fill == "constant" else blind_spots
        filled, masked = mask(noisy, *ratios, self._generator)
        if recipe.masked_patches == 1:
            return filled, masked
        uniform = torch.rand(len(noisy), 1, 1, 1, generator=self._generator, device=noisy.device)
        masked = masked & (uniform < recipe.masked_patches)
        return torch.where(masked, filled, noisy), masked


def stretched(images: Tensor, stretches: Tensor) -> Tensor:
    """Return images [B, C, H, W] as the network sees them, given gain and offset [B, 2] of each."""
    gain, offset = stretches[:, :, None, None, None].unbind(1)
    return images * gain + offset


def clamp_to_stretched(images: Tensor, stretches: Tensor) -> Tensor:
    """Return images in the units of noise recipes, clamped to what is 0 to 1 after `stretched`, and to 0 to 1."""
    gain, offset = stretches[:, :, None, None, None].unbind(1)
    return images.clamp(0, 1).maximum(-offset / gain).minimum((1 - offset) / gain)


def token_mask(
    recipe: TrainingRecipe, step: int, part: int, device: torch.device, progress: float = 1.0
) -> RandomTokenMask | None:
    """Return the attention mask of a part of a step's batch, or None; its ratio is the same in the whole step.

    Args:
        recipe: how to train.
        step: counted from 0.
        part: number that keys the part's random numbers.
        device: device of the mask.
        progress: completed share of the training, 0 to 1.
    """
    low, high = _phased_in(recipe.attention_mask, recipe, progress)
    if not high:
        return None
    rng = np.random.default_rng([recipe.seed, step, 0, _CHOICES])  # four keys, as patches are drawn with three
    ratio = low + (high - low) * float(rng.random())
    if rng.random() >= recipe.masked_steps:
        return None
    return RandomTokenMask(ratio, torch.Generator(device).manual_seed(combined_seed(recipe.seed, step, part, _TOKENS)))


def combined_seed(*keys: int) -> int:
    """Return a 63-bit seed derived from several numbers."""
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _phased_in(ratios: tuple[float, float], recipe: TrainingRecipe, progress: float) -> tuple[float, float]:
    """Return mask ratios, reduced while masks are phased in."""
    factor = min(1.0, progress / recipe.mask_rise) if recipe.mask_rise else 1.0
    return ratios[0] * factor, ratios[1] * factor
