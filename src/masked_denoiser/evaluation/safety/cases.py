"""The images of a safety report, from files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.errors import EvaluationError
from masked_denoiser.evaluation.grid import make_noisy, middle, read_8_bit
from masked_denoiser.evaluation.safety.report import SafetyCase
from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source
from masked_denoiser.noise.synthetic.parse import parse_noise


def cases_of_images(paths: Sequence[Path], crop: int = 0) -> list[SafetyCase]:
    """Return images whose truth is not known.

    Args:
        paths: files of any format, dtype and axes.
        crop: side of the square in the middle of each plane that is looked at; 0 for all of it.

    Raises:
        ImageError: if a file that is cropped cannot be read.
    """
    return [_from_file(path, crop) for path in paths]


def cases_of_pairs(noisy: Sequence[Path], clean: Sequence[Path], crop: int = 0) -> list[SafetyCase]:
    """Return images with their truth, in the order of their names.

    Args:
        noisy, clean: files of the same shape, as many of the one as of the other.
        crop: as for `cases_of_images`.

    Raises:
        EvaluationError: if the lists do not match.
        ImageError: if a file cannot be read.
    """
    if len(noisy) != len(clean):
        raise EvaluationError(f"{len(noisy)} noisy images and {len(clean)} clean ones are no pairs")
    return [_from_file(one, crop, other) for one, other in zip(noisy, clean, strict=True)]


def cases_with_noise(paths: Sequence[Path], noises: Sequence[str], seed: int = 0, crop: int = 0) -> list[SafetyCase]:
    """Return clean 8-bit images with noise added, as in the noise grid.

    Args:
        paths: clean 8-bit images, gray or RGB.
        noises: noise recipes.
        seed: of the noises; each image has its own.
        crop: as for `cases_of_images`.

    Raises:
        MaskedDenoiserError: if a recipe does not parse or an image cannot be read.
    """
    recipes = {noise: parse_noise(noise) for noise in noises}

    cases: list[SafetyCase] = []
    for number, path in enumerate(paths):
        truth = middle(read_8_bit(path), crop)
        gray = truth.shape[2] == 1
        for noise, recipe in recipes.items():
            noisy = make_noisy(truth, recipe, seed, number)
            shown = (noisy[..., 0], "YX", truth[..., 0]) if gray else (noisy, "YXS", truth)
            cases.append(SafetyCase(f"{path.name}, {noise}", *shown))
    return cases


def _from_file(path: Path, crop: int, clean: Path | None = None) -> SafetyCase:
    """Return the case of a file, read at once if it is cropped; the truth is always read."""
    truth = None
    if clean is not None:
        with open_image(clean) as source:
            truth = _middle_of(source, crop)
    if not crop:
        return SafetyCase(path.name, path, None, truth)
    with open_image(path) as source:
        return SafetyCase(path.name, _middle_of(source, crop), source.axes, truth)


def _middle_of(source: Source, side: int) -> NDArray[Any]:
    """Return the square of this side in the middle of each plane; all of it for 0."""
    cut = [
        slice((length - side) // 2, (length + side) // 2) if letter in "YX" and 0 < side < length else slice(None)
        for letter, length in source.sizes.items()
    ]
    return np.asarray(source.data[tuple(cut)])
