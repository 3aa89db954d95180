"""Files of evaluated images: checks that read no pixel, and reading with an error in one line for a damaged file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.errors import DamagedError, EvaluationError, ImageError, one_line
from masked_denoiser.evaluation.metrics import SMALLEST_SIDE
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import Plane, from_channels_first, list_planes, plane_index
from masked_denoiser.images.source import DECODER_ERRORS, Source


def check_pairs(noisy: Sequence[Path], clean: Sequence[Path], shape_of: Callable[[Path], tuple[int, ...]]) -> None:
    """Check that files form pairs, of which no pixel is read.

    Args:
        noisy, clean: files.
        shape_of: returns the shape of a file.

    Raises:
        EvaluationError: if there are not equally many, or two images of a pair differ in shape.
    """
    if len(noisy) != len(clean):
        raise EvaluationError(f"{len(noisy)} noisy images and {len(clean)} clean ones are not pairs; give equally many")
    for pair in zip(noisy, clean, strict=True):
        first, second = map(shape_of, pair)
        if first != second:
            raise EvaluationError(
                f"{pair[0].name} and {pair[1].name} do not form a pair: shapes {first} and {second}; give images of "
                "the same shape"
            )


def check_8_bit(source: Source) -> tuple[int, ...]:
    """Return the shape [H, W, 1 or 3] of an image.

    Raises:
        EvaluationError: if it is not a single 8-bit gray or RGB plane, or too small for SSIM.
    """
    if source.dtype != np.uint8:
        raise EvaluationError(f"{_described(source)}; give an 8-bit gray or RGB image of one plane")
    return check_plane(source)


def check_plane(source: Source) -> tuple[int, ...]:
    """Return the shape [H, W, 1 or 3] of an image.

    Raises:
        EvaluationError: if it is not a single gray or RGB plane of integers or real numbers, or too small for SSIM.
    """
    samples = source.sizes.get("S", 1)
    if source.axes not in ("YX", "YXS") or source.dtype.kind not in "uif" or samples not in (1, 3):
        raise EvaluationError(f"{_described(source)}; give a gray or RGB image of one plane")
    height, width = source.size_yx
    if min(height, width) < SMALLEST_SIDE:
        raise EvaluationError(
            f"{source.where} has {height} x {width} pixels, SSIM needs {SMALLEST_SIDE} x {SMALLEST_SIDE}; give a "
            "larger image"
        )
    return height, width, samples


def shape_of(path: Path, check: Callable[[Source], tuple[int, ...]] = check_plane) -> tuple[int, ...]:
    """Return the shape [H, W, 1 or 3] of a file, of which no pixel is read.

    Raises:
        EvaluationError: if it does not pass the check.
    """
    with open_image(path) as source:
        return check(source)


def read_plane(path: Path, check: Callable[[Source], tuple[int, ...]] = check_plane) -> NDArray[Any]:
    """Return the pixels [H, W, 1 or 3] of a file.

    Raises:
        EvaluationError: before a pixel is read, if it does not pass the check.
        ImageError: if its pixels cannot be read.
    """
    with open_image(path) as source:
        shape = check(source)
        return read_pixels(source).reshape(shape)


def _described(source: Source) -> str:
    return f"{source.where} is {source.axes} {source.shape} {source.dtype}"


def read_pixels(source: Source, side: int = 0) -> NDArray[Any]:
    """Return the pixels of an image in its axes, or the central square of each plane.

    Args:
        source: the image.
        side: of the square; axes shorter than it, and all axes if it is 0, are kept whole.

    Raises:
        DamagedError: if the file is damaged there, or cannot be reached.
        ImageError: if its decoder is missing.
    """
    ys, xs = (central_span(length, side) for length in source.size_yx)
    sizes = source.sizes | {"Y": ys.stop - ys.start, "X": xs.stop - xs.start}
    pixels = np.empty([sizes[letter] for letter in source.axes], source.dtype)
    for plane in list_planes(source.axes, source.sizes, source.rgb):
        index = plane_index(source.axes, plane, slice(None), slice(None))
        pixels[index] = from_channels_first(_read(source, plane, ys, xs), source.axes, plane)
    return pixels


def central_span(length: int, side: int) -> slice:
    """Return the central `side` positions of an axis; all of them if it is shorter, or if `side` is 0."""
    return slice((length - side) // 2, (length + side) // 2) if 0 < side < length else slice(0, length)


def _read(source: Source, plane: Plane, ys: slice, xs: slice) -> NDArray[Any]:
    """Return what `Source.read` does; its errors advise to resume a job, which an evaluation is not."""
    try:
        return source.read(plane, ys, xs)
    except ImageError as error:
        cause = error.__cause__
        if not isinstance(cause, (*DECODER_ERRORS, OSError)):
            raise
        raise DamagedError(
            f"{source.where}: cannot be read ({type(cause).__name__}: {one_line(cause)}); copy the file again, or "
            "leave it out"
        ) from error
