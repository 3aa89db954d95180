"""Pixels of plugins as lazy arrays: dask, zarr, HDF5 and others are read piece by piece, NumPy arrays as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from masked_denoiser.images.indexing import Spans
from masked_denoiser.images.lazy_arrays import BlockView
from masked_denoiser.images.readers.arrays.objects import is_a, read_array_object
from masked_denoiser.images.readers.base import ReaderResult
from masked_denoiser.images.readers.chunk_cache import CACHE_BYTES, ChunkedArray, Fetch
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
    chunks = largest_chunks(array)
    # xarray computes on the scheduler of the process; on the worker of a cluster, that is the cluster.
    stored = array.data if chunks is not None and type(array).__module__.startswith("xarray.") else array
    view = PluginArray(stored, found.levels[0], reader)
    if chunks is None:
        return replace(found, levels=(view,))
    check_decoded_size(chunks, view.dtype.itemsize, "a chunk", name)
    fetch = view.chunk_reader(chunks)
    return replace(found, levels=(ChunkedArray(view.shape, view.dtype, chunks, fetch),))


def largest_chunks(array: Any) -> tuple[int, ...] | None:
    """Return the largest sides of the chunks of an array along each dimension; None if it has no chunks."""
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

    def chunk_reader(self, chunks: tuple[int, ...]) -> Fetch:
        """Return the function that reads the chunk at a position of a grid of chunks of these sides."""
        if is_a(self._array, "dask", "Array") and _is_regular(self._array.chunks):
            compute = DaskChunks(self._array)
            return lambda index: self._converted(lambda: compute(index))
        return lambda index: self._read([(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True)])

    def _read(self, spans: Spans) -> Array:
        return self._converted(lambda: self._array[tuple(slice(*span) for span in spans)])

    def _converted(self, read: Callable[[], Any]) -> Array:
        with PixelCall(self._reader, ""):
            piece = read()
            if is_a(piece, "dask", "Array"):
                # In this thread: on a worker, dask would send the pieces to the cluster, which waits for this task.
                piece = piece.compute(scheduler="synchronous")
            return np.asarray(piece, dtype=self.dtype)


class DaskChunks:
    """Chunks of a dask array, each computed from the tasks that it needs.

    Slicing the array would look at the whole graph each time, which takes seconds for thousands of stacked frames.

    Args:
        array: the dask array.
    """

    def __init__(self, array: Any) -> None:
        from dask.blockwise import Blockwise
        from dask.utils import ensure_dict

        self._name, self._graph = array.name, array.__dask_graph__()
        layers = getattr(self._graph, "layers", {})
        # Tasks of block-wise layers are made when they are needed; all others exist already.
        self._is_symbolic = bool(layers) and all(isinstance(layer, Blockwise) for layer in layers.values())
        if not self._is_symbolic:
            self._graph = ensure_dict(self._graph)

    def __call__(self, index: tuple[int, ...]) -> Any:
        """Compute the chunk at a position of the grid, in this thread."""
        from dask.local import get_sync
        from dask.optimization import cull

        key = (self._name, *index)
        if self._is_symbolic:
            return get_sync(self._graph.cull({key}).to_dict(), key)
        tasks, _ = cull(self._graph, [key])  # type: ignore[no-untyped-call]
        return get_sync(tasks, key)


def _is_regular(chunks: tuple[tuple[int, ...], ...]) -> bool:
    """Return whether all chunks of a dask array have the same sides, except smaller ones at the end."""
    return all(set(sides[:-1]) <= {sides[0]} and sides[-1] <= sides[0] for sides in chunks)


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
