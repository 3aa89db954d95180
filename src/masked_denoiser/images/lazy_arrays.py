"""Lazy views of arrays: base classes, reordered axes and reversed dimensions."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np

from masked_denoiser.images.indexing import Spans, full_index, index_spans
from masked_denoiser.images.source import LazyArray, Source


class ArrayView(ABC):
    """Base class of lazy arrays.

    Attributes:
        shape: shape of the array.
        dtype: dtype of a sample.
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

    @abstractmethod
    def __getitem__(self, key: Any, /) -> Any:
        """Return the pixels at integers and slices of positive step."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Return the whole array."""
        return np.asarray(self[...], dtype=dtype)


class BlockView(ArrayView):
    """Base class of lazy arrays that are read as blocks."""

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        """Return a copy of the pixels at integers and slices of positive step.

        Raises:
            IndexError: for any other index, and outside the array.
        """
        spans, inner = index_spans(key, self.shape)
        return np.asarray(self._read(spans)[inner])

    @abstractmethod
    def _read(self, spans: Spans) -> np.ndarray[Any, Any]:
        """Return the block from start to stop along each dimension."""


class FlippedArray(BlockView):
    """Lazy view of an array that runs backwards along some dimensions."""

    def __init__(self, array: LazyArray, flipped: tuple[int, ...]) -> None:
        self._array, self._flipped = array, flipped
        self.shape, self.dtype = tuple(int(side) for side in array.shape), np.dtype(array.dtype)

    def _read(self, spans: Spans) -> np.ndarray[Any, Any]:
        stored = mirrored(spans, self.shape, self._flipped)
        return np.flip(np.asarray(self._array[tuple(slice(*span) for span in stored)]), self._flipped)


class CroppedArray(ArrayView):
    """A lazy array that shows a rectangle of another one.

    Attributes:
        shape: of the rectangle.
        dtype: of the array.
    """

    def __init__(self, array: LazyArray, spans: tuple[tuple[int, int], ...]) -> None:
        """Crop an array to (start, stop) along each dimension."""
        self._array, self._starts = array, tuple(start for start, _ in spans)
        self.shape = tuple(stop - start for start, stop in spans)
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, key: Any, /) -> Any:
        """Return pixels at integers and slices of positive step.

        Raises:
            IndexError: for any other index, and outside the rectangle.
        """
        return self._array[tuple(map(_parent_index, full_index(key, self.ndim), self._starts, self.shape))]


def _parent_index(key: Any, start: int, side: int) -> int | slice:
    """Return an index into the rectangle as one into the array."""
    if isinstance(key, slice):
        first, last, step = key.indices(side)
        if step < 1:
            raise IndexError(f"slice {key} has a negative step; read forwards and flip the result")
        return slice(start + first, start + max(first, last), step)
    at = operator.index(key)
    if not -side <= at < side:
        raise IndexError(f"index {at} is out of range for {side} pixels")
    return start + at % side


def mirrored(spans: Spans, shape: tuple[int, ...], flipped: tuple[int, ...]) -> Spans:
    """Return the block of an array under a block of its view, which runs backwards along some dimensions."""
    sides = enumerate(zip(spans, shape, strict=True))
    return [(side - stop, side - start) if i in flipped else (start, stop) for i, ((start, stop), side) in sides]


class ReorderedArray(ArrayView):
    """Lazy view of an array with reordered axes. It reads only what is indexed and, unlike dask, caches nothing.

    So a layer always shows the current pixels of a growing result.

    Attributes:
        shape: shape in the order of the view.
        dtype: dtype of the array.
    """

    def __init__(self, array: LazyArray, order: tuple[int | None, ...], owner: object = None) -> None:
        """Create a view.

        Args:
            array: the array.
            order: for each axis of the view the axis of the array, or None for a new axis of length 1.
            owner: object to keep alive as long as the view.
        """
        self._array, self._order, self._owner = array, order, owner
        self.shape = tuple(1 if axis is None else int(array.shape[axis]) for axis in order)
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        """Read the pixels at integers and slices, in the order of the view."""
        keys = tuple(k if isinstance(k, slice) else operator.index(k) for k in full_index(key, self.ndim))
        array_key: list[int | slice] = [0] * len(self._array.shape)
        for axis, k in zip(self._order, keys, strict=True):
            if axis is not None:
                array_key[axis] = k
        pixels = np.asarray(self._array[tuple(array_key)])
        kept = [axis for axis, k in enumerate(array_key) if isinstance(k, slice)]
        order = [axis for axis, k in zip(self._order, keys, strict=True) if axis is not None and isinstance(k, slice)]
        return _with_new_axes(pixels.transpose([kept.index(axis) for axis in order]), self._order, keys)


def reorder_axes(array: LazyArray, axes: str, layer_axes: str, owner: object = None) -> LazyArray:
    """Return a view of an array with the axes of a layer; the array itself if the axes are equal and `owner` is None.

    S and C are equivalent if each side has only one of them, since formats store RGB samples under either.

    Raises:
        ValueError: if an axis longer than 1 would be dropped.
    """
    if "S" in layer_axes and "S" not in axes:
        axes = axes.replace("C", "S")
    elif "S" in axes and "S" not in layer_axes:
        axes = axes.replace("S", "C")
    if axes == layer_axes and owner is None:
        return array
    dropped = [axis for axis, side in zip(axes, array.shape, strict=True) if axis not in layer_axes and side > 1]
    if dropped:
        raise ValueError(f"axes {axes} cannot be shown as {layer_axes}: {', '.join(dropped)} would be dropped")
    return ReorderedArray(array, tuple(axes.index(axis) if axis in axes else None for axis in layer_axes), owner)


def with_axes(source: Source, axes: str) -> Source:
    """Return a source of one level with these axes; see `reorder_axes`."""
    data = reorder_axes(source.data, source.axes, axes)
    return replace(source, data=data, axes=axes, levels=(data,))


def _with_new_axes(
    pixels: np.ndarray[Any, Any], order: tuple[int | None, ...], keys: tuple[int | slice, ...]
) -> np.ndarray[Any, Any]:
    """Insert axes of length 1 where `order` is None and the key is a slice."""
    at = 0
    for axis, key in zip(order, keys, strict=True):
        if not isinstance(key, slice):
            continue
        if axis is None:
            pixels = np.expand_dims(pixels, at)
        at += 1
    return pixels
