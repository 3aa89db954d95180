"""An array that is fetched chunk by chunk and keeps the chunks last used, decoded, in bounded memory."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable
from itertools import product
from threading import Lock
from typing import Any, Protocol

import numpy as np

from masked_denoiser.images.indexing import full_index

Array = np.ndarray[Any, Any]


class Chunk(Protocol):
    """A chunk: its pixels, or what reads those that are asked for."""

    @property
    def nbytes(self) -> int:
        """What keeping it takes."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


#: Takes a chunk's position in the grid of chunks and returns its pixels, cut at the array's edge.
Fetch = Callable[[tuple[int, ...]], Chunk]

#: Decoded bytes kept: some rows of strips of a slide, or several planes of a stack.
CACHE_BYTES = 256 * 2**20


class ChunkedArray:
    """Reads rectangles out of chunks that are costly to fetch.

    A tile is often smaller than a compressed strip or page: without the cache each tile would decode it again.
    Any thread may read. The chunk last used stays even where it alone is larger than the cache.

    Attributes:
        shape: sides of the array.
        dtype: native byte order, whatever the fetched chunks have.
        chunks: sides of a chunk, one a dimension.
        keep_bytes: how many bytes of decoded chunks are kept at most.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        chunks: tuple[int, ...],
        fetch: Fetch,
        keep_bytes: int = CACHE_BYTES,
    ) -> None:
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")
        self.chunks = chunks
        self._fetch: Fetch = fetch
        self.keep_bytes = keep_bytes
        self._recent = _Recent(keep_bytes)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __getitem__(self, key: Any, /) -> Array:
        """Pixels at integers and slices of positive step, in the array's dtype; always a copy.

        Raises:
            IndexError: for any other index, and outside the array.
            ValueError: after `close`.
        """
        spans, last = _spans(key, self.shape)
        out = np.empty([stop - start for start, stop in spans], self.dtype)
        if out.size:
            grid = [range(a // c, (b - 1) // c + 1) for (a, b), c in zip(spans, self.chunks, strict=True)]
            for index in product(*grid):
                self._copy(index, spans, out)
        return np.asarray(out[last])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """The whole array."""
        return np.asarray(self[...], dtype=dtype)

    def limit(self, keep_bytes: int) -> None:
        """Keeps no more decoded bytes than this, where many images are open at once."""
        self.keep_bytes = min(self.keep_bytes, keep_bytes)
        self._recent = _Recent(self.keep_bytes)

    def close(self) -> None:
        """Forgets the chunks and whatever fetches them."""
        self._fetch = _closed
        self._recent = _Recent(0)

    def _copy(self, index: tuple[int, ...], spans: list[tuple[int, int]], out: Array) -> None:
        corner = [i * c for i, c in zip(index, self.chunks, strict=True)]
        here, there = [], []
        for (start, stop), first, side in zip(spans, corner, self.chunks, strict=True):
            low, high = max(start, first), min(stop, first + side)
            here.append(slice(low - first, high - first))
            there.append(slice(low - start, high - start))
        out[tuple(there)] = self._recent.get(index, self._fetch)[tuple(here)]


def cached(array: Any, blocks: tuple[int, ...], keep_bytes: int = CACHE_BYTES) -> ChunkedArray:
    """A zarr array read in blocks, whole multiples of its chunks, that are kept decoded."""

    def fetch(index: tuple[int, ...]) -> Array:
        return np.asarray(array[tuple(slice(i * b, (i + 1) * b) for i, b in zip(index, blocks, strict=True))])

    return ChunkedArray(tuple(array.shape), array.dtype, blocks, fetch, keep_bytes)


class _Recent:
    """The chunks last used, up to a number of bytes."""

    def __init__(self, keep_bytes: int) -> None:
        self._keep_bytes, self._bytes = keep_bytes, 0
        self._chunks: OrderedDict[tuple[int, ...], Chunk] = OrderedDict()
        self._lock = Lock()
        # Two threads that want one chunk must not both decode it, and those that want different ones must not wait.
        self._fetching = tuple(Lock() for _ in range(16))

    def get(self, index: tuple[int, ...], fetch: Fetch) -> Chunk:
        with self._fetching[hash(index) % len(self._fetching)]:
            found = self._find(index)
            if found is None:
                found = fetch(index)
                self._put(index, found)
            return found

    def _find(self, index: tuple[int, ...]) -> Chunk | None:
        with self._lock:
            if index in self._chunks:
                self._chunks.move_to_end(index)
            return self._chunks.get(index)

    def _put(self, index: tuple[int, ...], chunk: Chunk) -> None:
        with self._lock:
            self._chunks[index] = chunk
            self._bytes += chunk.nbytes
            while len(self._chunks) > 1 and self._bytes > self._keep_bytes:
                _, oldest = self._chunks.popitem(last=False)
                self._bytes -= oldest.nbytes


def _closed(_: tuple[int, ...]) -> Chunk:
    raise ValueError("the source was closed; open it again to read it")


def _spans(key: Any, shape: tuple[int, ...]) -> tuple[list[tuple[int, int]], tuple[int | slice, ...]]:
    """The (start, stop) to read along each dimension, and the index that makes `key` of what was read."""
    spans: list[tuple[int, int]] = []
    last: list[int | slice] = []
    for k, side in zip(full_index(key, len(shape)), shape, strict=True):
        if isinstance(k, slice):
            start, stop, step = k.indices(side)
            if step < 1:
                raise IndexError(f"slice {k} steps backwards; read forwards and turn the result")
            spans.append((start, max(start, stop)))
            last.append(slice(None, None, step))
        else:
            at = operator.index(k)
            if not -side <= at < side:
                raise IndexError(f"index {at} is outside of shape {shape}")
            spans.append((at % side, at % side + 1))
            last.append(0)
    return spans, tuple(last)
