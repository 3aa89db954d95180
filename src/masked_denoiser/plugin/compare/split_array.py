"""Image that shows one array before a line and another one after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.images.indexing import Spans
from masked_denoiser.images.lazy_arrays import BlockView
from masked_denoiser.images.source import LazyArray


@dataclass
class SplitLine:
    """Line of a split, which the user drags.

    Attributes:
        position: where it is along its axis, in pixels of the full resolution.
        half_width: half of its width in the same pixels.
        value: intensity with which it is drawn.
    """

    position: float
    half_width: float
    value: float


class SplitArray(BlockView):
    """Lazy array of the pixels of one array before a line, and of another one after it.

    Args:
        before, after: arrays of equal shape.
        axis: dimension along which the line moves.
        factor: pixels of the full resolution for each pixel of the arrays.
        line: the line, which may move.
    """

    def __init__(self, before: LazyArray, after: LazyArray, axis: int, factor: float, line: SplitLine) -> None:
        self._before, self._after, self._axis, self._factor, self._line = before, after, axis, factor, line
        self.shape, self.dtype = tuple(int(side) for side in after.shape), np.dtype(after.dtype).newbyteorder("=")

    def _read(self, spans: Spans) -> NDArray[Any]:
        start, stop = spans[self._axis]
        middle = min(max(self._first_at(self._line.position), start), stop)
        parts = [
            np.asarray(array[self._key(spans, *span)]).astype(self.dtype, copy=False)
            for array, span in ((self._before, (start, middle)), (self._after, (middle, stop)))
            if span[0] < span[1]
        ]
        block = np.concatenate(parts, axis=self._axis) if parts else np.empty([b - a for a, b in spans], self.dtype)
        width = self._line.half_width
        first, last = (self._first_at(self._line.position + offset) for offset in (-width, width))
        last = max(last, first + 1)  # a line between the centres of large pixels
        drawn = slice(max(first - start, 0), max(last - start, 0))
        block[(*[slice(None)] * self._axis, drawn)] = _to_dtype(self._line.value, self.dtype)
        return block

    def _first_at(self, position: float) -> int:
        """Return the first pixel whose centre is at or after a position in pixels of the full resolution."""
        return int(np.ceil((position + 0.5) / self._factor - 0.5))

    def _key(self, spans: Spans, start: int, stop: int) -> tuple[slice, ...]:
        return tuple(slice(*((start, stop) if i == self._axis else span)) for i, span in enumerate(spans))


def _to_dtype(value: float, dtype: np.dtype[Any]) -> Any:
    """Return a value in a dtype; the nearest one if it is out of range."""
    limits = (0, 1) if dtype.kind == "b" else np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    low, high = limits if isinstance(limits, tuple) else (limits.min, limits.max)
    return dtype.type(min(max(value, low), high))
