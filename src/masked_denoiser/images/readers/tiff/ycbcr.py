"""Conversion of stored YCbCr to RGB (TIFF 6.0, section 21); the decoder of JPEG converts by itself."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.converted import Conversion

Array = np.ndarray[Any, Any]

_COEFFICIENTS, _REFERENCE_BLACK_WHITE = 529, 532
#: Luma of red, green and blue in ITU-R BT.601, the default of TIFF.
_BT601 = (0.299, 0.587, 0.114)


def ycbcr_to_rgb(page: Any, axis: int, path: Path) -> Conversion:
    """Return the conversion of a page whose samples along `axis` are Y, Cb and Cr, of uint8 or uint16.

    Raises:
        ImageError: if its tags do not describe a conversion, or it has other samples.
    """
    if page.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)) or page.samplesperpixel != 3:
        raise ImageError(
            f"{path}: its YCbCr has {page.samplesperpixel} samples of {page.dtype}; export it as 8- or 16-bit RGB"
        )
    full = 2 ** int(page.bitspersample) - 1
    luma = _numbers(page, _COEFFICIENTS, _BT601)
    references = _references(page, full)
    black, white = np.array(references[0::2]), np.array(references[1::2])
    if min(luma) <= 0 or (white <= black).any():
        raise ImageError(f"{path}: its YCbCr coefficients {luma}, {references} are impossible; export it as RGB")
    scale = np.array([full, full // 2, full // 2]) / (white - black)
    matrix = _matrix(*luma)

    def convert(stored: Array) -> Array:
        rgb = ((stored - black) * scale) @ matrix.T
        return np.asarray(np.clip(np.rint(rgb), 0, full), dtype=page.dtype)

    return Conversion(convert, np.dtype(page.dtype), axis, 3)


def _references(page: Any, full: int) -> tuple[float, ...]:
    """Return black and white of Y, Cb and Cr; by default the full range."""
    default = (0, full, (full + 1) // 2, full, (full + 1) // 2, full)
    found = _numbers(page, _REFERENCE_BLACK_WHITE, default)
    return default if max(found) <= 255 < full else found  # tifffile writes those of 8 bits for any number of bits


def _matrix(red: float, green: float, blue: float) -> Array:
    """Return the matrix from Y, Cb, Cr to red, green, blue."""
    from_cr, from_cb = 2 - 2 * red, 2 - 2 * blue
    return np.array([[1, 0, from_cr], [1, -blue * from_cb / green, -red * from_cr / green], [1, from_cb, 0]])


def _numbers(page: Any, tag: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return the numbers of a tag, which are rational or whole; the default if the tag is missing or broken."""
    value = page.tags.valueof(tag)
    flat = [] if value is None else [int(number) for number in np.ravel(value)]
    if len(flat) == len(default):
        return tuple(map(float, flat))
    if len(flat) != 2 * len(default) or 0 in flat[1::2]:
        return default
    return tuple(float(Fraction(top, bottom)) for top, bottom in zip(flat[::2], flat[1::2], strict=True))
