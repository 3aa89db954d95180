"""Reader of PNG and JPEG files, which are decoded whole, as neither format can be read in parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.orientation import (
    exif_of_jpeg,
    exif_of_png,
    orientation_note,
    orientation_of_exif,
    upright,
)
from masked_denoiser.images.validation.declared_size import JPEG, PNG, declared_shape
from masked_denoiser.images.validation.size_limits import check_decoded_size


def read(path: Path, part: str = "") -> ReaderResult:
    """Read a PNG or JPEG; `part` is always "".

    Raises:
        ImageError: if it is damaged, exceeds the size limit, or is a JPEG of CMYK.
    """
    check_decoded_size((path.stat().st_size,), 1, "a file", str(path))
    content = path.read_bytes()
    shape = declared_shape(content)
    if shape is None:
        raise ImageError(f"{path}: is a broken image (it declares no size); copy or export it again")
    check_decoded_size(shape[:3], shape[3], "an image", str(path))
    is_png = content.startswith(PNG)
    if not is_png and shape[2] == 4:
        raise ImageError(f"{path}: its pixels are CMYK or other inks, which cannot be denoised; convert it to RGB")
    orientation = orientation_of_exif(exif_of_png(content) if is_png else exif_of_jpeg(content))
    pixels = upright(_decode(path, content, *_codec(content)), orientation)
    check_pixels(pixels.shape, pixels.dtype, str(path))
    notes = orientation_note(orientation)
    if pixels.ndim == 3 and pixels.shape[2] == 2:  # grayscale with alpha
        ignored = "the alpha channel was ignored"
        return ReaderResult((pixels[..., 0],), "YX", name=path.name, path=path, notes=(ignored, *notes))
    return ReaderResult((pixels,), "YXS"[: pixels.ndim], name=path.name, path=path, notes=notes)


def _codec(content: bytes) -> tuple[Callable[[bytes], Any], type[Exception]]:
    if content.startswith(PNG):
        return imagecodecs.png_decode, imagecodecs.PngError
    return imagecodecs.jpeg8_decode, imagecodecs.Jpeg8Error


def _decode(
    path: Path, content: bytes, decode: Callable[[bytes], Any], decode_error: type[Exception]
) -> np.ndarray[Any, Any]:
    """Return the pixels; a JPEG without end marker is refused, as it decodes to gray areas."""
    if content.startswith(JPEG) and b"\xff\xd9" not in content[-1024:]:
        raise ImageError(f"{path}: is a truncated JPEG; copy or export it again")
    try:
        return np.asarray(decode(content))
    except (decode_error, ValueError) as error:  # ValueError: messages of libpng may not be valid text
        raise ImageError(f"{path}: is a broken image ({str(error)[:300]}); copy or export it again") from error
