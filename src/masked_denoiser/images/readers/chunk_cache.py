"""Lazy array that fetches chunks on demand and caches decoded chunks in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import product
from threading import Lock
from typing import Any, Protocol

import numpy as np

from masked_denoiser.images.indexing import Spans
from masked_denoiser.images.lazy_arrays import BlockView

Array = np.ndarray[Any, Any]


class Chunk(Protocol):
    """A chunk: an array, or an object that reads the pixels that are indexed."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the chunk takes in the cache."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


#: Takes the position of a chunk in the chunk grid and returns the chunk, clipped to the shape of the array.
Fetch = Callable[[tuple[int, ...]], Chunk]

#: Default cache size in bytes: some rows of strips of a slide, or several planes of a stack.
CACHE_BYTES = 256 * 2**20


class ChunkedArray(BlockView):
    """A lazy array whose chunks are costly to fetch.

    A tile is often smaller than a compressed strip or page; without the cache each tile would decode it again.
    Any thread may read. The chunk used last is cached even if it is larger than the cache.

    Attributes:
        shape: of the array.
        dtype: in native byte order; fetched chunks may have either.
        chunks: shape of a chunk.
        cache_bytes: maximum bytes of cached chunks.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        chunks: tuple[int, ...],
        fetch: Fetch,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")
        self.chunks = chunks
        self._fetch: Fetch = fetch
        self.cache_bytes = cache_bytes
        self._cache = ChunkCache(cache_bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy to another process without the cached chunks."""
        return ChunkedArray, (self.shape, self.dtype, self.chunks, self._fetch, self.cache_bytes)

    def limit_cache(self, cache_bytes: int) -> None:
        """Reduce the cache size, for many images open at the same time."""
        self.cache_bytes = min(self.cache_bytes, cache_bytes)
        self._cache = ChunkCache(self.cache_bytes)

    def close(self) -> None:
        """Release the cached chunks and the function that fetches them."""
        self._fetch = _closed
        self._cache = ChunkCache(0)

    def _read(self, spans: Spans) -> Array:
        out = np.empty([stop - start for start, stop in spans], self.dtype)
        if out.size:
            grid = [range(a // c, (b - 1) // c + 1) for (a, b), c in zip(spans, self.chunks, strict=True)]
            for index in product(*grid):
                self._copy(index, spans, out)
        return out

    def _copy(self, index: tuple[int, ...], spans: Spans, out: Array) -> None:
        corner = [i * c for i, c in zip(index, self.chunks, strict=True)]
        source, target = [], []
        for (start, stop), first, side in zip(spans, corner, self.chunks, strict=True):
            low, high = max(start, first), min(stop, first + side)
            source.append(slice(low - first, high - first))
            target.append(slice(low - start, high - start))
        out[tuple(target)] = self._cache.get(index, self._fetch)[tuple(source)]


def cache_blocks(array: Any, blocks: tuple[int, ...], cache_bytes: int = CACHE_BYTES) -> ChunkedArray:
    """Return a zarr array read and cached in blocks, whose sides are multiples of its chunks'."""

    def fetch(index: tuple[int, ...]) -> Array:
        return np.asarray(array[tuple(slice(i * b, (i + 1) * b) for i, b in zip(index, blocks, strict=True))])

    return ChunkedArray(tuple(array.shape), array.dtype, blocks, fetch, cache_bytes)


class ChunkCache:
    """A thread-safe cache of the chunks used last, up to a number of bytes."""

    def __init__(self, cache_bytes: int) -> None:
        self._max_bytes, self._bytes = cache_bytes, 0
        self._chunks: OrderedDict[tuple[int, ...], Chunk] = OrderedDict()
        self._lock = Lock()
        # Threads that need the same chunk must not both decode it; those that need different ones should not wait.
        self._fetching = tuple(Lock() for _ in range(16))

    def get(self, index: tuple[int, ...], fetch: Fetch) -> Chunk:
        """Return a chunk, fetched unless it is cached."""
        with self._fetching[hash(index) % len(self._fetching)]:
            chunk = self._find(index)
            if chunk is None:
                chunk = fetch(index)
                self._put(index, chunk)
            return chunk

    def _find(self, index: tuple[int, ...]) -> Chunk | None:
        with self._lock:
            if index in self._chunks:
                self._chunks.move_to_end(index)
            return self._chunks.get(index)

    def _put(self, index: tuple[int, ...], chunk: Chunk) -> None:
        with self._lock:
            self._chunks[index] = chunk
            self._bytes += chunk.nbytes
            while len(self._chunks) > 1 and self._bytes > self._max_bytes:
                _, oldest = self._chunks.popitem(last=False)
                self._bytes -= oldest.nbytes


def _closed(_: tuple[int, ...]) -> Chunk:
    raise ValueError("the source was closed; open it again to read it")
