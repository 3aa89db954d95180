"""Scores of denoisers on a grid of synthetic noises added to clean images.

As in figure 10 of Chen et al., CVPR 2023: PSNR on RGB or gray in [0, 1], rounded to 8 bit, no border cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from masked_denoiser.evaluation.baselines import BASELINES, make_baseline
from masked_denoiser.evaluation.image_files import (
    central_span,
    check_8_bit,
    read_plane,
    shape_of,
)
from masked_denoiser.evaluation.metrics import psnr, ssim, to_8_bit
from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.memory import MemorySink
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import AUTO, load_model
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import NoiseRecipe, add_noise

Image = np.ndarray[Any, np.dtype[Any]]

#: Perceptual distance of two images.
Distance = Callable[[Image, Image], float]

#: Default noises: the quality targets of this project, and the noises of figure 10 of the paper.
GRID_NOISES = (
    "gaussian(sigma=15)",
    "gaussian(sigma=50)",
    "poisson(alpha=2)",
    "poisson(alpha=3)",
    "poisson(alpha=3.5)",
    "speckle(variance=0.018)",
    "speckle(variance=0.03)",
    "speckle(variance=0.04)",
    "salt_and_pepper(density=0.02)",
    "correlated(sigma=40)",
    "correlated(sigma=50)",
    "correlated(sigma=60)",
    "mixture(level=1)",
    "mixture(level=4)",
    "none",
)

#: PSNR in dB that stands for equal images in a mean.
MAX_PSNR = 100.0


@dataclass(frozen=True)
class Score:
    """Score of one denoiser on one image, which is compared with the file `clean`; LPIPS only on request."""

    denoiser: str
    noise: str
    image: str
    clean: str
    psnr: float
    ssim: float
    lpips: float | None = None


def make_denoiser(name: str, device: str, options: Options) -> Callable[[Image], Image]:
    """Return a function that applies a model or a classical denoiser to an image [H, W, C] of any real dtype.

    The result has the shape and the dtype of the image; that of a classical denoiser is float64, unless the image is
    uint8.

    Args:
        name: name of a classical denoiser, or name or path of a model.
        device: device to compute on.
        options: options of the jobs.

    Raises:
        MaskedDenoiserError: if there is no denoiser of that name.
    """
    if name in BASELINES:
        return partial(_apply_classical, make_baseline(name))
    model = name if name == AUTO else load_model(name)

    def run(image: Image) -> Image:
        axes = "YXS" if image.shape[-1] == 3 else "YX"
        pixels = image if axes == "YXS" else image[..., 0]
        prepared = prepare_array(open_image(pixels, axes=axes), model=model, device=device, options=options)
        for _ in prepared.pipeline.run():  # messages about single images are not shown
            pass
        sink = prepared.pipeline.sink
        assert isinstance(sink, MemorySink)
        return sink.array.reshape(image.shape)

    return run


def _apply_classical(denoise: Callable[[Image], Image], image: Image) -> Image:
    """Denoise an image in units of its dtype, if it is an 8-bit image, or else of its own range."""
    pixels = image.astype(np.float64)
    if image.dtype == np.uint8:
        return to_8_bit(denoise(pixels / 255))
    low, span = pixels.min(), np.ptp(pixels) or 1.0
    return np.asarray(denoise((pixels - low) / span) * span + low)


def score_noise_grid(
    denoisers: dict[str, Callable[[Image], Image]],
    images: Sequence[Path],
    noises: Sequence[str],
    seed: int = 0,
    lpips: Distance | None = None,
    crop: int = 0,
) -> Iterator[Score]:
    """Score each denoiser on each noise of each image; all denoisers get the same noisy image.

    Args:
        denoisers: denoisers by name, as returned by `make_denoiser`.
        images: clean 8-bit images.
        noises: noise recipes.
        seed: seed of the noises, which differ between images.
        lpips: distance, as returned by `make_lpips`; None omits it.
        crop: side in pixels of the central square that is used; 0 for the whole image.

    Raises:
        MaskedDenoiserError: immediately, if a recipe does not parse or an image has another type; later, if its pixels
            cannot be read.
    """
    recipes = {noise: parse_noise(noise) for noise in noises}
    for path in images:
        shape_of(path, check_8_bit)
    return _score_noises(denoisers, images, recipes, seed, lpips, crop)


def _score_noises(
    denoisers: dict[str, Callable[[Image], Image]],
    images: Sequence[Path],
    recipes: dict[str, NoiseRecipe],
    seed: int,
    lpips: Distance | None,
    crop: int,
) -> Iterator[Score]:
    for number, path in enumerate(images):
        clean = centre_crop(read_8_bit(path), crop)
        for noise, recipe in recipes.items():
            noisy = make_noisy(clean, recipe, seed, number)
            for name, run in denoisers.items():
                yield _score(name, noise, path.name, run(noisy), clean, lpips)


def picture_rows(
    denoisers: dict[str, Callable[[Image], Image]], image: Path, noises: Sequence[str], seed: int = 0, crop: int = 0
) -> list[list[Image]]:
    """Return the images of a picture: a row for each noise, with the noisy, each denoised, and the clean image.

    As in figure 7 of Chen et al., CVPR 2023. The arguments are those of `score_noise_grid`; `image` is its first image.

    Returns:
        Images [C, H, W] float in [0, 1], for `side_by_side`.
    """
    clean = centre_crop(read_8_bit(image), crop)
    rows = []
    for noise in noises:
        noisy = make_noisy(clean, parse_noise(noise), seed, 0)
        columns = [noisy, *(run(noisy) for run in denoisers.values()), clean]
        rows.append([np.moveaxis(pixels, 2, 0) / 255.0 for pixels in columns])
    return rows


def centre_crop(image: Image, side: int) -> Image:
    """Return the central square of [H, W, C]; axes shorter than `side`, and all axes if it is 0, are kept whole."""
    return image[tuple(central_span(length, side) for length in image.shape[:2])]


def noise_generator(seed: int, number: int) -> torch.Generator:
    """Return the generator of the noise of an image, from a seed of 0 to 2^63 - 1 and the number of the image."""
    return torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)


def make_noisy(clean: Image, recipe: NoiseRecipe, seed: int, number: int) -> Image:
    """Return a clean image [H, W, C] uint8 with noise that is determined by the seed and the number of the image."""
    planes = torch.from_numpy(np.moveaxis(clean, 2, 0)[None] / np.float32(255))
    return to_8_bit(np.moveaxis(add_noise(planes, recipe, noise_generator(seed, number))[0].numpy(), 0, 2))


def read_8_bit(path: Path) -> Image:
    """Read an image as [H, W, 1 or 3] uint8.

    Raises:
        EvaluationError: if the image is not a single 8-bit gray or RGB plane, or too small for SSIM.
        ImageError: if its pixels cannot be read.
    """
    return read_plane(path, check_8_bit)


def _score(name: str, noise: str, image: str, out: Image, truth: Image, lpips: Distance | None) -> Score:
    result, clean = (np.moveaxis(x.astype(np.float64) / 255, 2, 0) for x in (out, truth))
    measures = min(psnr(result, clean), MAX_PSNR), ssim(result, clean), None if lpips is None else lpips(result, clean)
    return Score(name, noise, image, image, *measures)


def mean_scores(scores: Sequence[Score]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return the mean PSNR, SSIM and, if measured, LPIPS by (denoiser, noise), in the order of the scores."""
    rows: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for s in scores:
        values = (s.psnr, s.ssim) if s.lpips is None else (s.psnr, s.ssim, s.lpips)
        rows.setdefault((s.denoiser, s.noise), []).append(values)
    return {key: tuple(float(v) for v in np.mean(values, axis=0)) for key, values in rows.items()}
