"""Lazy arrays whose pixels are converted, flipped or transposed as they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from masked_denoiser.images.indexing import Spans
from masked_denoiser.images.lazy_arrays import BlockView
from masked_denoiser.images.readers.chunk_cache import ChunkedArray

Array = np.ndarray[Any, Any]


class LevelView(BlockView):
    """A lazy view of another array, which any thread may read.

    Attributes:
        shape: of the view.
        dtype: of a sample.
        chunks: shape of the block that one chunk of the array becomes.
    """

    def __init__(
        self, array: LevelArray, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._array = array
        self.shape, self.chunks, self.dtype = shape, chunks, dtype

    def limit_cache(self, cache_bytes: int) -> None:
        """Reduce the cache of the viewed array."""
        self._array.limit_cache(cache_bytes)


#: A pyramid level of a file.
LevelArray = ChunkedArray | LevelView


@dataclass(frozen=True)
class Conversion:
    """How stored samples become pixels.

    Attributes:
        convert: takes [...] or, with `axis`, [..., samples], and returns the pixels in the same order of dimensions;
            without the last one if `samples` is 0, with an additional one if there is no `axis`.
        dtype: of the result.
        axis: dimension of the stored samples, if they are converted together; None to convert each value.
        samples: number of samples of the result, 0 for none and no such dimension; None if each value is converted.
    """

    convert: Callable[[Array], Array]
    dtype: np.dtype[Any]
    axis: int | None = None
    samples: int | None = None

    def apply_to(self, array: LevelArray) -> LevelArray:
        """Return the converted array, which is computed as it is read."""
        return ConvertedArray(array, self)

    def of_sides(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        """Return the sides of a block after conversion, where all samples are in one block."""
        return self._of_dimensions(sides, () if not self.samples else (self.samples,))

    def of_axes(self, axes: str) -> str:
        """Return the axes after conversion."""
        return "".join(self._of_dimensions(tuple(axes), ("S",) if self.samples else ()))

    def of_values(self, values: tuple[float, ...], dtype: np.dtype[Any]) -> tuple[float, ...]:
        """Return what values of a stored sample become; () if they have no counterpart."""
        if self.samples is None:
            return tuple(float(value) for value in self.convert(np.array(values, dtype)))
        return values if self.samples == 0 else ()

    def _of_dimensions(self, stored: tuple[Any, ...], samples: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.samples is None:
            return stored
        at = len(stored) if self.axis is None else self.axis
        return (*stored[:at], *samples, *stored[at + 1 :])


class ConvertedArray(LevelView):
    """A view that applies a conversion to what is read."""

    def __init__(self, array: LevelArray, conversion: Conversion) -> None:
        shape, chunks = conversion.of_sides(array.shape), conversion.of_sides(array.chunks)
        super().__init__(array, shape, chunks, conversion.dtype)
        self._conversion = conversion

    def _read(self, spans: Spans) -> Array:
        conversion, axis = self._conversion, self._conversion.axis
        if conversion.samples is None:
            return conversion.convert(_block(self._array, spans))
        if axis is None:
            return conversion.convert(_block(self._array, spans[:-1]))[..., slice(*spans[-1])]
        kept = spans[axis : axis + 1] if conversion.samples else []
        stored = [*spans[:axis], (0, self._array.shape[axis]), *spans[axis + len(kept) :]]
        converted = conversion.convert(np.moveaxis(_block(self._array, stored), axis, -1))
        return np.moveaxis(converted[..., slice(*kept[0])], -1, axis) if kept else converted


def select_samples(axis: int, samples: tuple[int, ...], dtype: np.dtype[Any]) -> Conversion:
    """Return the conversion that keeps some samples, without the dimension `axis` if it is a single one."""
    if len(samples) == 1:
        return Conversion(lambda block: block[..., samples[0]], dtype, axis, 0)
    return Conversion(lambda block: block[..., list(samples)], dtype, axis, len(samples))


def _block(array: LevelArray, spans: Spans) -> Array:
    return array[tuple(slice(start, stop) for start, stop in spans)]
