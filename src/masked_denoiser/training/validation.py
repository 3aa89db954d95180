"""Validation on held-out patches, with the trained noise and with noises that are never trained.

As in figure 12 of Chen et al. 2023, a network that overfits its training noise improves with the trained noise and gets
worse with the others.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial

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
from masked_denoiser.training.data.batches import clamp_to_stretched, combined_seed, stretched
from masked_denoiser.training.data.noise_map import exact_noise_map
from masked_denoiser.training.data.patches import UNSTRETCHED, Patch, PatchLocation, PatchSampler, Stretch
from masked_denoiser.training.events import ESTIMATED, HIDDEN_PIXELS
from masked_denoiser.training.recipe import TrainingRecipe
from masked_denoiser.training.without_truth.estimated_error import (
    ErrorProbe,
    draw_probes,
    error_tolerance,
    estimated_psnr,
)

#: Number of validation patches.
_PATCHES = 6
#: The same where the error is estimated, which needs many pixels.
_PATCHES_WITHOUT_TRUTH = 16
#: Number of patches in the picture.
_PICTURE_PATCHES = 3
#: Name of the score of pairs.
PAIRS = "pairs"

#: PSNR of equal images in dB, as JSON has no infinity.
_MAX_PSNR = 100.0

Images = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ValidationCase:
    """Validation patches with one noise.

    Attributes:
        noise: noise recipe, `ESTIMATED`, `HIDDEN_PIXELS` or `PAIRS`.
        inputs: inputs of the network, [B, C, H, W].
        truth: expected outputs; the noisy patches where there is no truth.
        probes: what estimates the error of each patch without its truth; empty if there is a truth.
        scored: [B, 1, H, W] bool, the pixels that are scored; None for all.
    """

    noise: str
    inputs: Images
    truth: Images
    probes: tuple[ErrorProbe, ...] = ()
    scored: NDArray[np.bool_] | None = None

    @property
    def has_truth(self) -> bool:
        """Return whether outputs are compared with what they should be."""
        return self.noise not in (ESTIMATED, HIDDEN_PIXELS)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a validation.

    Attributes:
        psnr: PSNR in dB over all patches, by noise, the trained noise first; see `Validated`.
        ssim: mean SSIM by noise; empty without clean images.
        picture: [height, width, 3], rows of a noisy, a denoised and a true patch.
        tolerance: smallest reduction of the mean squared error of the first noise that is certain; 0 with a truth.
    """

    psnr: dict[str, float]
    ssim: dict[str, float]
    picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    tolerance: float = 0.0


@dataclass(frozen=True, eq=False)
class Validator:
    """Validation with fixed patches and fixed noise, so that scores differ by the network alone.

    Attributes:
        cases: patches by noise, the trained one first.
        why_hidden: why the error cannot be estimated without truth and hidden pixels are scored, as a clause; else "".
    """

    cases: tuple[ValidationCase, ...]
    why_hidden: str = ""

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
        outputs, psnrs = [], {}
        for case in self.cases:
            result = _score_case(network, case, attention_mask, device, cancel or threading.Event())
            if result is None:
                return None
            outputs.append(result[0])
            psnrs[case.noise] = result[1]
        pairs = zip(self.cases, outputs, strict=True)
        trained = (self.cases[0].inputs, outputs[0], self.cases[0].truth)
        rows = [list(row) for row in zip(*(images[:_PICTURE_PATCHES] for images in trained), strict=True)]
        ssims = {case.noise: _mean_ssim(output, case) for case, output in pairs if case.has_truth}
        return Scores(psnrs, ssims, side_by_side(rows), error_tolerance(self.cases[0].probes))


