"""The images of a safety report, from files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.errors import EvaluationError
from masked_denoiser.evaluation.grid import centre_crop, make_noisy, read_8_bit
from masked_denoiser.evaluation.safety.report import SafetyCase
from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source
from masked_denoiser.noise.synthetic.parse import parse_noise


def cases_of_images(paths: Sequence[Path], crop: int = 0) -> list[SafetyCase]:
    """Return images without a truth.

    Args:
        paths: files of any format, dtype and axes.
        crop: side in pixels of the central square of each plane that is used; 0 for the whole plane.

    Raises:
        ImageError: if a file that is cropped cannot be read.
    """
    return [_read_case(path, crop) for path in paths]


def cases_of_pairs(noisy: Sequence[Path], clean: Sequence[Path], crop: int = 0) -> list[SafetyCase]:
    """Return images with their truth, in the order of the lists.

    Args:
        noisy, clean: files, equally many; the images of a pair have the same shape.
        crop: as for `cases_of_images`.

    Raises:
        EvaluationError: if the lists do not match.
        ImageError: if a file cannot be read.
    """
    if len(noisy) != len(clean):
        raise EvaluationError(f"{len(noisy)} noisy images and {len(clean)} clean ones are not pairs; give equally many")
    return [_read_case(path, crop, truth) for path, truth in zip(noisy, clean, strict=True)]


def cases_with_noise(paths: Sequence[Path], noises: Sequence[str], seed: int = 0, crop: int = 0) -> list[SafetyCase]:
    """Return clean 8-bit images with noise added, as in the noise grid.

    Args:
        paths: clean 8-bit images, gray or RGB.
        noises: noise recipes.
        seed: seed of the noises, which differ between images.
        crop: as for `cases_of_images`.

    Raises:
        MaskedDenoiserError: if a recipe does not parse or an image cannot be read.
    """
    recipes = {noise: parse_noise(noise) for noise in noises}

    cases: list[SafetyCase] = []
    for number, path in enumerate(paths):
        truth = centre_crop(read_8_bit(path), crop)
        gray = truth.shape[2] == 1
        for noise, recipe in recipes.items():
            noisy = make_noisy(truth, recipe, seed, number)
            planes = (noisy[..., 0], "YX", truth[..., 0]) if gray else (noisy, "YXS", truth)
            cases.append(SafetyCase(f"{path.name}, {noise}", *planes))
    return cases


def _read_case(path: Path, crop: int, clean: Path | None = None) -> SafetyCase:
    """Return the case of a file; a cropped image and the truth are read immediately, a whole image later."""
    truth = None
    if clean is not None:
        with open_image(clean) as source:
            truth = _read_centre(source, crop)
    if not crop:
        return SafetyCase(path.name, path, None, truth)
    with open_image(path) as source:
        return SafetyCase(path.name, _read_centre(source, crop), source.axes, truth)


def _read_centre(source: Source, side: int) -> NDArray[Any]:
    """Return the central square of each plane; axes shorter than `side`, and all axes if it is 0, are kept whole."""
    slices = [
        slice((length - side) // 2, (length + side) // 2) if letter in "YX" and 0 < side < length else slice(None)
        for letter, length in source.sizes.items()
    ]
    return np.asarray(source.data[tuple(slices)])
