"""Validation: held-out patches under the trained noise and under noises that were never trained.

The two curves are figure 12 of Chen et al. 2023: a network that overfits its training noise gets better on the first
and worse on the others.
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
from masked_denoiser.noise.synthetic.recipe import USUAL_VALUES, add_noise
from masked_denoiser.training.data.batches import seed_of
from masked_denoiser.training.data.noise_map import exact_noise_map
from masked_denoiser.training.data.patches import PatchSampler
from masked_denoiser.training.recipe import TrainingRecipe

#: Patches to validate with.
PATCHES = 6
#: Patches in the picture.
_SHOWN = 3
#: What the score of the way "noisy" is called: there is no truth, only pixels that the network has not seen.
HIDDEN = "hidden pixels"
#: What the score of pairs is called.
PAIRS = "pairs"

#: What counts for equal images, as JSON knows no infinity.
_PERFECT = 100.0

Images = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Case:
    """The patches under one noise.

    Attributes:
        noise: the recipe of the noise, `HIDDEN` or `PAIRS`.
        given: what the network gets, [B, C, H, W].
        truth: what it should give.
        counted: [B, 1, H, W] bool, the pixels that are scored; None for all.
    """

    noise: str
    given: Images
    truth: Images
    counted: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Scores:
    """PSNR in dB over all patches and mean SSIM by noise, the trained first, and the picture noisy | denoised | truth.

    Without truth there is no SSIM, and the PSNR is that of hidden pixels against the noisy image.
    """

    psnr: dict[str, float]
    ssim: dict[str, float]
    picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@dataclass(frozen=True, eq=False)
class Validator:
    """Fixed patches with fixed noise: two validations differ by the network alone."""

    cases: tuple[Case, ...]

    @property
    def trained(self) -> str:
        """The noise that is trained."""
        return self.cases[0].noise

    def score(
        self, network: nn.Module, attention_mask: float, device: torch.device, cancel: threading.Event | None = None
    ) -> Scores | None:
        """Denoises all patches; None if `cancel` was set meanwhile.

        Args:
            network: a `MaskedSwin` or `MaskedU`, in evaluation mode; one that takes a noise map gets the true one.
            attention_mask: share of masked tokens at inference.
            device: where the network is.
            cancel: looked at after every patch.
        """
        outs = []
        for case in self.cases:
            out = _denoise(network, case, attention_mask, device, cancel or threading.Event())
            if out is None:
                return None
            outs.append(out)
        rows = zip(self.cases[0].given[:_SHOWN], outs[0][:_SHOWN], self.cases[0].truth[:_SHOWN], strict=True)
        return Scores(
            {case.noise: _psnr(out, case) for case, out in zip(self.cases, outs, strict=True)},
            {c.noise: _mean_ssim(out, c) for c, out in zip(self.cases, outs, strict=True) if c.counted is None},
            side_by_side([list(row) for row in rows]),
        )


def make_validator(pool: PatchSampler, recipe: TrainingRecipe) -> Validator:
    """Draws the patches and their noise once.

    Args:
        pool: the held-out images.
        recipe: the training.
    """
    places = [pool.draw(np.random.default_rng([recipe.seed, number])) for number in range(PATCHES)]
    clean = np.clip(np.stack([pool.read(place) for place in places]), 0, 1)
    if recipe.way == "pairs":
        truth = np.clip(np.stack([pool.read(place, truth=True) for place in places]), 0, 1)
        others = (Case(noise, _noisy(truth, noise, recipe.seed), truth) for noise in recipe.unseen)
        return Validator((Case(PAIRS, clean, truth), *others))
    if recipe.way == "noisy":
        generator = torch.Generator().manual_seed(recipe.seed)
        hide = mask_pixels if recipe.pixel_fill == "constant" else blind_spots
        given, counted = hide(torch.from_numpy(clean), *recipe.pixel_mask, generator)
        return Validator((Case(HIDDEN, given.numpy(), clean, counted.numpy()),))
    noises = dict.fromkeys((recipe.noise, *really_unseen(recipe)))
    return Validator(tuple(Case(noise, _noisy(clean, noise, recipe.seed), clean) for noise in noises))


def really_unseen(recipe: TrainingRecipe) -> tuple[str, ...]:
    """Those of the recipe's unseen noises that share no family with what is trained."""
    if recipe.way != "clean":
        return recipe.unseen
    trained = parse_noise(recipe.noise).families
    return tuple(noise for noise in recipe.unseen if not parse_noise(noise).families & trained)


def _noisy(clean: Images, noise: str, seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed_of(seed, 0))
    noisy = add_noise(torch.from_numpy(clean), parse_noise(noise), generator, levels=255, distinct=USUAL_VALUES)
    return np.asarray(noisy.numpy(), np.float32)


@torch.inference_mode()
def _denoise(
    network: nn.Module, case: Case, ratio: float, device: torch.device, cancel: threading.Event
) -> Images | None:
    """One patch after the other: a validation must not need more memory than a step."""
    tokens = HashedTokenMask(ratio, 0, 0, ((0, 0),), device=device) if ratio else None
    takes_map = bool(getattr(network.config, "noise_map", False)) and case.noise != HIDDEN
    outs: list[Tensor] = []
    for pixels, truth in zip(torch.from_numpy(case.given), torch.from_numpy(case.truth), strict=True):
        if cancel.is_set():
            return None
        image = pixels[None].to(device)
        noise = (exact_noise_map(image, truth[None].to(device)),) if takes_map else ()
        with exact_float32():
            outs.append(network(image, tokens, *noise).float().cpu())
    return np.asarray(torch.cat(outs).numpy(), np.float32)


def _psnr(outs: Images, case: Case) -> float:
    """Of the mean squared error of all pixels: with a mean of PSNRs one clean patch outweighs the noisy ones."""
    where = np.broadcast_to(True if case.counted is None else case.counted, outs.shape)
    return min(psnr(outs[where], case.truth[where]), _PERFECT)


def _mean_ssim(outs: Images, case: Case) -> float:
    return float(np.mean([ssim(out, truth) for out, truth in zip(outs, case.truth, strict=True)]))
