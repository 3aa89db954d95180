"""The images of a safety report, from files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from masked_denoiser.errors import EvaluationError
from masked_denoiser.evaluation.grid import centre_crop, make_noisy, read_8_bit
from masked_denoiser.evaluation.image_files import check_8_bit, check_pairs, read_pixels, shape_of
from masked_denoiser.evaluation.safety.report import SafetyCase
from masked_denoiser.images.open import open_image
from masked_denoiser.noise.synthetic.parse import parse_noise


def cases_of_images(paths: Sequence[Path], crop: int = 0) -> list[SafetyCase]:
    """Return images without a truth.

    Args:
        paths: files of any format, dtype and axes.
        crop: side in pixels of the central square of each plane that is used; 0 for the whole plane.

    Raises:
        EvaluationError: before anything is read, if an image cannot be denoised.
        ImageError: if a file that is cropped cannot be read.
    """
    for path in paths:
        _checked_shape(path)
    return [_read_case(path, crop) for path in paths]


def cases_of_pairs(noisy: Sequence[Path], clean: Sequence[Path], crop: int = 0) -> list[SafetyCase]:
    """Return images with their truth, in the order of the lists.

    Args:
        noisy, clean: files, equally many; the images of a pair have the same shape.
        crop: as for `cases_of_images`.

    Raises:
        EvaluationError: before anything is read, if the lists or the images of a pair do not match.
        ImageError: if a file cannot be read.
    """
    check_pairs(noisy, clean, _checked_shape)
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
    for path in paths:
        shape_of(path, check_8_bit)
    cases: list[SafetyCase] = []
    for number, path in enumerate(paths):
        truth = centre_crop(read_8_bit(path), crop)
        gray = truth.shape[2] == 1
        for noise, recipe in recipes.items():
            noisy = make_noisy(truth, recipe, seed, number)
            planes = (noisy[..., 0], "YX", truth[..., 0]) if gray else (noisy, "YXS", truth)
            cases.append(SafetyCase(f"{path.name}, {noise}", *planes))
    return cases


def _checked_shape(path: Path) -> tuple[int, ...]:
    """Return the shape of an image, of which no pixel is read.

    Raises:
        EvaluationError: if it cannot be denoised.
    """
    with open_image(path) as source:
        if source.dtype.kind not in "uif":
            raise EvaluationError(f"{path} has dtype {source.dtype}; give an image of integers or real numbers")
        return source.shape


def _read_case(path: Path, crop: int, clean: Path | None = None) -> SafetyCase:
    """Return the case of a file; a cropped image and the truth are read immediately, a whole image later."""
    truth = None
    if clean is not None:
        with open_image(clean) as source:
            truth = read_pixels(source, crop)
    if not crop:
        return SafetyCase(path.name, path, None, truth)
    with open_image(path) as source:
        return SafetyCase(path.name, read_pixels(source, crop), source.axes, truth)