def make_validator(sampler: PatchSampler, recipe: TrainingRecipe) -> Validator:
    """Return a validator, with patches and noise drawn once.

    Args:
        sampler: sampler of the validation patches.
        recipe: how to train.
    """
    count = _PATCHES_WITHOUT_TRUTH if recipe.way == "noisy" else _PATCHES
    locations = [sampler.draw(np.random.default_rng([recipe.seed, number])) for number in range(count)]
    images = np.clip(np.stack([sampler.read(location) for location in locations]), 0, 1)
    stretches = [_stretch(sampler, location, recipe) for location in locations]
    if recipe.way == "pairs":
        truth = np.clip(np.stack([sampler.read(location, truth=True) for location in locations]), 0, 1)
        others = (ValidationCase(noise, _add_noise(truth, noise, recipe.seed), truth) for noise in recipe.unseen)
        return Validator((ValidationCase(PAIRS, images, truth), *others))
    if recipe.way == "noisy":
        probes, reason = draw_probes(sampler, locations, images, recipe.seed)
        case = ValidationCase(ESTIMATED, images, images, probes) if probes else _hidden_pixels(images, recipe)
        return Validator((case,), reason)
    noises = dict.fromkeys((recipe.noise, *unseen_noises(recipe)))
    scales = torch.tensor(stretches)
    images = clamp_to_stretched(torch.from_numpy(images), scales).numpy()
    truth = stretched(torch.from_numpy(images), scales).numpy()
    noisy = (stretched(torch.from_numpy(_add_noise(images, noise, recipe.seed)), scales).numpy() for noise in noises)
    return Validator(tuple(ValidationCase(noise, each, truth) for noise, each in zip(noises, noisy, strict=True)))


def _stretch(sampler: PatchSampler, location: PatchLocation, recipe: TrainingRecipe) -> Stretch:
    """Return how a network sees a patch to which noise is added; noisy ones are stretched when they are read."""
    if recipe.way != "clean" or not recipe.stretch:
        return UNSTRETCHED
    return sampler.images[location.image].stretch(location.plane)


def _hidden_pixels(images: Images, recipe: TrainingRecipe) -> ValidationCase:
    """Return a case in which masked pixels are compared with the noisy image.

    Such a score always prefers a network that does not use a pixel for its own estimate, so that it rates the progress
    of a training, but does not compare its result with the original model.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    mask = mask_pixels if recipe.pixel_fill == "constant" else blind_spots
    inputs, masked = mask(torch.from_numpy(images), *recipe.pixel_mask, generator)
    return ValidationCase(HIDDEN_PIXELS, inputs.numpy(), images, scored=masked.numpy())


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


def _score_case(
    network: nn.Module, case: ValidationCase, ratio: float, device: torch.device, cancel: threading.Event
) -> tuple[Images, float] | None:
    """Denoise single patches, so that a validation needs no more memory than a step; return them and their PSNR.

    Returns:
        None if cancelled.
    """
    tokens = HashedTokenMask(ratio, 0, 0, ((0, 0),), device=device) if ratio else None
    takes_map = bool(getattr(network.config, "noise_map", False)) and case.noise != HIDDEN_PIXELS
    outputs, errors = [], []
    for number, patch in enumerate(case.inputs):
        if cancel.is_set():
            return None
        noise_map = _noise_map(case, number, device) if takes_map else None
        denoise = partial(_denoise, network, tokens, noise_map, device)
        if case.probes:
            output, error = case.probes[number].apply(denoise)
            errors.append(error)
        else:
            output = denoise(patch)
        outputs.append(output)
    images = np.stack(outputs)
    return images, estimated_psnr(np.concatenate(errors)) if errors else _psnr(images, case)


def _noise_map(case: ValidationCase, number: int, device: torch.device) -> Tensor:
    """Return the noise map of a patch, [1, 2, H, W]: as measured where there is no truth, else exact."""
    if case.probes:
        return torch.from_numpy(case.probes[number].noise_map)[None].to(device)
    pixels, truth = (torch.from_numpy(images[number])[None].to(device) for images in (case.inputs, case.truth))
    return exact_noise_map(pixels, truth)


@torch.inference_mode()
def _denoise(
    network: nn.Module, tokens: HashedTokenMask | None, noise_map: Tensor | None, device: torch.device, patch: Patch
) -> Patch:
    """Denoise a patch [C, H, W]."""
    inputs = (torch.from_numpy(patch)[None].to(device), tokens, *(() if noise_map is None else (noise_map,)))
    with exact_float32():
        output: Tensor = network(*inputs)
    return np.asarray(output[0].float().cpu().numpy(), np.float32)


def _psnr(outputs: Images, case: ValidationCase) -> float:
    """Return the PSNR over all pixels: in a mean of PSNRs, one clean patch would outweigh the noisy ones."""
    scored = np.broadcast_to(True if case.scored is None else case.scored, outputs.shape)
    return min(psnr(outputs[scored], case.truth[scored]), _MAX_PSNR)


def _mean_ssim(outputs: Images, case: ValidationCase) -> float:
    return float(np.mean([ssim(output, truth) for output, truth in zip(outputs, case.truth, strict=True)]))
