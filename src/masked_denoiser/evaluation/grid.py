"""The noise grid: denoisers x noises over clean images, and denoisers over pairs of noisy and clean ones.

As in figure 10 of Chen et al., CVPR 2023: PSNR on RGB or gray in [0, 1], rounded to 8 bit, no border cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from masked_denoiser.errors import EvaluationError
from masked_denoiser.evaluation.baselines import BASELINES, baseline
from masked_denoiser.evaluation.metrics import psnr, ssim, to_8_bit
from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.memory import MemorySink
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import AUTO, load_model
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import NoiseRecipe, add_noise

Image = np.ndarray[Any, np.dtype[Any]]

#: How far two images are apart, as people see it.
Distance = Callable[[Image, Image], float]

#: The noises and levels of `../quality-targets`, and those of the paper's figure 10.
GRID = (
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

#: What an image counts that comes out without an error.
_PERFECT = 100.0


@dataclass(frozen=True)
class Score:
    """One denoiser on one image; LPIPS where it was asked for."""

    denoiser: str
    noise: str
    image: str
    psnr: float
    ssim: float
    lpips: float | None = None


def make_denoiser(name: str, device: str, options: Options) -> Callable[[Image], Image]:
    """From uint8 [H, W, C] to uint8 [H, W, C], by a model (name or path) or a classical denoiser.

    Raises:
        MaskedDenoiserError: if there is none of that name.
    """
    if name in BASELINES:
        classical = baseline(name)
        return lambda image: to_8_bit(classical(image.astype(np.float64) / 255))
    model = name if name == AUTO else load_model(name)

    def run(image: Image) -> Image:
        axes = "YXS" if image.shape[-1] == 3 else "YX"
        pixels = image if axes == "YXS" else image[..., 0]
        prepared = prepare_array(open_image(pixels, axes=axes), model=model, device=device, options=options)
        for _ in prepared.pipeline.run():  # what it says of each image would drown the table
            pass
        sink = prepared.pipeline.sink
        assert isinstance(sink, MemorySink)
        return sink.array.reshape(image.shape)

    return run


def noise_grid(
    denoisers: dict[str, Callable[[Image], Image]],
    images: Sequence[Path],
    noises: Sequence[str],
    seed: int = 0,
    lpips: Distance | None = None,
    crop: int = 0,
) -> Iterator[Score]:
    """Scores every denoiser on every noise of every image; the noise is the same for all denoisers.

    Args:
        denoisers: by name, as of `make_denoiser`.
        images: clean 8-bit images.
        noises: noise recipes.
        seed: of the noises; each image has its own.
        lpips: as of `make_lpips`; None leaves it out.
        crop: side of the square in the middle of each image that is looked at; 0 for all of it.

    Raises:
        MaskedDenoiserError: if a recipe does not parse or an image cannot be read.
    """
    recipes = {noise: parse_noise(noise) for noise in noises}
    for number, path in enumerate(images):
        clean = middle(read_8_bit(path), crop)
        for noise, recipe in recipes.items():
            noisy = make_noisy(clean, recipe, seed, number)
            for name, run in denoisers.items():
                yield _score(name, noise, path.name, run(noisy), clean, lpips)


def picture_rows(
    denoisers: dict[str, Callable[[Image], Image]], image: Path, noises: Sequence[str], seed: int = 0, crop: int = 0
) -> list[list[Image]]:
    """What denoisers make of one image, to look at: a row for each noise, with noisy, each denoised, and clean.

    As in figure 7 of Chen et al., CVPR 2023. The arguments are those of `noise_grid`, whose first image it is.

    Returns:
        Images [C, H, W] float in [0, 1], for `side_by_side`.
    """
    clean = middle(read_8_bit(image), crop)
    rows = []
    for noise in noises:
        noisy = make_noisy(clean, parse_noise(noise), seed, 0)
        shown = [noisy, *(run(noisy) for run in denoisers.values()), clean]
        rows.append([np.moveaxis(one, 2, 0) / 255.0 for one in shown])
    return rows


def middle(image: Image, side: int) -> Image:
    """The square of this side in the middle of [H, W, C]; all of it for 0, and along an axis that is shorter."""
    if not side:
        return image
    places = [
        slice((length - side) // 2, (length + side) // 2) if length > side else slice(None)
        for length in image.shape[:2]
    ]
    return image[tuple(places)]


def make_noisy(clean: Image, recipe: NoiseRecipe, seed: int, number: int) -> Image:
    """Return a clean image [H, W, C] uint8 with noise; the same for the same seed and number of the image."""
    planes = torch.from_numpy(np.moveaxis(clean, 2, 0)[None] / np.float32(255))
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    return to_8_bit(np.moveaxis(add_noise(planes, recipe, generator)[0].numpy(), 0, 2))


def real_pairs(
    denoisers: dict[str, Callable[[Image], Image]],
    noisy: Sequence[Path],
    clean: Sequence[Path],
    fit_gain: bool,
    lpips: Distance | None = None,
) -> Iterator[Score]:
    """Scores denoisers on pairs of images, in the order of their names.

    Args:
        denoisers: by name.
        noisy, clean: files, as many of the one as of the other.
        fit_gain: fit gain and offset to the clean image by least squares first, for images that were stretched each
            by itself.
        lpips: as of `make_lpips`; None leaves it out.

    Raises:
        EvaluationError: if the lists do not match.
    """
    if len(noisy) != len(clean):
        raise EvaluationError(f"{len(noisy)} noisy images and {len(clean)} clean ones are no pairs")
    for one, other in zip(noisy, clean, strict=True):
        given, truth = read_8_bit(one), read_8_bit(other)
        if given.shape != truth.shape:
            raise EvaluationError(f"{one.name} and {other.name} are no pair: {given.shape} against {truth.shape}")
        for name, run in denoisers.items():
            out = run(given)
            yield _score(name, "real", one.name, _fitted(out, truth) if fit_gain else out, truth, lpips)


def read_8_bit(path: Path) -> Image:
    """[H, W, 1 or 3] uint8.

    Raises:
        EvaluationError: if the image is no 8-bit image of one plane.
    """
    with open_image(path) as source:
        pixels = np.asarray(source.data[...])
        wanted = source.axes in ("YX", "YXS") and pixels.dtype == np.uint8 and pixels.shape[2:] in ((), (1,), (3,))
        if not wanted:
            raise EvaluationError(
                f"{path} is {source.axes} {source.shape} {source.dtype}; "
                "an 8-bit gray or RGB image of one plane is wanted"
            )
    return pixels.reshape(*pixels.shape[:2], -1)


def _fitted(image: Image, truth: Image) -> Image:
    """The image with the gain and offset that bring it nearest to the truth."""
    gain, offset = np.polyfit(image.astype(np.float64).ravel(), truth.astype(np.float64).ravel(), 1)
    return np.asarray(np.rint(np.clip(image * gain + offset, 0, 255)), np.uint8)


def _score(name: str, noise: str, image: str, out: Image, truth: Image, lpips: Distance | None) -> Score:
    ours, clean = (np.moveaxis(x.astype(np.float64) / 255, 2, 0) for x in (out, truth))
    perceived = None if lpips is None else lpips(ours, clean)
    return Score(name, noise, image, min(psnr(ours, clean), _PERFECT), ssim(ours, clean), perceived)


def means(scores: Sequence[Score]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Mean PSNR, SSIM and, where there is, LPIPS of each (denoiser, noise), in the order of the scores."""
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for s in scores:
        values = (s.psnr, s.ssim) if s.lpips is None else (s.psnr, s.ssim, s.lpips)
        found.setdefault((s.denoiser, s.noise), []).append(values)
    return {key: tuple(float(v) for v in np.mean(rows, axis=0)) for key, rows in found.items()}
