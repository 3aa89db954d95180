"""Whether a TIFF is all there and asks for nothing strange, told from its directories without reading a pixel."""

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
from masked_denoiser.images.validation.size_limits import check_piece


def check_whole(tif: TiffFile, series: TiffPageSeries, path: Path) -> None:
    """Refuses a file that ends before its pixels or its list of pages do.

    Raises:
        ImageError: naming how much is missing.
    """
    for page in series.pages:
        if page is not None:
            _check_end(_end(page), page.parent.filehandle.size, path)
    if series.dataoffset is not None and not series.is_multifile:
        _check_end(series.dataoffset + series.nbytes, tif.filehandle.size, path)
    _check_end(_end_of_imagej(tif), tif.filehandle.size, path)
    if _next_page(tif):
        raise ImageError(f"{path}: is truncated, pages after the first {len(tif.pages)} are lost; copy it again")


def missing_pages(series: TiffPageSeries) -> tuple[str, ...]:
    """A sentence on planes that were announced but never written, as in an acquisition that was stopped."""
    missing = sum(page is None for page in series.pages)
    return (f"{missing} of {len(series.pages)} planes are missing in the file and read as zeros",) if missing else ()


def _end(page: Any) -> int:
    offsets, counts = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
    return int((offsets + counts).max(initial=0))


def _end_of_imagej(tif: TiffFile) -> int:
    """Where a stack that ImageJ announces in a single page ends; tifffile reads one plane of it if it is cut."""
    first, announced = tif.pages.first, tif.imagej_metadata or {}
    if len(tif.pages) > 1 or not first.is_final:
        return 0
    counts = ("frames", "slices") if first.samplesperpixel > 1 else ("frames", "slices", "channels")
    return int(first.dataoffsets[0] + first.nbytes * prod(int(announced.get(key, 1)) for key in counts))


def _check_end(end: int, size: int, path: Path) -> None:
    if end > size:
        raise ImageError(f"{path}: is truncated, it has {size} bytes and its pixels end at {end}; copy it again")


def _next_page(tif: TiffFile) -> int:
    """Where the page after the last one that could be read should be; 0 in a whole file."""
    file, form = tif.filehandle, tif.tiff
    last = tif.pages[-1].offset
    with file.lock:
        file.seek(last)
        (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
        file.seek(last + form.tagnosize + tags * form.tagsize)
        (offset,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
    return int(offset)


def check_text(tif: TiffFile, path: Path) -> None:
    """Refuses XML that tifffile must not act on; to be called before `series` is, which parses it.

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
    """Height times width of a page; 0 where there is none."""
    try:
        page = tif.pages[number]
    except IndexError:
        return 0
    return int(page.imagelength * page.imagewidth) if isinstance(page, TiffPage) else 0


def guard_pieces(series: TiffPageSeries) -> None:
    """Checks strips, tiles or pages against the budget, and the size that each declares for itself as it is decoded.

    The decoders of JPEG and its kin allocate what the tile's own header says, and not what the directory does.

    Raises:
        ImageError: if the declared size is over the budget; later, if that of a single tile is.
    """
    keyframe = series.keyframe
    decode, name = keyframe.decode, keyframe.parent.filename
    check_piece(keyframe.chunks, series.dtype.itemsize, "a strip, tile or page", name)

    def guarded(data: bytes | None, index: int, /, **options: Any) -> Any:
        declared = declared_shape(data) if data else None
        if declared is not None and prod(declared[:2]) > 2 * prod(keyframe.chunks):
            check_piece(declared[:3], declared[3], "a tile", name)
        return decode(data, index, **options)

    vars(keyframe)["decode"] = guarded
