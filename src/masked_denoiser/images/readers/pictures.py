"""Reader of PNG, JPEG, BMP and GIF files, which are decoded whole, as none of them can be read in parts."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.library_errors import wrap_errors
from masked_denoiser.images.readers.orientation import (
    exif_of_jpeg,
    exif_of_png,
    orientation_note,
    orientation_of_exif,
    upright,
)
from masked_denoiser.images.validation.declared_size import BMP, GIF, JPEG, PNG, declared_frames, declared_shape
from masked_denoiser.images.validation.size_limits import check_decoded_size

#: What Pillow raises for sizes that it does not trust.
_TOO_LARGE = Image.DecompressionBombError


def read(path: Path, part: str = "") -> ReaderResult:
    """Read a picture; `part` is always "". The frames of a GIF are T.

    Raises:
        ImageError: if it is damaged, exceeds the size limit, or is a JPEG of CMYK.
    """
    check_decoded_size((path.stat().st_size,), 1, "a file", str(path))
    content = path.read_bytes()
    if content.startswith(GIF):
        return _read_gif(path, content)
    shape = declared_shape(content)
    if shape is None:
        raise ImageError(f"{path}: is a broken image (it declares no size); copy or export it again")
    check_decoded_size(shape[:3], shape[3], "an image", str(path))
    if content.startswith(BMP):
        return _read_bmp(path, content)
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


def _read_bmp(path: Path, content: bytes) -> ReaderResult:
    with (
        wrap_errors(path, "a BMP", Image.DecompressionBombError),
        Image.open(BytesIO(content), formats=("BMP",)) as image,
    ):
        pixels = _gray_or_colour(np.asarray(image.convert("RGBA" if image.mode == "RGBA" else "RGB")))
    return ReaderResult((pixels,), "YXS"[: pixels.ndim], name=path.name, path=path)


def _read_gif(path: Path, content: bytes) -> ReaderResult:
    """Decode the frames of a GIF as they are shown; colours that are all gray become one sample."""
    declared = declared_frames(content)
    if declared is None or not declared.is_complete or not declared.delays:
        raise ImageError(f"{path}: is a truncated or broken GIF; copy or export it again")
    count = len(declared.delays)
    check_decoded_size((count, declared.height, declared.width, 3), 1, "an image", str(path))
    with (
        wrap_errors(path, "a GIF", Image.DecompressionBombError),
        Image.open(BytesIO(content), formats=("GIF",)) as image,
    ):
        if image.size != (declared.width, declared.height):
            raise ValueError(f"its frames exceed its screen of {declared.height} x {declared.width}")
        has_alpha = "transparency" in image.info
        frames = np.stack([_frame(image, number) for number in range(count)])
    pixels = _gray_or_colour(frames)
    axes = "TYXS"[: pixels.ndim]
    interval = declared.delays[0] / 100 if count > 1 and len(set(declared.delays)) == 1 else 0.0
    return ReaderResult(
        (pixels[0] if count == 1 else pixels,),
        axes[1:] if count == 1 else axes,
        name=path.name,
        path=path,
        pixel_sizes=({"T": interval} if interval else {},),
        units={"T": "second"} if interval else {},
        notes=("its transparency was ignored",) if has_alpha else (),
    )


def _frame(image: Image.Image, number: int) -> np.ndarray[Any, Any]:
    image.seek(number)
    return np.asarray(image.convert("RGB"))


def _gray_or_colour(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return [..., S] without S if all colours are gray."""
    colours = pixels[..., :3]
    return pixels[..., 0] if pixels.shape[-1] == 3 and (colours == colours[..., :1]).all() else pixels
