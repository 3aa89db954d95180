"""Flat: pixels that lie uncompressed in a file, read at their offsets.

No memory map: a file that is cut short or whose share goes away under a map kills the process (SIGBUS), while a read
fails with an error that can be told.
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

#: Of several ways to read a rectangle, that with the fewest bytes is taken; each read counts as so many more,
_A_READ = 2**14
#: and none but a single run of pixels may be longer than this.
_LONGEST = 2**24


class RawFile:
    """A file of which any thread may read pieces. It is closed when nobody refers to it any more."""

    def __init__(self, path: Path) -> None:
        """Opens it for reading.

        Raises:
            OSError: if it cannot be opened.
        """
        self._path, self._lock = path, Lock()
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, start: int, count: int) -> bytes:
        """The bytes from `start` on, all of them.

        Raises:
            OSError: if the file ends before, or cannot be read.
        """
        parts: list[bytes] = []
        at, end = start, start + count
        while at < end:
            parts.append(self._some(at, end - at))
            if not parts[-1]:
                raise OSError(f"{self._path.name} ends at byte {at} by now, where pixels up to {end} were")
            at += len(parts[-1])
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def _some(self, start: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, count, start)
        with self._lock:  # Windows
            os.lseek(self._descriptor, start, os.SEEK_SET)
            return os.read(self._descriptor, count)


class RawChunk:
    """An array in C order in a file, as a piece of a `ChunkedArray`: nothing of it is in memory.

    Attributes:
        nbytes: 0, what keeping it takes.
    """

    nbytes = 0

    def __init__(self, file: RawFile, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._file, self._start, self._dtype = file, start, dtype
        self._strides = [prod(shape[axis + 1 :]) * dtype.itemsize for axis in range(len(shape))]

    def __getitem__(self, key: tuple[slice, ...], /) -> np.ndarray[Any, Any]:
        """Reads a rectangle, and not much more of the file than lies in it.

        Args:
            key: a slice with ends and without a step for each axis.

        Raises:
            OSError: see `RawFile.read`.
        """
        sides = [s.stop - s.start for s in key]
        axis = self._way(sides)
        corner = self._start + sum(s.start * step for s, step in zip(key, self._strides, strict=True))
        out = np.empty(sides, self._dtype)
        for outer in product(*map(range, sides[:axis])):
            offset = sum(at * step for at, step in zip(outer, self._strides, strict=False))
            content = self._file.read(corner + offset, self._span(sides, axis))
            out[outer] = np.ndarray(sides[axis:], self._dtype, content, strides=self._strides[axis:])
        return out

    def _way(self, sides: Sequence[int]) -> int:
        """The axis from which on a rectangle is read in one go, what lies between its rows included."""
        last = len(sides) - 1
        ways = [a for a in range(last) if self._span(sides, a) <= _LONGEST]
        return min([*ways, last], key=lambda a: prod(sides[:a]) * (self._span(sides, a) + _A_READ))

    def _span(self, sides: Sequence[int], axis: int) -> int:
        """Bytes from the first pixel to the end of the last one."""
        steps = zip(sides[axis:], self._strides[axis:], strict=True)
        return self._dtype.itemsize + sum((side - 1) * step for side, step in steps)
