"""Lower levels of a growing result in memory, computed when they are read."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from masked_denoiser.images.indexing import full_index
from masked_denoiser.images.lazy_arrays import ArrayView
from masked_denoiser.images.source import LazyArray
from masked_denoiser.images.writers.downsample import halve
from masked_denoiser.images.writers.layout import SMALLEST_LEVEL


class HalvedArray(ArrayView):
    """Lazy array of half the height and width, rounded up: means of 2 x 2 pixels of the current finer array.

    Attributes:
        shape: shape of this array.
        dtype: dtype of the finer array.
    """

    def __init__(self, finer: LazyArray, axes: str) -> None:
        self._finer, self._yx = finer, (axes.index("Y"), axes.index("X"))
        self.shape = tuple(-(-side // 2) if i in self._yx else side for i, side in enumerate(finer.shape))
        self.dtype = np.dtype(finer.dtype)

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        """Return means at integers and slices of positive step."""
        spans, result_key = [], []
        for index, side in zip(full_index(key, self.ndim), self.shape, strict=True):
            position = 0 if isinstance(index, slice) else operator.index(index) % side
            start, stop, step = (index if isinstance(index, slice) else slice(position, position + 1)).indices(side)
            spans.append((start, max(start, stop)))
            result_key.append(slice(None, None, step) if isinstance(index, slice) else 0)
        factors = [2 if i in self._yx else 1 for i in range(self.ndim)]
        finer_key = tuple(slice(f * start, f * stop) for f, (start, stop) in zip(factors, spans, strict=True))
        return np.asarray(halve(np.asarray(self._finer[finer_key]), *self._yx)[tuple(result_key)])


def halved_levels(array: LazyArray, axes: str) -> tuple[LazyArray, ...]:
    """Return an array and its lower levels, as many as an output on disk has."""
    levels = [array]
    while max(levels[-1].shape[axes.index(letter)] for letter in "YX") > SMALLEST_LEVEL:
        levels.append(HalvedArray(levels[-1], axes))
    return tuple(levels)
