"""Scores on pairs of noisy and clean images of any real dtype.

Pairs of 8-bit images are scored as everywhere else, rounded to 8 bit. Others are scored in units of the range of the
clean image, without rounding, which is scikit-image's convention for `data_range`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.errors import EvaluationError
from masked_denoiser.evaluation.grid import MAX_PSNR, Distance, Score
from masked_denoiser.evaluation.image_files import check_pairs, read_plane, shape_of
from masked_denoiser.evaluation.metrics import psnr, ssim

Image = np.ndarray[Any, np.dtype[Any]]


def score_pairs(
    denoisers: dict[str, Callable[[Image], Image]],
    noisy: Sequence[Path],
    clean: Sequence[Path],
    fit_gain: bool,
    lpips: Distance | None = None,
) -> Iterator[Score]:
    """Score denoisers on pairs of noisy and clean images, in the order of the lists.

    Args:
        denoisers: denoisers by name.
        noisy, clean: files, equally many.
        fit_gain: fit gain and offset to the clean image by least squares first, for images whose contrast was
            stretched individually, or whose exposures differ.
        lpips: distance, as returned by `make_lpips`; None omits it.

    Raises:
        EvaluationError: immediately, if the lists or the images of a pair do not match, or an image is no plane of real
            numbers; later, if an image has NaN or the clean one is constant.
        ImageError: later, if the pixels of an image cannot be read.
    """
    check_pairs(noisy, clean, shape_of)
    return _score_pairs(denoisers, noisy, clean, fit_gain, lpips)


def _score_pairs(
    denoisers: dict[str, Callable[[Image], Image]],
    noisy: Sequence[Path],
    clean: Sequence[Path],
    fit_gain: bool,
    lpips: Distance | None,
) -> Iterator[Score]:
    for pair in zip(noisy, clean, strict=True):
        image, truth = map(_read_finite, pair)
        is_8_bit = image.dtype == truth.dtype == np.uint8
        low, high = (0.0, 255.0) if is_8_bit else _range_of(truth, pair[1])
        expected = _to_unit(truth, low, high)
        for name, run in denoisers.items():
            out = run(image)
            result = _to_unit(match_gain(out, truth) if fit_gain else out, low, high)
            measures = (
                min(psnr(result, expected, rounded=is_8_bit), MAX_PSNR),
                ssim(result, expected, rounded=is_8_bit),
                None if lpips is None else lpips(result, expected),
            )
            yield Score(name, "real", pair[0].name, pair[1].name, *measures)


def _read_finite(path: Path) -> Image:
    """Read an image as [H, W, 1 or 3]; raise EvaluationError if a pixel is not finite."""
    pixels: Image = read_plane(path)
    if not np.isfinite(pixels).all():
        raise EvaluationError(f"{path} has NaN or infinite pixels, for which there are no scores; leave it out")
    return pixels


def _range_of(truth: Image, path: Path) -> tuple[float, float]:
    """Return the smallest and the largest intensity of a clean image."""
    low, high = float(truth.min()), float(truth.max())
    if not low < high:
        raise EvaluationError(f"{path} is constant, so that it has no range of which errors are a share; leave it out")
    return low, high


def _to_unit(pixels: Image, low: float, high: float) -> Image:
    """Return [H, W, C] as [C, H, W] float in units of a range."""
    return np.moveaxis((pixels.astype(np.float64) - low) / (high - low), 2, 0)


def match_gain(image: Image, truth: Image) -> Image:
    """Return the image with the gain and offset that fit it to the truth by least squares; 8 bit if both are."""
    gain, offset = np.polyfit(image.astype(np.float64).ravel(), truth.astype(np.float64).ravel(), 1)
    fitted = np.asarray(image * gain + offset)
    if image.dtype == truth.dtype == np.uint8:
        return np.asarray(np.rint(np.clip(fitted, 0, 255)), np.uint8)
    return fitted
