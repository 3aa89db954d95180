"""The lower levels of a result that grows in memory, made when they are looked at."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from masked_denoiser.images.indexing import full_index
from masked_denoiser.images.source import Lazy
from masked_denoiser.images.writers.downsample import halve
from masked_denoiser.images.writers.layout import SMALLEST_LEVEL
from masked_denoiser.plugin.layers.lazy_view import ArrayView


class HalvedArray(ArrayView):
    """An array of half the height and width, rounded up: means of 2 x 2 pixels of a finer one, as it is now.

    Attributes:
        shape: its sides.
        dtype: of the finer array.
    """

    def __init__(self, finer: Lazy, axes: str) -> None:
        self._finer, self._yx = finer, (axes.index("Y"), axes.index("X"))
        self.shape = tuple(-(-side // 2) if i in self._yx else side for i, side in enumerate(finer.shape))
        self.dtype = np.dtype(finer.dtype)

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        """Means at integers and slices of positive step."""
        spans, last = [], []
        for k, side in zip(full_index(key, self.ndim), self.shape, strict=True):
            whole = k if isinstance(k, slice) else slice(operator.index(k) % side, operator.index(k) % side + 1)
            start, stop, step = whole.indices(side)
            spans.append((start, max(start, stop)))
            last.append(slice(None, None, step) if isinstance(k, slice) else 0)
        factors = [2 if i in self._yx else 1 for i in range(self.ndim)]
        finer = tuple(slice(f * start, f * stop) for f, (start, stop) in zip(factors, spans, strict=True))
        return np.asarray(halve(np.asarray(self._finer[finer]), *self._yx)[tuple(last)])


def halved_levels(array: Lazy, axes: str) -> tuple[Lazy, ...]:
    """An array and its lower levels, down to the size of the smallest level on disk."""
    levels = [array]
    while max(levels[-1].shape[axes.index(letter)] for letter in "YX") > SMALLEST_LEVEL:
        levels.append(HalvedArray(levels[-1], axes))
    return tuple(levels)
