"""Levels of images for layers, whose pixels are read when they are displayed."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from masked_denoiser.images.indexing import full_index
from masked_denoiser.images.lazy_arrays import ArrayView, reorder_axes
from masked_denoiser.images.source import LazyArray, Source


class LazyLevel(ArrayView):
    """Lazy view of an array: slices of step 1 return views, and anything else the pixels.

    napari indexes a level by its displayed axes first, and then by the positions of the sliders, so that an array that
    is read at once would be read at all positions for each of them.

    Args:
        array: the array.
        spans: first and last + 1 position of the view along each axis; None for all.
    """

    def __init__(self, array: LazyArray, spans: Sequence[range] | None = None) -> None:
        self._array = array
        self._spans = [range(int(side)) for side in array.shape] if spans is None else list(spans)
        self.shape, self.dtype = tuple(map(len, self._spans)), np.dtype(array.dtype)

    def __getitem__(self, key: Any, /) -> Any:
        """Return a view for slices of step 1, and the pixels for other indices.

        Raises:
            IndexError: outside the array, and for other indices than integers and slices of positive step.
        """
        parts = [
            span[k if isinstance(k, slice) else operator.index(k)]
            for span, k in zip(self._spans, full_index(key, self.ndim), strict=True)
        ]
        spans = [part for part in parts if isinstance(part, range) and part.step == 1]
        if len(spans) == self.ndim:
            return LazyLevel(self._array, spans)
        return np.asarray(self._array[tuple(_stored(part) for part in parts)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Read the pixels of the view."""
        return np.asarray(self._array[tuple(_stored(span) for span in self._spans)], dtype=dtype)


def lazy_levels(levels: Sequence[LazyArray]) -> list[LazyArray]:
    """Return the levels of a pyramid for napari; NumPy arrays, whose slices are views already, as they are."""
    return [level if isinstance(level, np.ndarray) else LazyLevel(level) for level in levels]


def _stored(part: range | int) -> slice | int:
    if isinstance(part, range):
        if part.step < 1:
            raise IndexError("slices of negative step are not read; read forwards and flip the result")
        return slice(part.start, part.stop, part.step)
    return part


class _Owner:
    """Object that closes a source when the last array that refers to it is deleted."""

    def __init__(self, source: Source) -> None:
        weakref.finalize(self, source.close)


def source_levels(source: Source, layer_axes: str, count: int | None = None) -> tuple[LazyArray, ...]:
    """Return the levels of a source for a layer; its files close when no layer uses them.

    Args:
        source: the image, which the caller must not close.
        layer_axes: axes of the layer.
        count: number of levels; None for all.
    """
    owner = _Owner(source) if source.closer is not None else None
    return tuple(reorder_axes(level, source.axes, layer_axes, owner) for level in source.levels[:count])
