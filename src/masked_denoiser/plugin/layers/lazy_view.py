"""Levels of a source as lazy arrays with the axes of a layer."""

from __future__ import annotations

import weakref

from masked_denoiser.images.lazy_arrays import reorder_axes
from masked_denoiser.images.source import LazyArray, Source


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
