"""Colour of a TIFF: which samples are intensities, and how other ones are converted, or why they are refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import PHOTOMETRIC, TIFF, TiffFile, TiffPageSeries

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.converted import Conversion, select_samples
from masked_denoiser.images.readers.tiff.palette import read_palette
from masked_denoiser.images.readers.tiff.ycbcr import ycbcr_to_rgb

_INTENSITIES = {PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.LINEAR_RAW, PHOTOMETRIC.DEPTH_MAP}
_LAB = ("CIE L*a*b* colour", "convert it to RGB")
_REFUSED = {
    PHOTOMETRIC.MASK: ("a transparency mask", "give the image that it belongs to"),
    PHOTOMETRIC.SEPARATED: ("CMYK or other inks", "convert it to RGB"),
    PHOTOMETRIC.CIELAB: _LAB,
    PHOTOMETRIC.ICCLAB: _LAB,
    PHOTOMETRIC.ITULAB: _LAB,
    PHOTOMETRIC.CFA: (
        "those of a raw colour filter (Bayer) mosaic",
        "develop it to RGB",
    ),
    PHOTOMETRIC.LOGL: ("logarithmic luminance", "convert it to 32-bit floats"),
    PHOTOMETRIC.LOGLUV: ("logarithmic LUV colour", "convert it to RGB"),
    PHOTOMETRIC.SEMANTIC_MASK: ("a mask of objects", "give the image that it belongs to"),
}
_ALPHA_KINDS = {0: "unspecified", 1: "associated", 2: "unassociated"}
_ASSOCIATED = "its colours are multiplied by its alpha (associated): OME-TIFF records this, OME-Zarr cannot"

#: Compressions whose decoder converts YCbCr to RGB, as JPEG does, or whose data are as Aperio's scanners write them.
_JPEG = {6, 7, 33007, 34892}
_APERIO_JPEG_2000 = {33003, 33004, 33005}
_FAX = {2, 3, 4}


@dataclass(frozen=True)
class Colour:
    """How the stored samples of a pyramid level become pixels.

    Attributes:
        conversions: to apply, in this order.
        rgb: whether the pixels are red, green, blue (and alpha).
        alpha: as in `ImageMetadata`.
        channel_colour: six hex digits of the colour of the brightest intensity; "" if not declared.
        notes: what was converted or omitted, in sentences for the user.
    """

    conversions: tuple[Conversion, ...] = ()
    rgb: bool = False
    alpha: str = ""
    channel_colour: str = ""
    notes: tuple[str, ...] = ()


def read_colour(tif: TiffFile, level: TiffPageSeries, path: Path) -> Colour:
    """Return how the samples of a level become pixels.

    Raises:
        ImageError: if they are neither intensities nor colours that can be converted.
    """
    page = level.keyframe
    kind = _photometric(page)
    axis = level.axes.find("S")
    if tif.is_imagej and kind in (PHOTOMETRIC.PALETTE, PHOTOMETRIC.MINISWHITE):
        return Colour()  # ImageJ stores intensities, and only how they are shown; see `imagej.py`
    if kind == PHOTOMETRIC.RGB:
        return _rgb(page, axis, lsm=tif.is_lsm)
    if kind == PHOTOMETRIC.YCBCR:
        return _ycbcr(page, axis, path)
    if kind == PHOTOMETRIC.PALETTE:
        return _palette(level, axis, path)
    if kind == PHOTOMETRIC.MINISWHITE:
        return _min_is_white(page, axis, path)
    if kind in _INTENSITIES:
        return _without_alpha(page, axis)
    content, remedy = _REFUSED.get(kind, (f"of the unknown photometric interpretation {kind}", "convert it to RGB"))
    raise ImageError(f"{path}: its pixels are {content}, which cannot be denoised; {remedy}")


def _photometric(page: Any) -> Any:
    """Return the photometric interpretation; without the tag as libtiff assumes it, not 0 as tifffile does."""
    if page.photometric or page.tags.get(262) is not None or page.compression in _FAX:
        return page.photometric
    return PHOTOMETRIC.RGB if page.samplesperpixel in (3, 4) else PHOTOMETRIC.MINISBLACK


def _rgb(page: Any, axis: int, *, lsm: bool) -> Colour:
    """Keep red, green, blue and one alpha sample; several further samples without meaning are channels."""
    kinds = [int(kind) for kind in page.extrasamples]
    at = next((i for i, kind in enumerate(kinds) if kind), 0)
    several = len(kinds) > 1
    if lsm or (several and (not any(kinds) or axis < 0)):
        return Colour(rgb=not lsm)  # LSM declares up to three channels of fluorescence as RGB
    alpha = _ALPHA_KINDS.get(kinds[at], "") if kinds else ""
    conversions = (select_samples(axis, (0, 1, 2, 3 + at), page.dtype),) if several else ()
    omitted = f"{len(kinds) - 1} of its {3 + len(kinds)} samples are omitted: only RGB and alpha are read"
    notes = (*([omitted] if several else []), *([_ASSOCIATED] if alpha == "associated" else []))
    return Colour(conversions, True, alpha, notes=notes)


def _ycbcr(page: Any, axis: int, path: Path) -> Colour:
    if page.compression in _APERIO_JPEG_2000:
        return Colour(rgb=True)
    separate = page.planarconfig == 2
    if page.compression in _JPEG and not separate and not page.extrasamples:
        return Colour(rgb=True)
    if page.is_subsampled:
        raise ImageError(f"{path}: its YCbCr is subsampled by {page.subsampling or (2, 2)}; export it as RGB")
    encoded = page.compression in TIFF.IMAGE_COMPRESSIONS and page.compression not in _JPEG
    if encoded or axis < 0:
        raise ImageError(f"{path}: its YCbCr is compressed by {_compression(page)}; export it as RGB")
    note = "its YCbCr was converted to RGB"
    return Colour((ycbcr_to_rgb(page, axis, path),), True, notes=(note,))


def _compression(page: Any) -> str:
    return str(getattr(page.compression, "name", page.compression))


def _palette(level: TiffPageSeries, axis: int, path: Path) -> Colour:
    page: Any = level.keyframe
    _check_same_palette(level, path)
    palette = read_palette(page.colormap, int(page.bitspersample), np.dtype(page.dtype), path)
    conversions = [] if axis < 0 else [select_samples(axis, (0,), page.dtype)]
    notes = [] if axis < 0 else [f"{page.samplesperpixel - 1} samples other than its palette indices are omitted"]
    if palette.conversion is not None:
        conversions.append(palette.conversion)
    rgb = palette.conversion is not None and palette.conversion.samples == 3
    all_notes = (*notes, *([palette.note] if palette.note else []))
    return Colour(tuple(conversions), rgb, channel_colour=palette.colour, notes=all_notes)


def _check_same_palette(level: TiffPageSeries, path: Path) -> None:
    first: Any = level.keyframe.colormap
    for page in level.pages:
        own = None if page is None else page.aspage().colormap
        if own is not None and not np.array_equal(own, first):
            raise ImageError(f"{path}: its pages have different palettes; export it as RGB")


def _min_is_white(page: Any, axis: int, path: Path) -> Colour:
    """Invert the intensities, so that a larger value is brighter."""
    dtype = np.dtype(page.dtype)
    if dtype.kind not in "bu":
        raise ImageError(f"{path}: 0 is white (min-is-white) in pixels of {dtype}, which have no black; invert it")
    white = dtype.type(2 ** int(page.bitspersample) - 1)

    def invert(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(np.bitwise_xor(block, white))

    def invert_first(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.concatenate([invert(block[..., :1]), block[..., 1:]], axis=-1)  # the others are extra samples

    rest = _without_alpha(page, axis)
    samples = page.samplesperpixel
    whole = Conversion(invert, dtype) if axis < 0 else Conversion(invert_first, dtype, axis, samples)
    note = "0 is white in its pixels (min-is-white): they were inverted"
    return Colour((whole, *rest.conversions), notes=(note, *rest.notes))


def _without_alpha(page: Any, axis: int) -> Colour:
    """Return intensities, without the samples that are alpha."""
    first = page.samplesperpixel - len(page.extrasamples)
    alphas = [first + at for at, kind in enumerate(page.extrasamples) if int(kind) in (1, 2)]
    if axis < 0 or not alphas:
        return Colour()
    kept = tuple(at for at in range(page.samplesperpixel) if at not in alphas)
    return Colour((select_samples(axis, kept, page.dtype),), notes=("the alpha channel was ignored",))
