"""Rectangle of a Shapes layer in the pixels of an image layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from masked_denoiser.errors import FormError
from masked_denoiser.plugin.layers.view_region import Rectangle
from masked_denoiser.plugin.layers.world import world_to_data
from masked_denoiser.tiling.plan import Span

#: Distance in pixels below which corners are equal.
_CORNER_TOLERANCE = 1e-3


def shape_rectangle(shapes: Any, layer: Any, axes: str, size: tuple[int, int]) -> tuple[Rectangle, str]:
    """Return the pixels of a layer that the selected shape covers, or the last shape if none is selected.

    A rectangle from 10 to 20 covers pixels 10 to 19; its sides are rounded to whole pixels.

    Args:
        shapes: a Shapes layer of the same viewer; the transforms of both layers are applied.
        layer: an image layer.
        axes: axes of the image layer.
        size: height and width of the image layer.

    Returns:
        Rows and columns within the image, and a message about them.

    Raises:
        FormError: if there is no shape, or it covers no pixel of the layer.
    """
    if not len(shapes.data):
        raise FormError(f"Shapes layer '{shapes.name}' is empty; draw a rectangle in it")
    number = max(shapes.selected_data, default=len(shapes.data) - 1)
    corners = _corners(shapes, number, layer, axes)
    low, high = corners.min(axis=0), corners.max(axis=0)
    spans = [Span(int(np.floor(a + 0.5)), int(np.floor(b + 0.5))) for a, b in zip(low, high, strict=True)]
    inside = [Span(max(0, s.start), min(side, s.stop)) for s, side in zip(spans, size, strict=True)]
    covered = " and ".join(f"{n} {s.start} to {s.stop}" for n, s in zip(("rows", "columns"), spans, strict=True))
    if not all(span.start < span.stop for span in inside):
        raise FormError(
            f"the shape in '{shapes.name}' covers {covered} of '{layer.name}', which has {size[0]} x {size[1]} pixels; "
            "draw a shape over the image while the viewer shows its rows and columns"
        )
    is_box = shapes.shape_type[number] != "ellipse" and _is_box(corners, low, high)
    return (inside[0], inside[1]), _describe(inside, clipped=inside != spans, is_box=is_box)


def _corners(shapes: Any, number: int, layer: Any, axes: str) -> np.ndarray[Any, Any]:
    """Return the corners of a shape in the layer's pixels, [corners, 2], along Y and X."""
    yx = [axes.index("Y"), axes.index("X")]
    world = (shapes.data_to_world(point) for point in shapes.data[number])
    return np.asarray([world_to_data(layer, point, shapes.units)[yx] for point in world])


def _is_box(corners: np.ndarray[Any, Any], low: Any, high: Any) -> bool:
    """Return whether the shape equals its bounding box."""
    at_limits = np.minimum(np.abs(corners - low), np.abs(corners - high)) < _CORNER_TOLERANCE
    relative = np.round((corners - low) / np.maximum(high - low, _CORNER_TOLERANCE)).astype(int)
    return len(corners) == 4 and bool(at_limits.all()) and len({tuple(row) for row in relative}) == 4


def _describe(inside: list[Span], *, clipped: bool, is_box: bool) -> str:
    rows, columns = inside
    text = f"region: rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop}"
    remarks = [] if is_box else ["bounding box of the shape"]
    remarks += ["clipped to the image"] if clipped else []
    return f"{text} ({', '.join(remarks)})" if remarks else text
