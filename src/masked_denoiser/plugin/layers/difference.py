"""What was removed from a layer: a lazy difference, and the part of the layer under one of its results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.errors import FormError
from masked_denoiser.images.indexing import full_index
from masked_denoiser.images.lazy_arrays import ArrayView
from masked_denoiser.images.selection import Selection, crop
from masked_denoiser.images.source import LazyArray, Source
from masked_denoiser.plugin.layers.source import full_resolution, layer_source

#: Largest distance, in pixels, of the corners of a result from whole pixels of its input.
_TOLERANCE = 1e-3


class DifferenceArray(ArrayView):
    """Lazy difference of two arrays of equal shape in float32, or its mean over colours in the last dimension."""

    def __init__(self, before: LazyArray, after: LazyArray, mean_colour: bool = False) -> None:
        self._before, self._after, self._mean = before, after, mean_colour
        shape = tuple(int(side) for side in after.shape)
        self.shape, self.dtype = shape[:-1] if mean_colour else shape, np.dtype(np.float32)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        """Return the difference at integers and slices."""
        keys = (*full_index(key, self.ndim), *([slice(None)] if self._mean else []))
        before, after = (np.asarray(array[keys]).astype(np.float64) for array in (self._before, self._after))
        removed = (before - after)[..., :3].mean(axis=-1) if self._mean else before - after
        return np.asarray(removed, np.float32)


def matching_parts(layer: Any, result: Any, axes: str | None) -> tuple[Source, Source, tuple[float, ...]]:
    """Return the part of a layer that a result was computed from, the result, and the first pixel of both in the layer.

    Args:
        layer: the input.
        result: its result: all of it, a region or a preview.
        axes: axes of the layer; None for those that it names.

    Raises:
        FormError: if the result does not lie on pixels of the layer.
    """
    source = layer_source(layer, axes)
    after = replace(layer_source(result, source.axes), rgb=source.rgb)
    sides = np.array(_sides(result))
    ends = (layer.world_to_data(result.data_to_world(pixel)) for pixel in (0 * sides, sides - 1))
    first, last = (np.asarray(end, float) for end in ends)
    start = np.round(first)
    aligned = np.allclose(first, start, atol=_TOLERANCE) and np.allclose(last - first + 1, sides, atol=_TOLERANCE)
    inside = (start >= 0).all() and (start + sides <= _sides(layer)).all()
    if not (aligned and inside):
        raise FormError(f"layer '{result.name}' does not lie on the pixels of '{layer.name}'; denoise it again")
    spans = zip(source.axes, start.astype(int).tolist(), sides, strict=False)
    selection = Selection(tuple((letter, at, at + int(side)) for letter, at, side in spans if letter != "S"))
    return crop(source, selection), after, tuple(map(float, start))


def _sides(layer: Any) -> tuple[int, ...]:
    """Return the sides of a layer, without colours."""
    return tuple(int(side) for side in full_resolution(layer).shape)[: layer.ndim]
