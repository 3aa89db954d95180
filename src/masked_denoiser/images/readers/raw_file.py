"""Uncompressed pixels in a file, read at their offsets.

Files are not memory-mapped: if a mapped file is truncated or its network share disconnected, the process is killed
(SIGBUS), while a failed read raises an error.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from itertools import product
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from masked_denoiser.images.readers.chunk_cache import ChunkedArray

#: Cost of one read in bytes, when the cheapest way to read a rectangle is chosen.
_READ_COST_BYTES = 2**14
#: Maximum bytes of a read that spans several rows.
_MAX_READ_BYTES = 2**24


class RawFile:
    """A file that any thread may read from; it is closed when the object is garbage-collected."""

    def __init__(self, path: Path) -> None:
        """Open a file for reading.

        Raises:
            OSError: if it cannot be opened.
        """
        self._path, self._lock = path, Lock()
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, start: int, count: int) -> bytes:
        """Return `count` bytes from `start`.

        Raises:
            OSError: if the file ends earlier or cannot be read.
        """
        parts: list[bytes] = []
        offset, end = start, start + count
        while offset < end:
            parts.append(self._read_some(offset, end - offset))
            if not parts[-1]:
                raise OSError(f"{self._path.name} now ends at byte {offset}, but pixels up to byte {end} are needed")
            offset += len(parts[-1])
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def _read_some(self, start: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, count, start)
        with self._lock:  # Windows has no pread
            os.lseek(self._descriptor, start, os.SEEK_SET)
            return os.read(self._descriptor, count)


class RawChunk:
    """An array in C order in a file, used as a chunk of a `ChunkedArray` without being in memory.

    Attributes:
        nbytes: 0, as it takes no cache memory.
    """

    nbytes = 0

    def __init__(self, file: RawFile, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._file, self._start, self._dtype = file, start, dtype
        self._strides = [prod(shape[axis + 1 :]) * dtype.itemsize for axis in range(len(shape))]

    def __getitem__(self, key: tuple[slice, ...], /) -> np.ndarray[Any, Any]:
        """Read a rectangle with few reads and few superfluous bytes.

        Args:
            key: a bounded slice without step per axis.

        Raises:
            OSError: see `RawFile.read`.
        """
        sides = [s.stop - s.start for s in key]
        axis = self._contiguous_from(sides)
        corner = self._start + sum(s.start * step for s, step in zip(key, self._strides, strict=True))
        out = np.empty(sides, self._dtype)
        for outer in product(*map(range, sides[:axis])):
            offset = sum(i * step for i, step in zip(outer, self._strides, strict=False))
            content = self._file.read(corner + offset, self._span(sides, axis))
            out[outer] = np.ndarray(sides[axis:], self._dtype, content, strides=self._strides[axis:])
        return out

    def _contiguous_from(self, sides: Sequence[int]) -> int:
        """Return the axis from which on a rectangle is read contiguously, including the bytes between its rows."""
        last = len(sides) - 1
        candidates = [a for a in range(last) if self._span(sides, a) <= _MAX_READ_BYTES]
        return min([*candidates, last], key=lambda a: prod(sides[:a]) * (self._span(sides, a) + _READ_COST_BYTES))

    def _span(self, sides: Sequence[int], axis: int) -> int:
        """Return the number of bytes from the first pixel to the end of the last one."""
        steps = zip(sides[axis:], self._strides[axis:], strict=True)
        return self._dtype.itemsize + sum((side - 1) * step for side, step in steps)


def open_raw(path: Path, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ChunkedArray:
    """Return a lazy array of uncompressed pixels in C order; closing it closes the file.

    Raises:
        EOFError: if the file ends before the last pixel.
    """
    end, size = start + prod(shape) * dtype.itemsize, path.stat().st_size
    if size < end:
        raise EOFError(f"it ends at byte {size}, and its pixels at byte {end}")
    file = RawFile(path)
    return ChunkedArray(shape, dtype, shape, lambda _: RawChunk(file, start, shape, dtype), cache_bytes=0)
