"""A rectangle of a Shapes layer as pixels of an image layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from masked_denoiser.errors import FormError
from masked_denoiser.plugin.layers.view_region import Rectangle
from masked_denoiser.tiling.plan import Span

#: Corners that lie closer than this, in pixels, are the same.
_NEAR = 1e-3


def shape_rectangle(shapes: Any, layer: Any, axes: str, size: tuple[int, int]) -> tuple[Rectangle, str]:
    """The pixels of a layer that a shape covers: of a selected one, else of the last.

    A rectangle from 10 to 20 covers pixels 10 to 19, wherever its sides were rounded to.

    Args:
        shapes: a Shapes layer of the same viewer; the transforms of both layers count.
        layer: an image layer.
        axes: the image layer's axes.
        size: its height and width.

    Returns:
        Rows and columns within the image, and a sentence that says what was taken.

    Raises:
        FormError: if there is no shape, or none of the layer's pixels lies in it.
    """
    if not len(shapes.data):
        raise FormError(f"shapes layer '{shapes.name}' is empty; draw a rectangle in it")
    number = max(shapes.selected_data, default=len(shapes.data) - 1)
    corners = _corners(shapes, number, layer, axes)
    low, high = corners.min(axis=0), corners.max(axis=0)
    spans = [Span(int(np.floor(a + 0.5)), int(np.floor(b + 0.5))) for a, b in zip(low, high, strict=True)]
    inside = [Span(max(0, s.start), min(side, s.stop)) for s, side in zip(spans, size, strict=True)]
    where = " and ".join(f"{n} {s.start} to {s.stop}" for n, s in zip(("rows", "columns"), spans, strict=True))
    if not all(span.start < span.stop for span in inside):
        raise FormError(
            f"the shape in '{shapes.name}' covers {where} of '{layer.name}', which has {size[0]} x {size[1]} pixels; "
            "draw one over the image, with rows and columns in view"
        )
    straight = shapes.shape_type[number] != "ellipse" and _is_straight(corners, low, high)
    return (inside[0], inside[1]), _told(inside, clipped=inside != spans, straight=straight)


def _corners(shapes: Any, number: int, layer: Any, axes: str) -> np.ndarray[Any, Any]:
    """The corners of a shape in the layer's pixels, [corners, 2], along Y and X."""
    wanted = [axes.index("Y"), axes.index("X")]
    factors = _factors(shapes.units, layer.units)
    world = (np.asarray(shapes.data_to_world(point), dtype=float) for point in shapes.data[number])
    return np.asarray([layer.world_to_data(point * factors)[wanted] for point in world], dtype=float)


def _factors(units: Sequence[Any], wanted: Sequence[Any]) -> np.ndarray[Any, Any]:
    """What the world's coordinates in some units are multiplied with; napari takes pixels and lengths as they are."""
    pairs = list(zip(reversed(units), reversed(wanted), strict=False))
    if not all(unit.is_compatible_with(other) for unit, other in pairs):
        return np.ones(len(units))
    factors = [float((1.0 * unit).to(other).magnitude) for unit, other in pairs]
    return np.asarray([*[1.0] * (len(units) - len(factors)), *reversed(factors)])


def _is_straight(corners: np.ndarray[Any, Any], low: Any, high: Any) -> bool:
    """Whether the shape is the box around it."""
    at_ends = np.minimum(np.abs(corners - low), np.abs(corners - high)) < _NEAR
    places = {tuple(row) for row in np.round((corners - low) / np.maximum(high - low, _NEAR)).astype(int)}
    return len(corners) == 4 and bool(at_ends.all()) and len(places) == 4


def _told(inside: list[Span], *, clipped: bool, straight: bool) -> str:
    rows, columns = inside
    text = f"region: rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop}"
    what = [] if straight else ["the box around the shape"]
    what += ["cut at the image's border"] if clipped else []
    return f"{text} ({', '.join(what)})" if what else text
