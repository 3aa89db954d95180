"""Cache of denoised cells with a limit in bytes, and levels of an image that show them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.images.indexing import Spans
from masked_denoiser.images.lazy_arrays import BlockView
from masked_denoiser.images.source import LazyArray
from masked_denoiser.plugin.live.cells import Position

Pixels = NDArray[Any]

#: Key of a cell: level, position, row and column.
Key = tuple[int, Position, int, int]


class CellCache:
    """Denoised cells, of which the least recently used are forgotten. Any thread may use it.

    Args:
        max_bytes: most bytes of pixels.
    """

    def __init__(self, max_bytes: int) -> None:
        self._cells: OrderedDict[Key, Pixels] = OrderedDict()
        self._lock, self._max_bytes, self.nbytes = threading.Lock(), max_bytes, 0

    def add(self, key: Key, pixels: Pixels) -> None:
        """Add a cell, with the axes of the image."""
        with self._lock:
            self.nbytes += pixels.nbytes - (self._cells[key].nbytes if key in self._cells else 0)
            self._cells[key] = pixels
            self._cells.move_to_end(key)
            while self.nbytes > self._max_bytes and len(self._cells) > 1:
                self.nbytes -= self._cells.popitem(last=False)[1].nbytes

    def get(self, key: Key) -> Pixels | None:
        """Return a cell, or None if it is not there."""
        with self._lock:
            if key in self._cells:
                self._cells.move_to_end(key)
            return self._cells.get(key)

    def missing(self, level: int, position: Position, rows: range, columns: range) -> NDArray[np.bool_]:
        """Return which cells are not there, [rows, columns]."""
        with self._lock:
            there = [(level, position, y, x) in self._cells for y, x in product(rows, columns)]
        return ~np.array(there, np.bool_).reshape(len(rows), len(columns))


class LiveLevel(BlockView):
    """Level of an image, with the denoised cells where there are any.

    Args:
        number: number of the level.
        source: the level as it is stored.
        axes: its axes.
        cache: the denoised cells.

    Attributes:
        cell: side of the cells in pixels; 0 as long as there are none.
    """

    def __init__(self, number: int, source: LazyArray, axes: str, cache: CellCache) -> None:
        self._number, self._source, self._axes, self._cache = number, source, axes, cache
        self.shape, self.dtype = tuple(int(side) for side in source.shape), np.dtype(source.dtype).newbyteorder("=")
        self._outer: list[int] = []
        self.cell = 0

    def set_cells(self, side: int, colour: str) -> None:
        """Show cells of this side from now on.

        Args:
            side: side of a cell in pixels.
            colour: the axis all of whose positions a cell has; "" if it has one of each axis but Y and X.
        """
        self._outer = [i for i, letter in enumerate(self._axes) if letter not in ("Y", "X", colour)]
        self.cell = side

    def _read(self, spans: Spans) -> Pixels:
        cells = list(self._cells_in(spans)) if self.cell else []
        is_complete = bool(cells) and all(pixels is not None for _, pixels in cells)
        shape = [stop - start for start, stop in spans]
        # The stored pixels may be slow to read.
        stored = None if is_complete else self._source[tuple(slice(*span) for span in spans)]
        block = np.empty(shape, self.dtype) if stored is None else np.array(stored, self.dtype)
        for starts, pixels in cells:
            if pixels is not None:
                _paste(block, spans, starts, pixels)
        return block

    def _cells_in(self, spans: Spans) -> Iterator[tuple[dict[int, int], Pixels | None]]:
        """Yield the first pixels along each axis of the cells that overlap a block, and their pixels or None."""
        y, x = self._axes.index("Y"), self._axes.index("X")
        grid = [range(spans[i][0] // self.cell, -(-spans[i][1] // self.cell)) for i in (y, x)]
        for indices in product(*(range(*spans[i]) for i in self._outer)):
            position = tuple((self._axes[i], index) for i, index in zip(self._outer, indices, strict=True))
            at = dict(zip(self._outer, indices, strict=True))
            for row, column in product(*grid):
                pixels = self._cache.get((self._number, position, row, column))
                yield at | {y: row * self.cell, x: column * self.cell}, pixels


def _paste(block: Pixels, spans: Spans, starts: dict[int, int], pixels: Pixels) -> None:
    """Replace the pixels of a block by those of a cell that overlaps it."""
    target, inner = [], []
    for i, (start, stop) in enumerate(spans):
        first = starts.get(i, 0)
        begin, end = max(start, first), min(stop, first + pixels.shape[i])
        target.append(slice(begin - start, end - start))
        inner.append(slice(begin - first, end - first))
    block[tuple(target)] = pixels[tuple(inner)]
