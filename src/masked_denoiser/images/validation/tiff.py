"""Checks that a TIFF is complete and safe to read, from its directories alone."""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TiffFile, TiffPage, TiffPageSeries

from masked_denoiser.errors import ImageError
from masked_denoiser.images.validation.declared_size import declared_shape
from masked_denoiser.images.validation.ome_xml import check_no_doctype, check_ome_xml
from masked_denoiser.images.validation.size_limits import check_decoded_size


def check_complete(tif: TiffFile, series: TiffPageSeries, path: Path) -> None:
    """Raise an error for a truncated file.

    Raises:
        ImageError: if the file ends before its pixels or its list of pages, with the sizes.
    """
    for page in series.pages:
        if page is not None:
            _check_end(_end_of_page(page), page.parent, path)
    if series.dataoffset is not None and not series.is_multifile:
        _check_end(series.dataoffset + series.nbytes, series.keyframe.parent, path)
    _check_end(_end_of_imagej(tif), tif, path)
    if _next_page(tif):
        raise ImageError(f"{path}: is truncated: pages after the first {len(tif.pages)} are missing; copy it again")


def missing_pages_note(series: TiffPageSeries) -> tuple[str, ...]:
    """Return a note on planes that are declared but missing, as in an aborted acquisition."""
    missing = sum(page is None for page in series.pages)
    return (f"{missing} of {len(series.pages)} planes are missing in the file and read as zeros",) if missing else ()


def _end_of_page(page: Any) -> int:
    offsets, counts = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
    return int((offsets + counts).max(initial=0))


def _end_of_imagej(tif: TiffFile) -> int:
    """Return where a stack in a single page of ImageJ should end, as tifffile reads one plane of a truncated stack."""
    first, declared = tif.pages.first, tif.imagej_metadata or {}
    if len(tif.pages) > 1 or not first.is_final:
        return 0
    counts = ("frames", "slices") if first.samplesperpixel > 1 else ("frames", "slices", "channels")
    return int(first.dataoffsets[0] + first.nbytes * prod(int(declared.get(key, 1)) for key in counts))


def _check_end(end: int, tif: TiffFile, path: Path) -> None:
    """Check that a file has as many bytes; it may be another one than that at `path`, in the same folder."""
    size = tif.filehandle.size
    if end > size:
        file = path.with_name(tif.filename)
        raise ImageError(f"{file}: is truncated: it has {size} bytes, and its pixels end at byte {end}; copy it again")


def _next_page(tif: TiffFile) -> int:
    """Return the declared offset of the page after the last readable one; 0 in a complete file."""
    file, layout = tif.filehandle, tif.tiff
    last = tif.pages[-1].offset
    with file.lock:
        file.seek(last)
        (tags,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
        file.seek(last + layout.tagnosize + tags * layout.tagsize)
        (offset,) = struct.unpack(layout.offsetformat, file.read(layout.offsetsize))
    return int(offset)


def check_xml(tif: TiffFile, path: Path) -> None:
    """Raise an error for XML that is unsafe to parse; call this before `tif.series`, which parses it.

    Raises:
        ImageError: see `check_ome_xml`.
    """
    for tag in tif.pages.first.tags if len(tif.pages) else ():
        if isinstance(tag.value, str | bytes):
            text = tag.value if isinstance(tag.value, str) else tag.value.decode("latin-1")
            check_no_doctype(text, str(path))
    if tif.is_ome and tif.ome_metadata:
        check_ome_xml(tif.ome_metadata, str(path), lambda page: _area(tif, page))


def _area(tif: TiffFile, number: int) -> int:
    """Return height times width of a page in pixels; 0 if it does not exist."""
    try:
        page = tif.pages[number]
    except IndexError:
        return 0
    return int(page.imagelength * page.imagewidth) if isinstance(page, TiffPage) else 0


def limit_decoded_size(series: TiffPageSeries) -> None:
    """Check the declared size of strips, tiles or pages, now and in the header of each as it is decoded.

    JPEG and similar decoders allocate the size in the header of a tile, not the one in the TIFF directory.

    Raises:
        ImageError: if the size exceeds the limit; on decoding, if that of a single tile does.
    """
    keyframe = series.keyframe
    decode, name = keyframe.decode, keyframe.parent.filename
    check_decoded_size(keyframe.chunks, series.dtype.itemsize, "a strip, tile or page", name)

    def decode_checked(data: bytes | None, index: int, /, **options: Any) -> Any:
        declared = declared_shape(data) if data else None
        if declared is not None and prod(declared[:2]) > 2 * prod(keyframe.chunks):
            check_decoded_size(declared[:3], declared[3], "a tile", name)
        return decode(data, index, **options)

    vars(keyframe)["decode"] = decode_checked
