"""A lazy array seen with its axes in another order, so that napari shows what a file stores differently."""

from __future__ import annotations

import operator
import weakref
from typing import Any

import numpy as np

from masked_denoiser.images.indexing import full_index
from masked_denoiser.images.source import Lazy, Source


class ArrayView:
    """What napari needs of an array beside its pixels.

    Attributes:
        shape: sides.
        dtype: of a sample.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of samples."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        """Pixels at integers and slices."""
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """The whole array."""
        return np.asarray(self[...], dtype=dtype)


class ReorderedArray(ArrayView):
    """A view of an array that napari can show: nothing is read but what is indexed, and nothing is kept.

    Unlike a dask array it never goes stale, so that a result can be watched as it grows.

    Attributes:
        shape: sides in the order seen.
        dtype: of the array.
    """

    def __init__(self, array: Lazy, order: tuple[int | None, ...], owner: object = None) -> None:
        """Takes for each axis that is seen the array's axis, or None for a new one of length 1.

        `owner` lives as long as the view.
        """
        self._array, self._order, self._owner = array, order, owner
        self.shape = tuple(1 if axis is None else int(array.shape[axis]) for axis in order)
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        """Reads at integers and slices, in the order seen."""
        keys = tuple(k if isinstance(k, slice) else operator.index(k) for k in full_index(key, self.ndim))
        stored: list[int | slice] = [0] * len(self._array.shape)
        for axis, k in zip(self._order, keys, strict=True):
            if axis is not None:
                stored[axis] = k
        pixels = np.asarray(self._array[tuple(stored)])
        left = [axis for axis, k in enumerate(stored) if isinstance(k, slice)]
        wanted = [axis for axis, k in zip(self._order, keys, strict=True) if axis is not None and isinstance(k, slice)]
        moved = pixels.transpose([left.index(axis) for axis in wanted])
        return _with_new_axes(moved, self._order, keys)


class _Owner:
    """Closes a source when the last array that needs it is gone."""

    def __init__(self, source: Source) -> None:
        weakref.finalize(self, source.close)


def shown_levels(source: Source, seen: str, count: int | None = None) -> tuple[Lazy, ...]:
    """The levels of a source for layers, which nobody closes: the files close when no layer needs them any more.

    Args:
        source: the image; not to be closed by the caller.
        seen: the axes of the layer.
        count: how many levels; all of them by default.
    """
    owner = _Owner(source) if source.closer is not None else None
    return tuple(reordered_view(level, source.axes, seen, owner) for level in source.levels[:count])


def reordered_view(array: Lazy, stored: str, seen: str, owner: object = None) -> Lazy:
    """An array with axes `stored` as one with axes `seen`; the array itself where they agree and nobody owns it.

    S and C stand for each other where only one side has one of them: formats store colour under either.

    Raises:
        ValueError: if an axis longer than 1 would be lost.
    """
    if "S" in seen and "S" not in stored:
        stored = stored.replace("C", "S")
    elif "S" in stored and "S" not in seen:
        stored = stored.replace("S", "C")
    if stored == seen and owner is None:
        return array
    lost = [axis for axis, side in zip(stored, array.shape, strict=True) if axis not in seen and side > 1]
    if lost:
        raise ValueError(f"axes {stored} cannot be shown as {seen}: {', '.join(lost)} would be lost")
    return ReorderedArray(array, tuple(stored.index(axis) if axis in stored else None for axis in seen), owner)


def _with_new_axes(
    pixels: np.ndarray[Any, Any], order: tuple[int | None, ...], keys: tuple[int | slice, ...]
) -> np.ndarray[Any, Any]:
    """Puts axes of length 1 where `order` has None and the key keeps it."""
    at = 0
    for axis, key in zip(order, keys, strict=True):
        if not isinstance(key, slice):
            continue
        if axis is None:
            pixels = np.expand_dims(pixels, at)
        at += 1
    return pixels
