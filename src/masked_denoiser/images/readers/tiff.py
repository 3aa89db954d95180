"""Reader of every TIFF that tifffile supports: plain, ImageJ, OME, BigTIFF, tiled, and slides such as SVS."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from tifffile import PHOTOMETRIC, TIFF, TiffFile, TiffFileError, TiffPageSeries

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import UNKNOWN
from masked_denoiser.images.declared_fill_values import GDAL_NODATA, fill_values_of
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.chunk_cache import CACHE_BYTES, ChunkedArray, cache_blocks
from masked_denoiser.images.readers.raw_file import RawChunk, RawFile
from masked_denoiser.images.readers.tiff_metadata import read_calibration
from masked_denoiser.images.source import AXES
from masked_denoiser.images.validation.tiff import check_complete, check_xml, limit_decoded_size, missing_pages_note

_ASSOCIATED_IMAGES = {"label", "macro", "map", "thumbnail", "overview"}
_UNSTITCHED = "tiles may overlap at seams: they are placed side by side, as the scanner stored them"
#: Rows of strips that are fetched together, as fetching costs more than decoding a thin strip.
_BLOCK_ROWS = 128
#: Minimum rows of strips to cache, so that the tiles of a row do not decode them again.
_BAND_ROWS = 1024


def read_tiff(path: Path) -> ReaderResult:
    """Open the largest image of a TIFF; uncompressed pixels are read directly from the file.

    Raises:
        ImageError: if it is not a TIFF, truncated, corrupt, without image, or of an unknown compression.
    """
    with _wrap_tiff_errors(path), ExitStack() as stack:
        tif = stack.enter_context(TiffFile(path))
        check_xml(tif, path)
        series, notes = _choose_series(tif, path)
        found = _describe(tif, series, path, notes, stack)
        return replace(found, closer=stack.pop_all().close)


@contextmanager
def _wrap_tiff_errors(path: Path) -> Iterator[None]:
    """Raise errors of tifffile as ImageError with a one-line message."""
    try:
        yield
    except ImageError:
        raise
    except TiffFileError as error:
        if "not a TIFF file" in str(error):
            raise ImageError(f"{path}: is not a TIFF, PNG or JPEG; convert it to one, or to OME-Zarr") from error
        raise ImageError(f"{path}: is a broken TIFF ({str(error)[:300]}); copy or export it again") from error
    except (
        struct.error,
        ValueError,
        LookupError,
        AssertionError,  # raised by tifffile for contradictory tags
        OSError,
        ArithmeticError,
        AttributeError,
        TypeError,
        RuntimeError,
    ) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ImageError(f"{path}: is a truncated or broken TIFF ({reason}); copy or export it again") from error


def _choose_series(tif: TiffFile, path: Path) -> tuple[TiffPageSeries, tuple[str, ...]]:
    """Return the largest image that is no label or thumbnail, the first of equals, and a note on omitted images."""
    complete = [s for s in tif.series if s.size and len(s.keyframe.dataoffsets)]
    if not complete:
        raise ImageError(f"{path}: contains no image, or is truncated; copy or export it again")
    # Whole words, and only if images remain: an image may be called "label-free" or "macrophages".
    images = [s for s in complete if not _ASSOCIATED_IMAGES & set(re.split(r"[\W_]+", s.name.lower()))]
    largest = max(images or complete, key=lambda s: s.size)
    others = [s.name or f"image {i}" for i, s in enumerate(tif.series) if s is not largest]
    if not others:
        return largest, ()
    number = tif.series.index(largest) + 1
    return largest, (f"image {number} of {len(tif.series)} was opened; omitted: {', '.join(others)}",)


def _describe(
    tif: TiffFile, series: TiffPageSeries, path: Path, notes: tuple[str, ...], stack: ExitStack
) -> ReaderResult:
    levels = [level for level in series.levels if level.ndim == series.ndim]
    keyframe = series.keyframe
    check_pixels(series.shape, series.dtype, str(path))
    if keyframe.compression not in TIFF.DECOMPRESSORS:
        raise ImageError(f"{path}: its compression {keyframe.compression!r} is not supported; export it with another")
    for level in levels:
        check_complete(tif, level, path)
    calibration = read_calibration(tif, series)
    arrays = _arrays(series, levels, stack)
    return ReaderResult(
        arrays,
        "".join(a if a in AXES else UNKNOWN for a in series.axes),
        rgb=keyframe.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR),
        pixel_sizes=tuple(_scale_to_level(calibration.steps, series, level) for level in levels),
        name=path.name,
        units=calibration.units,
        channel_names=calibration.channel_names,
        channel_colours=calibration.channel_colours,
        path=path,
        inputs=_file_paths(series),
        fill_values=_fill_values(series),
        notes=(*notes, *missing_pages_note(series), *_cache_note(arrays[0]), *([_UNSTITCHED] if tif.is_bif else [])),
    )


def _fill_values(series: TiffPageSeries) -> tuple[float, ...]:
    """Return the fill value that the first page declares, as GDAL writes it."""
    tag = series.keyframe.tags.get(GDAL_NODATA)
    return () if tag is None else fill_values_of([tag.value], np.dtype(series.dtype))


def _file_paths(series: TiffPageSeries) -> tuple[Path, ...]:
    """Return all files of a series, as an OME-TIFF may be distributed over several."""
    if not series.is_multifile:
        return ()
    return tuple(sorted({Path(page.parent.filehandle.path) for page in series.pages if page is not None}))


def _scale_to_level(steps: dict[str, float], series: TiffPageSeries, level: TiffPageSeries) -> dict[str, float]:
    ratios = {a: full / side for a, full, side in zip(series.axes, series.shape, level.shape, strict=True)}
    return {a: step * ratios[a] for a, step in steps.items() if a in ratios}


def _arrays(series: TiffPageSeries, levels: list[TiffPageSeries], stack: ExitStack) -> tuple[ChunkedArray, ...]:
    arrays = [_uncompressed(level) for level in levels]
    if None in arrays:
        store = stack.enter_context(series.aszarr())
        node = zarr.open(store, mode="r", zarr_format=2)
        nodes = [node] if isinstance(node, zarr.Array) else [node[str(series.levels.index(level))] for level in levels]
        for level in levels:
            limit_decoded_size(level)
        arrays = [a or _compressed(n, level.axes) for a, n, level in zip(arrays, nodes, levels, strict=True)]
    opened = tuple(array for array in arrays if array is not None)
    for array in opened:
        stack.callback(array.close)
    return opened


def _uncompressed(series: TiffPageSeries) -> ChunkedArray | None:
    """Return an array that reads uncompressed pixels directly from the file, or None if they are not contiguous."""
    starts, inner = _contiguous(series)
    if not starts:
        return None
    outer = series.shape[: series.ndim - len(inner)]
    dtype = np.dtype(series.dtype).newbyteorder(series.keyframe.parent.byteorder)
    file = RawFile(Path(series.keyframe.parent.filehandle.path))

    def fetch(index: tuple[int, ...]) -> RawChunk:
        page = int(np.ravel_multi_index(index[: len(outer)], outer)) if outer else 0
        return RawChunk(file, starts[page], (1,) * len(outer) + inner, dtype)

    return ChunkedArray(series.shape, dtype, (1,) * len(outer) + inner, fetch, cache_bytes=0)


def _contiguous(series: TiffPageSeries) -> tuple[list[int], tuple[int, ...]]:
    """Return the offsets of contiguous uncompressed blocks (the series or its pages) and their shape; else [], ()."""
    pages = [page for page in series.pages if page is not None]
    if series.is_multifile or series.transform is not None or len(pages) < len(series.pages):
        return [], ()
    if not series.keyframe.is_final or not all(_is_contiguous(page) for page in pages):
        return [], ()
    if series.dataoffset is not None:
        return [series.dataoffset], series.shape
    inner = next(series.shape[i:] for i in range(series.ndim + 1) if prod(series.shape[:i]) >= len(pages))
    if prod(inner) != prod(series.keyframe.shape):
        return [], ()
    return [page.dataoffsets[0] for page in pages], inner


def _is_contiguous(page: Any) -> bool:
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    return bool(ends) and page.dataoffsets[0] > 0 and ends[:-1] == list(page.dataoffsets[1:])


def _compressed(array: Any, axes: str) -> ChunkedArray:
    """Return an array that decodes tiles, or blocks of strips, and caches a band of rows in the case of strips."""
    blocks = list(array.chunks)
    y, x = axes.find("Y"), axes.find("X")
    if min(y, x) < 0 or blocks[x] < array.shape[x]:
        return cache_blocks(array, tuple(blocks))
    blocks[y] = min(array.shape[y], blocks[y] * ceil(_BLOCK_ROWS / blocks[y]))
    return cache_blocks(array, tuple(blocks), max(CACHE_BYTES, _band_bytes(array, blocks, axes)))


def _band_bytes(array: Any, blocks: list[int], axes: str) -> int:
    rows = max(blocks[axes.index("Y")], min(_BAND_ROWS, array.shape[axes.index("Y")]))
    sides = {a: side for a, side in zip(axes, array.shape, strict=True) if a in "XS"}
    return int(rows * prod(sides.values()) * array.dtype.itemsize)


def _cache_note(array: ChunkedArray) -> tuple[str, ...]:
    if array.cache_bytes <= CACHE_BYTES:
        return ()
    size = array.cache_bytes / 2**30
    return (f"strips are large: {size:.1f} GB of them are cached in memory; a tiled TIFF or OME-Zarr needs less",)
