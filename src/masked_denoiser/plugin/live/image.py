"""Levels of a layer as a live view denoises and displays them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import LazyArray, Source
from masked_denoiser.plugin.layers.lazy_pyramid import halved_levels, with_thumbnail_level
from masked_denoiser.plugin.layers.live_result import LiveBackground
from masked_denoiser.plugin.layers.source import layer_source
from masked_denoiser.plugin.live.cell_cache import CellCache, LiveLevel
from masked_denoiser.plugin.live.engine import LiveImage


def live_image(layer: Any, axes: str | None, cache: CellCache) -> LiveImage:
    """Return the levels of a layer, which are its own if it has several, or else means of its pixels.

    Args:
        layer: an image layer.
        axes: axes of the layer; None for those that it names.
        cache: receives the denoised cells.

    Raises:
        ImageError: if the axes do not fit the shape, or the dtype is not supported.
    """
    source = layer_source(layer, axes)
    if layer.multiscale:
        stored = [open_image(level, axes=source.axes).data for level in layer.data]
        arrays = [*stored, *halved_levels(stored[-1], source.axes)[1:]]  # as far as a canvas may show it
        shown = list(arrays)
    else:
        arrays = list(halved_levels(source.data, source.axes))
        background = LiveBackground(source)
        shown = [background.level(tuple(level.shape), source.axes) for level in arrays]
    levels = [LiveLevel(number, level, source.axes, cache) for number, level in enumerate(shown)]
    sources = [_at_level(source, array) for array in arrays]
    return LiveImage(sources, levels, averaged=not layer.multiscale, cache=cache)


def layer_levels(image: LiveImage) -> tuple[LazyArray, ...]:
    """Return the levels for a layer."""
    return with_thumbnail_level(image.levels, image.sources[0].axes)


def _at_level(source: Source, array: LazyArray) -> Source:
    return replace(source, data=array, levels=(array,))
