"""What a canvas shows of an image layer."""

from __future__ import annotations

from math import ceil, floor
from typing import Any

from masked_denoiser.plugin.layers.view_region import canvas_corners, slider_position
from masked_denoiser.plugin.live.cells import View
from masked_denoiser.tiling.plan import Span


def current_view(viewer: Any, layer: Any, axes: str, levels: int, canvas: tuple[int, int]) -> View | None:
    """Return the visible part of a layer at the level that the viewer displays.

    Args:
        viewer: the viewer.
        layer: an image layer, plain or a pyramid.
        axes: axes of the layer.
        levels: number of levels that can be denoised.
        canvas: height and width of the canvas in the units in which the camera zooms.

    Returns:
        The view; None if the layer is hidden, or if the canvas shows nothing of it, other axes, or three dimensions.
    """
    displayed = [axis - viewer.dims.ndim + layer.ndim for axis in viewer.dims.displayed]
    if not layer.visible or sorted(displayed) != sorted((axes.index("Y"), axes.index("X"))):
        return None
    # Below the smallest level there is one that napari reads once: see `with_thumbnail_level`.
    level = min(int(layer.data_level), levels - 1) if layer.multiscale else 0
    shapes = layer.level_shapes if layer.multiscale else [layer.data.shape]
    corners = canvas_corners(viewer, layer, canvas)
    spans = {}
    for axis in displayed:
        side, whole = int(shapes[level][axis]), int(shapes[0][axis])
        first, last = ((end[axis] + 0.5) * side / whole for end in (corners.min(axis=0), corners.max(axis=0)))
        start, stop = max(0, floor(first)), min(side, ceil(last))
        if stop <= start:
            return None
        spans[axes[axis]] = Span(start, stop)
    position = slider_position(viewer, layer, axes, level)
    return View(level, tuple((a, position[a]) for a in axes if a in position), spans["Y"], spans["X"])
