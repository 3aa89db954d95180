"""Samples of a TIFF as lazily read arrays: uncompressed ones at their offsets, others from tifffile's zarr store."""

from __future__ import annotations

from contextlib import ExitStack
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from tifffile import TiffPageSeries

from masked_denoiser.images.readers.chunk_cache import CACHE_BYTES, ChunkedArray, cache_blocks
from masked_denoiser.images.readers.raw_file import RawChunk, RawFile
from masked_denoiser.images.validation.tiff import limit_decoded_size

#: Rows of strips that are fetched together, as fetching costs more than decoding a thin strip.
_BLOCK_ROWS = 128
#: Minimum rows of strips to cache, so that the tiles of a row do not decode them again.
_BAND_ROWS = 1024


def open_levels(series: TiffPageSeries, levels: list[TiffPageSeries], stack: ExitStack) -> tuple[ChunkedArray, ...]:
    """Return the stored samples of pyramid levels; they can be read until `stack` is closed."""
    arrays = [_uncompressed(level) for level in levels]
    if None in arrays:
        store = stack.enter_context(series.aszarr())
        node = zarr.open(store, mode="r")  # of format 2, since tifffile 2026.5.2 of format 3
        nodes = [node] if isinstance(node, zarr.Array) else [node[str(series.levels.index(level))] for level in levels]
        for level in levels:
            limit_decoded_size(level)
        arrays = [a or _compressed(n, level.axes) for a, n, level in zip(arrays, nodes, levels, strict=True)]
    opened = tuple(array for array in arrays if array is not None)
    for array in opened:
        stack.callback(array.close)
    return opened


def cache_note(array: ChunkedArray) -> tuple[str, ...]:
    """Return a note on an array whose strips need much memory."""
    if array.cache_bytes <= CACHE_BYTES:
        return ()
    size = array.cache_bytes / 2**30
    return (f"strips are large: {size:.1f} GB of them are cached in memory; a tiled TIFF or OME-Zarr needs less",)


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
