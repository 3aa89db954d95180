"""Results that are displayed while they grow, with the input where nothing has been written yet."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.images.indexing import full_index
from masked_denoiser.images.lazy_arrays import ArrayView
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import LazyArray


class DoneTiles:
    """Record of the tiles of a job that have been written.

    Args:
        axes: axes of the result.
        shape: shape of the result; it is 1 along an axis of which the job denoises one position.
        tile: side of a tile in pixels.
        size: height and width of the image, if they are not those of the result.
    """

    def __init__(self, axes: str, shape: tuple[int, ...], tile: int, size: tuple[int, int] | None = None) -> None:
        sides = dict(zip(axes, shape, strict=True))
        self.tile, self.outer = tile, "".join(letter for letter in axes if letter not in "YX")
        grid = (-(-side // tile) for side in size or (sides["Y"], sides["X"]))
        self._done: NDArray[np.bool_] = np.zeros((*(sides[letter] for letter in self.outer), *grid), np.bool_)

    def add(self, plane: Plane, y: int, x: int, size: tuple[int, int]) -> None:
        """Record tiles of a plane, given by their first row and column and their height and width."""
        spans = ((y, size[0]), (x, size[1]))
        rows, columns = (slice(first // self.tile, -(-(first + side) // self.tile)) for first, side in spans)
        position = dict(plane.index)
        outer: list[int | slice] = [
            slice(plane.start, plane.stop) if letter == plane.channel_axis else min(position.get(letter, 0), side - 1)
            for letter, side in zip(self.outer, self._done.shape, strict=False)
        ]
        self._done[(*outer, rows, columns)] = True

    def mask(self, outer: list[NDArray[np.intp]], ys: NDArray[np.intp], xs: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return whether pixels have been written, for positions along each axis: [*outer, Y, X]."""
        return np.asarray(self._done[np.ix_(*outer, ys // self.tile, xs // self.tile)])


class MergedArray(ArrayView):
    """Lazy array that shows a growing result where tiles are done, and the input elsewhere.

    Args:
        result: the growing result.
        source: the input, with the same axes and shape.
        axes: axes of both.
        done: tiles that are done.
        corner: row and column of the first pixel in the image.
        factor: full-resolution pixels for each pixel along Y and X.
    """

    def __init__(
        self,
        result: LazyArray,
        source: LazyArray,
        axes: str,
        done: DoneTiles,
        corner: tuple[int, int] = (0, 0),
        factor: int = 1,
    ) -> None:
        self._result, self._source, self._axes, self._done = result, source, axes, done
        self._corner, self._factor = dict(zip("YX", corner, strict=True)), factor
        self.shape, self.dtype = tuple(int(side) for side in result.shape), np.dtype(result.dtype)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        """Return the pixels at integers and slices of positive step."""
        keys = tuple(k if isinstance(k, slice) else operator.index(k) for k in full_index(key, self.ndim))
        done = self._mask(keys)
        if done.all():
            return np.asarray(self._result[keys])
        source = np.asarray(self._source[keys])
        if done.any():
            source = np.where(done, np.asarray(self._result[keys]), source)
        return source.astype(self.dtype, copy=False)

    def _mask(self, keys: tuple[int | slice, ...]) -> NDArray[np.bool_]:
        """Return whether the pixels at a key are done, in the shape that the key selects."""
        positions = {letter: _positions(k, side) for letter, k, side in zip(self._axes, keys, self.shape, strict=True)}
        ys, xs = (positions[letter] * self._factor + self._corner[letter] for letter in "YX")
        mask = self._done.mask([positions[letter] for letter in self._done.outer], ys, xs)
        stored = f"{self._done.outer}YX"
        mask = mask.transpose([stored.index(letter) for letter in self._axes])
        return np.asarray(mask[tuple(slice(None) if isinstance(k, slice) else 0 for k in keys)])


class NearestArray(ArrayView):
    """Lazy view of an array in another size, by nearest neighbour."""

    def __init__(self, array: LazyArray, shape: tuple[int, ...]) -> None:
        self._array, self.shape, self.dtype = array, shape, np.dtype(array.dtype)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        """Return the pixels at integers and slices of positive step."""
        keys = full_index(key, self.ndim)
        sides = zip(keys, self.shape, self._array.shape, strict=True)
        at = [_positions(k, side) * int(stored) // side for k, side, stored in sides]
        block = np.asarray(self._array[tuple(slice(_first(p), p.max(initial=-1) + 1) for p in at)])
        pixels = block[np.ix_(*(p - _first(p) for p in at))]
        return np.asarray(pixels[tuple(slice(None) if isinstance(k, slice) else 0 for k in keys)])


def _positions(key: int | slice, side: int) -> NDArray[np.intp]:
    """Return the positions along an axis that an index selects."""
    return np.arange(side)[key if isinstance(key, slice) else slice(key % side, key % side + 1)]


def _first(positions: NDArray[np.intp]) -> int:
    return int(positions[0]) if positions.size else 0
