"""Sources from PNG and JPEG files, decoded whole when they are opened: neither format can be read in parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.base import Found, check_pixels
from masked_denoiser.images.validation.declared_size import JPEG, PNG, declared_shape
from masked_denoiser.images.validation.size_limits import check_piece


def is_photo(path: Path) -> bool:
    """Whether a file begins as PNG or JPEG files do, whatever its name."""
    with path.open("rb") as file:
        return file.read(8).startswith((PNG, JPEG))


def find_photo(path: Path) -> Found:
    """A PNG or JPEG.

    Raises:
        ImageError: if it is damaged, or larger than one piece may be.
    """
    check_piece((path.stat().st_size,), 1, "a file", str(path))
    content = path.read_bytes()
    shape = declared_shape(content)
    if shape is None:
        raise ImageError(f"{path}: is a broken image (it declares no size); copy or export it again")
    check_piece(shape[:3], shape[3], "an image", str(path))
    pixels = _decode(path, content, *_codec(content))
    check_pixels(pixels.shape, pixels.dtype, str(path))
    if pixels.ndim == 3 and pixels.shape[2] == 2:  # gray with alpha
        return Found((pixels[..., 0],), path.name, "YX", path=path, notes=("its alpha channel was left out",))
    return Found((pixels,), path.name, "YXS"[: pixels.ndim], path=path)


def _codec(content: bytes) -> tuple[Callable[[bytes], Any], type[Exception]]:
    if content.startswith(PNG):
        return imagecodecs.png_decode, imagecodecs.PngError
    return imagecodecs.jpeg8_decode, imagecodecs.Jpeg8Error


def _decode(
    path: Path, content: bytes, decode: Callable[[bytes], Any], failure: type[Exception]
) -> np.ndarray[Any, Any]:
    """The pixels. A JPEG without its end marker decodes to gray areas, so it is refused."""
    if content.startswith(JPEG) and b"\xff\xd9" not in content[-1024:]:
        raise ImageError(f"{path}: is a truncated JPEG; copy or export it again")
    try:
        return np.asarray(decode(content))
    except (failure, ValueError) as error:  # ValueError: libpng may name its trouble in bytes that are no text
        raise ImageError(f"{path}: is a broken image ({str(error)[:300]}); copy or export it again") from error
