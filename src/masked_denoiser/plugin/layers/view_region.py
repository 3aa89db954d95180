"""What of a layer is in view, as the region of a preview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from masked_denoiser.images.source import Source
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.tiling.plan import Span

#: A preview's height and width in pixels, at most; one tile where tiles are larger.
LARGEST = 512

#: A rectangle of a plane in full-resolution pixels.
Rectangle = tuple[Span, Span]


def choose_region(
    source: Source,
    position: dict[str, int],
    seen: Rectangle | None,
    tile: int,
    start: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Region, str]:
    """The whole tiles around the centre of what is seen, and a sentence that says how much that is.

    Args:
        source: the image.
        position: where the sliders stand, by axis letter.
        seen: the rectangle in view; None for the whole plane.
        tile: side of a tile.
        start: where the source begins in the layer, by axis letter; positions count from there.
    """
    whole = (Span(0, source.size_yx[0]), Span(0, source.size_yx[1]))
    rows, columns = (_around_centre(span, tile, side) for span, side in zip(seen or whole, source.size_yx, strict=True))
    kept = tuple((letter, position.get(letter, 0)) for letter in source.axes if letter not in "YXS")
    size = f"{len(rows)} x {len(columns)} pixels"
    covered = all(
        part.start <= span.start and span.stop <= part.stop
        for part, span in zip((rows, columns), seen or whole, strict=True)
    )
    said = f"preview of the {size} in view" if covered else f"preview of {size} around the centre of the view"
    return Region(kept, rows, columns), said + _place(kept, source, start)


def seen_rectangle(layer: Any, displayed: Sequence[int], axes: str) -> Rectangle | None:
    """The part of a layer's plane that the canvas shows, in full-resolution pixels.

    Args:
        layer: an image layer of a viewer.
        displayed: the viewer's displayed dimensions, counted as those of the layer.
        axes: the layer's axes.

    Returns:
        Rows and columns; None where the canvas shows other axes, nothing of the layer, or all three dimensions.
    """
    wanted = [axes.index("Y"), axes.index("X")]
    if sorted(displayed) != sorted(wanted):
        return None
    factors = layer.downsample_factors[layer.data_level] if layer.multiscale else np.ones(layer.ndim)
    shape = layer.level_shapes[0] if layer.multiscale else layer.data.shape
    spans = []
    for axis in wanted:
        first, last = (float(corner[axis]) for corner in layer.corner_pixels)
        start = max(0, int(first * factors[axis]))
        stop = min(int(shape[axis]), int(np.ceil((last + 1) * factors[axis])))
        if stop <= start or last <= first:
            return None
        spans.append(Span(start, stop))
    return spans[0], spans[1]


def slider_position(layer: Any, point: Sequence[float], axes: str) -> dict[str, int]:
    """Where a viewer's sliders stand in a layer, by axis letter.

    Args:
        layer: an image layer.
        point: the viewer's world coordinates (`viewer.dims.point`).
        axes: the layer's axes.
    """
    shape = layer.level_shapes[0] if layer.multiscale else layer.data.shape
    places = layer.world_to_data(point)
    return {
        letter: int(np.clip(round(float(place)), 0, side - 1))
        for letter, place, side in zip(axes, places, shape, strict=False)
        if letter not in "YXS"
    }


def _around_centre(span: Span, tile: int, side: int) -> Span:
    """The tiles that a span touches, as far as a preview may reach."""
    first, last = span.start // tile, -(-span.stop // tile)
    most = max(1, LARGEST // tile)
    if last - first > most:
        middle = (span.start + span.stop) / 2 / tile
        first = min(max(round(middle - most / 2), first), last - most)
        last = first + most
    return Span(first * tile, min(last * tile, side))


def _place(position: tuple[tuple[str, int], ...], source: Source, start: Mapping[str, int]) -> str:
    told = [
        f"{letter} {at + start.get(letter, 0)}"
        for letter, at in position
        if source.sizes[letter] > 1 or letter in start
    ]
    return f", at {', '.join(told)}" if told else ""
