"""Lower levels of a growing result in memory, computed when they are read."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from masked_denoiser.images.indexing import full_index
from masked_denoiser.images.lazy_arrays import ArrayView
from masked_denoiser.images.source import LazyArray
from masked_denoiser.images.writers.downsample import halve
from masked_denoiser.images.writers.layout import SMALLEST_LEVEL
from masked_denoiser.plugin.layers.merged_array import NearestArray


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


def halved_shapes(shape: tuple[int, ...], axes: str) -> list[tuple[int, ...]]:
    """Return the shapes of an array and its lower levels, as many as an output on disk has."""
    shapes = [shape]
    while max(shapes[-1][axes.index(letter)] for letter in "YX") > SMALLEST_LEVEL:
        shapes.append(_halved(shapes[-1], axes))
    return shapes


def with_thumbnail_level(levels: Sequence[LazyArray], axes: str) -> tuple[LazyArray, ...]:
    """Return the levels of a pyramid with one more, which is too small to be displayed; a single level as it is.

    napari reads the smallest level of a two-dimensional pyramid only once, and would never show new pixels of it.
    """
    if len(levels) == 1:
        return tuple(levels)
    shape = tuple(int(side) for side in levels[-1].shape)
    return (*levels, NearestArray(levels[-1], _halved(shape, axes)))


def _halved(shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    return tuple(-(-side // 2) if letter in "YX" else side for letter, side in zip(axes, shape, strict=True))


def halved_levels(array: LazyArray, axes: str) -> tuple[LazyArray, ...]:
    """Return an array and its lower levels, as many as an output on disk has."""
    levels = [array]
    while max(levels[-1].shape[axes.index(letter)] for letter in "YX") > SMALLEST_LEVEL:
        levels.append(HalvedArray(levels[-1], axes))
    return tuple(levels)
