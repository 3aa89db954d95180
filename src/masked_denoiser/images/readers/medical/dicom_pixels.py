"""Pixels of DICOM frames: decoding, and conversion to the values of the modality, such as Hounsfield units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from masked_denoiser.images.readers.chunk_cache import ChunkedArray
from masked_denoiser.images.readers.medical.dicom_frames import Arrangement, Frame
from masked_denoiser.images.readers.medical.dicom_headers import (
    Header,
    has_preamble,
    is_colour,
    read_without_preamble,
)
from masked_denoiser.images.readers.medical.dicom_multiframe import MultiFrameFile

Array = np.ndarray[Any, Any]


def value_dtype(header: Header, frames: Sequence[Frame]) -> np.dtype[Any]:
    """Return the dtype that holds the values of the modality: integers where the slope is 1, else float32."""
    bits, signed = int(header.BitsAllocated), bool(header.get("PixelRepresentation", 0))
    if is_colour(header):
        return np.dtype(np.uint8 if bits == 8 or _is_palette(header) else np.uint16)
    if _holds_floats(header):
        return np.dtype(np.float32 if bits == 32 else np.float64)
    offset = common_offset(frames)
    if offset is None:
        return np.dtype(np.float32)
    if not offset:
        return np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    stored = int(header.get("BitsStored") or bits)
    low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
    kinds = [np.dtype(kind) for kind in (f"u{bits // 8}", f"i{bits // 8}", np.int32, np.int64)]
    return next(k for k in kinds if np.iinfo(k).min <= low + offset and high + offset <= np.iinfo(k).max)


def common_offset(frames: Sequence[Frame]) -> int | None:
    """Return the whole number that all frames add to stored values; None if they have slopes or other offsets."""
    pairs = {(frame.slope, frame.intercept) for frame in frames}
    if len(pairs) != 1:
        return None
    ((slope, intercept),) = pairs
    return int(intercept) if slope == 1 and intercept == int(intercept) else None


def open_pixels(header: Header, arrangement: Arrangement, axes: str) -> ChunkedArray:
    """Return the lazy pixels of frames, of which each is a chunk.

    Args:
        header: of the first file.
        arrangement: the frames.
        axes: of the array.
    """
    sides = {"T": arrangement.times, "Z": arrangement.planes, "Y": int(header.Rows), "X": int(header.Columns), "S": 3}
    shape = tuple(sides[axis] for axis in axes)
    chunks = tuple(1 if axis in "TZ" else sides[axis] for axis in axes)
    dtype = value_dtype(header, arrangement.frames)
    integral = dtype.kind in "iu"
    counts = Counter(frame.path for frame in arrangement.frames)
    files = {path: MultiFrameFile(path) for path, count in counts.items() if count > 1}

    def fetch(index: tuple[int, ...]) -> Array:
        at = dict(zip(axes, index, strict=True))
        frame = arrangement.frames[at.get("T", 0) * arrangement.planes + at.get("Z", 0)]
        return _values(frame, decode(frame, files.get(frame.path)), integral, dtype).reshape(chunks)

    return ChunkedArray(shape, dtype, chunks, fetch)


def _values(frame: Frame, stored: Array, integral: bool, dtype: np.dtype[Any]) -> Array:
    if stored.ndim == 3 or (frame.slope, frame.intercept) == (1, 0):
        return stored.astype(dtype, copy=False)
    if integral:
        return (stored.astype(np.int64) + int(frame.intercept)).astype(dtype)
    return (stored.astype(np.float64) * frame.slope + frame.intercept).astype(dtype)


def decode(frame: Frame, file: MultiFrameFile | None = None) -> Array:
    """Return the stored samples of a frame, colours as red, green and blue.

    Args:
        frame: the frame.
        file: that it is in, if it has several.

    Raises:
        ValueError, RuntimeError, NotImplementedError: by pydicom, for damaged data.
    """
    palette = pydicom.Dataset()
    try:
        pixels = file.decode(frame.index) if file else _pixels_of(frame, palette)
        palette = file.header if file else palette
    except AttributeError as error:  # the file has lost elements since it was opened
        raise ValueError(str(error)) from error
    if palette.get("PhotometricInterpretation") == "PALETTE COLOR":
        return _to_uint8(apply_color_lut(pixels, palette))
    bits = int(palette.get("BitsStored") or palette.BitsAllocated)
    unused = int(palette.BitsAllocated) - bits
    if unused and pixels.dtype.kind == "u":  # old files have overlays in the bits above
        pixels = pixels & ((1 << bits) - 1)
    return pixels


def _pixels_of(frame: Frame, found: pydicom.Dataset) -> Array:
    """Decode a frame, and copy the elements that describe it to `found`."""
    if has_preamble(frame.path):
        return pixel_array(frame.path, index=frame.index, ds_out=found, specific_tags=list(_PALETTE_TAGS))
    dataset = read_without_preamble(frame.path)
    found.update({element.tag: element for element in dataset if element.keyword != "PixelData"})
    return pixel_array(dataset, index=frame.index)


def _to_uint8(colours: Array) -> Array:
    return (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours


def _is_palette(header: Header) -> bool:
    return str(header.get("PhotometricInterpretation")) == "PALETTE COLOR"


def _holds_floats(header: Header) -> bool:
    return "BitsStored" not in header and int(header.BitsAllocated) in (32, 64)


#: Tags of the elements that convert a palette to colours.
_PALETTE_TAGS = tuple(
    pydicom.datadict.tag_for_keyword(f"{colour}PaletteColorLookupTable{part}") or 0
    for colour in ("Red", "Green", "Blue")
    for part in ("Descriptor", "Data")
)
