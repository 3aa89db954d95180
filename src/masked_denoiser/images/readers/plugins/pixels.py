"""Pixels of plugins as lazy arrays: dask, zarr, HDF5 and others are read piece by piece, NumPy arrays as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from masked_denoiser.images.indexing import Spans
from masked_denoiser.images.lazy_arrays import BlockView
from masked_denoiser.images.readers.arrays.objects import is_a, read_array_object
from masked_denoiser.images.readers.base import ReaderResult
from masked_denoiser.images.readers.chunk_cache import CACHE_BYTES, ChunkedArray
from masked_denoiser.images.readers.converted import LevelView
from masked_denoiser.images.readers.plugins.calls import PixelCall
from masked_denoiser.images.source import LazyArray
from masked_denoiser.images.validation.size_limits import check_decoded_size

Array = np.ndarray[Any, Any]


def read_level(array: Any, reader: str, name: str) -> ReaderResult:
    """Describe an array of a plugin, which any thread may then read.

    Chunks are cached: a tile is often smaller than one, and each would be decoded again for the next tile.

    Args:
        array: of NumPy, dask, zarr, xarray, HDF5, or anything that can be indexed or converted to NumPy.
        reader: description of the plugin.
        name: of the image, for errors.

    Raises:
        ImageError: if it is not an array of known shape, or one of its chunks exceeds the size limit.
    """
    found = read_array_object(array)
    if isinstance(found.levels[0], np.ndarray):
        return found
    chunks = regular_chunks(array)
    # xarray computes on the scheduler of the process; on the worker of a cluster, that is the cluster.
    stored = array.data if chunks is not None and is_a(array, "xarray", "DataArray") else array
    view = PluginArray(stored, found.levels[0], reader)
    if chunks is None:
        return replace(found, levels=(view,))
    check_decoded_size(chunks, view.dtype.itemsize, "a chunk", name)
    return replace(found, levels=(ChunkedArray(view.shape, view.dtype, chunks, view.chunk_reader(chunks)),))


def regular_chunks(array: Any) -> tuple[int, ...] | None:
    """Return the sides of the chunks of an array, the largest ones where they vary; None if it has no chunks."""
    chunks = getattr(array, "chunks", None)
    if not isinstance(chunks, tuple) or len(chunks) != len(array.shape):
        return None
    return tuple(max(1, *map(int, sides) if isinstance(sides, tuple) else (int(sides),)) for sides in chunks)


class PluginArray(BlockView):
    """Lazy array of a plugin, with its errors as those of a decoder.

    Args:
        array: as the plugin gives it.
        like: has its shape and its dtype in native byte order.
        reader: description of the plugin.
    """

    def __init__(self, array: Any, like: LazyArray, reader: str) -> None:
        self._array, self._reader = array, reader
        self.shape, self.dtype = tuple(like.shape), np.dtype(like.dtype)

    def chunk_reader(self, chunks: tuple[int, ...]) -> Any:
        """Return the function that reads the chunk at a position of the grid."""
        return lambda index: self._read([(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True)])

    def _read(self, spans: Spans) -> Array:
        with PixelCall(self._reader, ""):
            piece = self._array[tuple(slice(*span) for span in spans)]
            if is_a(piece, "dask", "Array"):
                # In this thread: on a worker, dask would send the pieces to the cluster, which waits for this task.
                piece = piece.compute(scheduler="synchronous")
            return np.asarray(piece, dtype=self.dtype)


class StackedArray(LevelView):
    """Lazy array of equal arrays along a new first dimension; their caches together have the size of one.

    Args:
        arrays: the arrays, of equal shape and dtype.
    """

    def __init__(self, arrays: Sequence[LazyArray]) -> None:
        self._arrays = tuple(arrays)
        self.shape, self.dtype = (len(arrays), *arrays[0].shape), np.dtype(arrays[0].dtype)
        self.chunks = (1, *getattr(arrays[0], "chunks", arrays[0].shape))
        self.limit_cache(CACHE_BYTES)

    def limit_cache(self, cache_bytes: int) -> None:
        """Reduce the caches of the arrays."""
        for array in self._arrays:
            if isinstance(array, ChunkedArray):
                array.limit_cache(cache_bytes // len(self._arrays))

    def _read(self, spans: Spans) -> Array:
        inner = tuple(slice(*span) for span in spans[1:])
        pieces = [np.asarray(array[inner]) for array in self._arrays[slice(*spans[0])]]
        return np.stack(pieces) if pieces else np.empty((0, *(b - a for a, b in spans[1:])), self.dtype)
