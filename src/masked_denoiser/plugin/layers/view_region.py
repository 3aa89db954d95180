"""Visible part of a layer, as the region of a preview."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import ceil, floor
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.images.source import Source
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.plugin.layers.world import viewer_to_data
from masked_denoiser.tiling.plan import Span

#: Maximum height and width of a preview in pixels; a larger tile is previewed whole.
MAX_PREVIEW_SIDE = 512

#: Rows and columns of a plane in full-resolution pixels.
Rectangle = tuple[Span, Span]


def choose_preview_region(
    source: Source,
    position: dict[str, int],
    visible: Rectangle | None,
    tile: int,
    start: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Region, str]:
    """Return the whole tiles around the centre of the view, and a message about them.

    Args:
        source: the image.
        position: positions of the sliders in the source, by axis letter.
        visible: the visible rectangle; None for the whole plane.
        tile: side of a tile in pixels.
        start: first pixel of the source in the layer, by axis letter.
    """
    view = visible or (Span(0, source.size_yx[0]), Span(0, source.size_yx[1]))
    rows, columns = (_central_tiles(span, tile, side) for span, side in zip(view, source.size_yx, strict=True))
    slices = tuple((letter, position.get(letter, 0)) for letter in source.axes if letter not in "YXS")
    size = f"{len(rows)} x {len(columns)} pixels"
    pairs = zip((rows, columns), view, strict=True)
    covered = all(part.start <= span.start and span.stop <= part.stop for part, span in pairs)
    where = "image" if visible is None else "view"
    message = f"preview of {size} around the centre of the {where}"
    if covered:
        message = f"preview of all {size}" if visible is None else f"preview of the {size} in view"
    return Region(slices, rows, columns), message + _describe_position(slices, source, start)


def grid_shape(viewer: Any) -> tuple[int, int]:
    """Return the number of rows and columns of a viewer's grid; 1 and 1 if it is off."""
    # Before napari 0.9, hidden layers have a place in the grid, too.
    rows, columns = grid_of(viewer).actual_shape(viewer.layers if hasattr(viewer, "canvas") else len(viewer.layers))
    return int(rows), int(columns)


def visible_part(viewer: Any, layer: Any, axes: str) -> Rectangle | None:
    """Return the part of a layer's plane that the canvas shows, in full-resolution pixels.

    It follows the camera, as what napari has loaded of a pyramid may be more, or from an earlier view.

    Args:
        viewer: the viewer.
        layer: one of its image layers.
        axes: axes of the layer.

    Returns:
        Rows and columns; None if the canvas shows other axes, three dimensions, or nothing of the layer.
    """
    yx = [axes.index("Y"), axes.index("X")]
    if sorted(axis - viewer.dims.ndim + layer.ndim for axis in viewer.dims.displayed) != sorted(yx):
        return None
    shape = layer.level_shapes[0] if layer.multiscale else layer.data.shape
    corners = canvas_corners(viewer, layer, canvas_size(viewer))
    spans = []
    for axis in yx:
        first, last = corners[:, axis].min() + 0.5, corners[:, axis].max() + 0.5  # the centre of pixel 0 is at 0
        span = Span(max(0, floor(first)), min(int(shape[axis]), ceil(last)))
        if span.stop <= span.start:
            return None
        spans.append(span)
    return spans[0], spans[1]


def canvas_corners(viewer: Any, layer: Any, canvas: tuple[int, int]) -> NDArray[np.float64]:
    """Return the corners of the canvas in pixels of a layer at full resolution, [4, dimensions].

    Args:
        viewer: the viewer, of which a grid divides the canvas.
        layer: one of its layers.
        canvas: height and width of the canvas in the units in which the camera zooms.
    """
    camera = camera_of(viewer)
    centre, zoom = np.asarray(camera.center[-2:], float), float(camera.zoom)
    part = np.asarray(canvas) // np.asarray(grid_shape(viewer))
    corners = []
    for signs in product((-0.5, 0.5), repeat=2):
        point = np.array(viewer.dims.point, float)
        point[list(viewer.dims.displayed)] = centre + np.array(signs) * part / zoom
        corners.append(viewer_to_data(viewer, layer, point))
    return np.array(corners)


def slider_position(viewer: Any, layer: Any, axes: str, level: int = 0) -> dict[str, int]:
    """Return the positions of a viewer's sliders in a level of a layer, by axis letter, rounded as napari does.

    Args:
        viewer: the viewer.
        layer: one of its image layers.
        axes: axes of the layer.
        level: number of the level of a pyramid.
    """
    shape = layer.level_shapes[level] if layer.multiscale else layer.data.shape
    factors = layer.downsample_factors[level] if layer.multiscale else np.ones(layer.ndim)
    point_in_layer = viewer_to_data(viewer, layer, viewer.dims.point)
    return {
        letter: round(float(np.clip(coordinate / factor, 0, side - 1)))
        for letter, coordinate, factor, side in zip(axes, point_in_layer, factors, shape, strict=False)
        if letter not in "YXS"
    }


def camera_of(viewer: Any) -> Any:
    """Return the camera of a viewer; napari 0.9 has moved it to the scene."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def canvas_size(viewer: Any) -> tuple[int, int]:
    """Return height and width of the canvas of a viewer; before napari 0.9 it is private."""
    height, width = viewer.canvas.size if hasattr(viewer, "canvas") else viewer._canvas_size
    return int(height), int(width)


def grid_of(viewer: Any) -> Any:
    """Return the grid of a viewer; napari 0.9 has moved it to the canvas."""
    return viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid


def _central_tiles(span: Span, tile: int, side: int) -> Span:
    """Return the span of the tiles that a span overlaps, at most `MAX_PREVIEW_SIDE` around its centre."""
    first, last = span.start // tile, -(-span.stop // tile)
    limit = max(1, MAX_PREVIEW_SIDE // tile)
    if last - first > limit:
        middle = (span.start + span.stop) / 2 / tile
        first = min(max(round(middle - limit / 2), first), last - limit)
        last = first + limit
    return Span(first * tile, min(last * tile, side))


def _describe_position(position: tuple[tuple[str, int], ...], source: Source, start: Mapping[str, int]) -> str:
    coordinates = [
        f"{letter} {index + start.get(letter, 0)}"
        for letter, index in position
        if source.sizes[letter] > 1 or letter in start
    ]
    return f", at {', '.join(coordinates)}" if coordinates else ""
