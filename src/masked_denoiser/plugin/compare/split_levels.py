"""Levels of a split of a layer and its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from masked_denoiser.images.source import LazyArray, Source
from masked_denoiser.plugin.compare.split_array import SplitArray, SplitLine
from masked_denoiser.plugin.layers.difference import matching_parts
from masked_denoiser.plugin.layers.lazy_pyramid import halved_shapes, with_thumbnail_level
from masked_denoiser.plugin.layers.live_result import LiveBackground


def split_levels(
    layer: Any, result: Any, axes: str | None, horizontal: int, line: SplitLine
) -> tuple[tuple[LazyArray, ...], tuple[float, ...]]:
    """Return the levels of a split for a layer, and their first pixel in the input.

    Args:
        layer: the input, which is shown before the line.
        result: its result, a preview or a live view, which is shown after the line.
        axes: axes of the layer; None for those that it names.
        horizontal: dimension of both along which the line moves.
        line: the line.

    Raises:
        FormError: if the result does not lie on pixels of the layer.
    """
    before, after, offset = matching_parts(layer, result, axes)
    whole = tuple(int(side) for side in after.shape)
    afters = list(result.data) if result.multiscale else _reduced(after, halved_shapes(whole, after.axes))
    inputs = tuple(layer.data) if layer.multiscale and before.shape == tuple(layer.data[0].shape) else ()
    befores = _reduced(before, [tuple(int(side) for side in level.shape) for level in afters], inputs)
    pairs = zip(befores, afters, strict=True)
    levels = [SplitArray(b, a, horizontal, whole[horizontal] / int(a.shape[horizontal]), line) for b, a in pairs]
    return with_thumbnail_level(levels, after.axes), offset


def _reduced(source: Source, shapes: Sequence[tuple[int, ...]], levels: tuple[LazyArray, ...] = ()) -> list[LazyArray]:
    """Return an image in several sizes, by nearest neighbour."""
    background = LiveBackground(source, levels)
    return [background.level(shape, source.axes) for shape in shapes]
