"""Validation on held-out patches, with the trained noise and with noises that are never trained.

As in figure 12 of Chen et al. 2023, a network that overfits its training noise improves with the trained noise and gets
worse with the others.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from masked_denoiser.evaluation.metrics import psnr, ssim
from masked_denoiser.evaluation.pictures import side_by_side
from masked_denoiser.network.exact import exact_float32
from masked_denoiser.network.masks import HashedTokenMask, blind_spots, mask_pixels
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import TYPICAL_DISTINCT_VALUES, add_noise
from masked_denoiser.training.data.batches import combined_seed
from masked_denoiser.training.data.noise_map import exact_noise_map
from masked_denoiser.training.data.patches import PatchSampler
from masked_denoiser.training.recipe import TrainingRecipe

#: Number of validation patches.
_PATCHES = 6
#: Number of patches in the picture.
_PICTURE_PATCHES = 3
#: Name of the score with `way` "noisy": without clean images only masked pixels can be scored.
HIDDEN_PIXELS = "hidden pixels"
#: Name of the score of pairs.
PAIRS = "pairs"

#: PSNR of equal images in dB, as JSON has no infinity.
_MAX_PSNR = 100.0

Images = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ValidationCase:
    """Validation patches with one noise.

    Attributes:
        noise: noise recipe, `HIDDEN_PIXELS` or `PAIRS`.
        inputs: inputs of the network, [B, C, H, W].
        truth: expected outputs.
        scored: [B, 1, H, W] bool, the pixels that are scored; None for all.
    """

    noise: str
    inputs: Images
    truth: Images
    scored: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a validation.

    Attributes:
        psnr: PSNR in dB over all patches, by noise, the trained noise first; without clean images that of hidden
            pixels against the noisy image.
        ssim: mean SSIM by noise; empty without clean images.
        picture: [height, width, 3], rows of a noisy, a denoised and a true patch.
    """

    psnr: dict[str, float]
    ssim: dict[str, float]
    picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@dataclass(frozen=True, eq=False)
class Validator:
    """Validation with fixed patches and fixed noise, so that scores differ by the network alone."""

    cases: tuple[ValidationCase, ...]

    @property
    def trained(self) -> str:
        """Name of the trained noise."""
        return self.cases[0].noise

    def score(
        self, network: nn.Module, attention_mask: float, device: torch.device, cancel: threading.Event | None = None
    ) -> Scores | None:
        """Denoise all patches, and return their scores; None if `cancel` is set meanwhile.

        Args:
            network: a `MaskedSwin` or `MaskedU` in evaluation mode, which receives the true noise map if it takes one.
            attention_mask: share of masked tokens at inference.
            device: device of the network.
            cancel: checked before each patch.
        """
        outputs = []
        for case in self.cases:
            output = _denoise(network, case, attention_mask, device, cancel or threading.Event())
            if output is None:
                return None
            outputs.append(output)
        pairs = list(zip(self.cases, outputs, strict=True))
        trained = (self.cases[0].inputs, outputs[0], self.cases[0].truth)
        rows = [list(row) for row in zip(*(images[:_PICTURE_PATCHES] for images in trained), strict=True)]
        psnrs = {case.noise: _psnr(output, case) for case, output in pairs}
        ssims = {case.noise: _mean_ssim(output, case) for case, output in pairs if case.scored is None}
        return Scores(psnrs, ssims, side_by_side(rows))


def make_validator(sampler: PatchSampler, recipe: TrainingRecipe) -> Validator:
    """Return a validator, with patches and noise drawn once.

    Args:
        sampler: sampler of the validation patches.
        recipe: how to train.
    """
    locations = [sampler.draw(np.random.default_rng([recipe.seed, number])) for number in range(_PATCHES)]
    images = np.clip(np.stack([sampler.read(location) for location in locations]), 0, 1)
    if recipe.way == "pairs":
        truth = np.clip(np.stack([sampler.read(location, truth=True) for location in locations]), 0, 1)
        others = (ValidationCase(noise, _add_noise(truth, noise, recipe.seed), truth) for noise in recipe.unseen)
        return Validator((ValidationCase(PAIRS, images, truth), *others))
    if recipe.way == "noisy":
        generator = torch.Generator().manual_seed(recipe.seed)
        mask = mask_pixels if recipe.pixel_fill == "constant" else blind_spots
        inputs, masked = mask(torch.from_numpy(images), *recipe.pixel_mask, generator)
        return Validator((ValidationCase(HIDDEN_PIXELS, inputs.numpy(), images, masked.numpy()),))
    noises = dict.fromkeys((recipe.noise, *unseen_noises(recipe)))
    return Validator(tuple(ValidationCase(noise, _add_noise(images, noise, recipe.seed), images) for noise in noises))


def unseen_noises(recipe: TrainingRecipe) -> tuple[str, ...]:
    """Return those of the recipe's `unseen` noises that share no family with the trained noise."""
    if recipe.way != "clean":
        return recipe.unseen
    trained = parse_noise(recipe.noise).families
    return tuple(noise for noise in recipe.unseen if not parse_noise(noise).families & trained)


def _add_noise(clean: Images, noise: str, seed: int) -> Images:
    generator = torch.Generator().manual_seed(combined_seed(seed, 0))
    images = torch.from_numpy(clean)
    noisy = add_noise(images, parse_noise(noise), generator, levels=255, distinct=TYPICAL_DISTINCT_VALUES)
    return np.asarray(noisy.numpy(), np.float32)


@torch.inference_mode()
def _denoise(
    network: nn.Module, case: ValidationCase, ratio: float, device: torch.device, cancel: threading.Event
) -> Images | None:
    """Denoise single patches, so that a validation needs no more memory than a step; return None if cancelled."""
    tokens = HashedTokenMask(ratio, 0, 0, ((0, 0),), device=device) if ratio else None
    takes_map = bool(getattr(network.config, "noise_map", False)) and case.noise != HIDDEN_PIXELS
    outputs: list[Tensor] = []
    for pixels, truth in zip(torch.from_numpy(case.inputs), torch.from_numpy(case.truth), strict=True):
        if cancel.is_set():
            return None
        image = pixels[None].to(device)
        noise = (exact_noise_map(image, truth[None].to(device)),) if takes_map else ()
        with exact_float32():
            outputs.append(network(image, tokens, *noise).float().cpu())
    return np.asarray(torch.cat(outputs).numpy(), np.float32)


def _psnr(outputs: Images, case: ValidationCase) -> float:
    """Return the PSNR over all pixels: in a mean of PSNRs, one clean patch would outweigh the noisy ones."""
    scored = np.broadcast_to(True if case.scored is None else case.scored, outputs.shape)
    return min(psnr(outputs[scored], case.truth[scored]), _MAX_PSNR)


def _mean_ssim(outputs: Images, case: ValidationCase) -> float:
    return float(np.mean([ssim(output, truth) for output, truth in zip(outputs, case.truth, strict=True)]))
