"""Split of a layer and its result: a layer that shows one before a line and the other one after it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from masked_denoiser.errors import FormError
from masked_denoiser.plugin.compare.split_array import SplitLine
from masked_denoiser.plugin.compare.split_levels import split_levels
from masked_denoiser.plugin.denoise.results.result_layers import ResultLayers
from masked_denoiser.plugin.denoise.task import LayerUpdate
from masked_denoiser.plugin.layers.removal import remove_layer
from masked_denoiser.plugin.layers.source import layer_axes
from masked_denoiser.plugin.layers.view_region import camera_of
from masked_denoiser.plugin.layers.world import viewer_to_data

#: Distance from the line in pixels of the screen within which it is grabbed, and half of its width.
_GRAB_PIXELS, _LINE_PIXELS = 8.0, 1.0


class Split:
    """Split of a layer and its result, whose line the mouse drags.

    Args:
        viewer: the viewer.
        results: returns the result layers of the dock.

    Attributes:
        result: the result that is shown after the line; None if there is no split.
    """

    def __init__(self, viewer: Any, results: Callable[[], ResultLayers]) -> None:
        self._viewer, self._results = viewer, results
        self.result: Any = None
        self._layer: Any = None
        self._data: Any = None
        self._arguments: Any = None  # layer, result and axes
        self._axis, self._line = 0, SplitLine(0.0, 1.0, 0.0)
        viewer.mouse_drag_callbacks.append(self._drag)
        camera_of(viewer).events.zoom.connect(self._zoomed)

    @property
    def is_intact(self) -> bool:
        """Whether the split is visible in the viewer, and its result is there and has the same axes as before."""
        layers = self._viewer.layers
        there = self._layer in layers and self._layer.visible and self.result in layers
        return there and self._horizontal(self._layer) == self._axis

    def disconnect(self) -> None:
        """Ignore the viewer from now on."""
        if self._drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._drag)
        camera_of(self._viewer).events.zoom.disconnect(self._zoomed)

    def show(self, layer: Any, result: Any, axes: str | None) -> None:
        """Show a split with the line in the middle of the canvas.

        Args:
            layer: the input.
            result: its result.
            axes: axes of the layer; None for those that it names.

        Raises:
            FormError: in a 3D view, or if the result does not lie on the pixels of the layer.
        """
        axis = self._horizontal(layer)
        if axis is None:
            raise FormError("a split is shown in two dimensions; leave the 3D view first")
        self._line = SplitLine(0.0, 1.0, _brightest(layer))
        self._axis, self._arguments = axis, (layer, result, axes or layer_axes(layer).letters)
        self._show_levels()
        self.move_to(self.centre())

    def update(self) -> None:
        """Show new pixels of the result, with the line where it is.

        Raises:
            FormError: if the result does not lie on the pixels of the layer any more.
        """
        if self.is_intact and self.result.data is not self._data:
            self._show_levels()

    def _show_levels(self) -> None:
        layer, result, axes = self._arguments
        levels, offset = split_levels(layer, result, axes, self._axis, self._line)
        self._layer = self._results().show_separately(layer, LayerUpdate("split", levels, offset))
        self.result, self._data = result, result.data

    def leave(self) -> None:
        """Remove the split."""
        layer, self._layer, self.result, self._data, self._arguments = self._layer, None, None, None, None
        if layer is not None:
            remove_layer(self._viewer, layer)

    def move_to(self, point: Any) -> None:
        """Move the line to a point of the world, and draw it as wide as the zoom requires."""
        self._line.position = self._position_of(point)
        self._line.half_width = self._length_of(_LINE_PIXELS, point)
        self._layer.refresh(extent=False, thumbnail=False, highlight=False)

    def _length_of(self, pixels: float, point: Any) -> float:
        """Return how many pixels of the layer this number of pixels of the screen is at a point of the world.

        It is measured across the line, which is not vertical if the layer is rotated.
        """
        shifts = []
        for axis in self._viewer.dims.displayed:
            shifted = np.array(point, float)
            shifted[axis] += pixels / camera_of(self._viewer).zoom
            shifts.append(self._position_of(shifted) - self._position_of(point))
        return math.hypot(*shifts)

    def _zoomed(self, _event: Any = None) -> None:
        """Draw the line as wide as before on the screen."""
        if self._layer is not None and self.is_intact:
            self._line.half_width = self._length_of(_LINE_PIXELS, self.centre())
            self._layer.refresh(extent=False, thumbnail=False, highlight=False)

    def centre(self) -> Any:
        """Return the centre of the canvas in the world."""
        point = list(self._viewer.dims.point)
        for axis, value in zip(self._viewer.dims.displayed, camera_of(self._viewer).center[-2:], strict=True):
            point[axis] = value
        return point

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        """Move the line while the mouse drags it, or drags anywhere with Shift."""
        layer = self._layer
        if layer is None or not self.is_intact:
            return
        distance = abs(self._position_of(event.position) - self._line.position)
        if distance > self._length_of(_GRAB_PIXELS, event.position) and "Shift" not in event.modifiers:
            return
        camera = camera_of(viewer)
        panning, camera.mouse_pan = camera.mouse_pan, False
        try:
            self.move_to(event.position)
            yield
            while event.type == "mouse_move" and self._layer is layer:  # a job may end the split meanwhile
                self.move_to(event.position)
                yield
        finally:
            camera.mouse_pan = panning

    def _horizontal(self, layer: Any) -> int | None:
        """Return the dimension of a layer that is horizontal on the canvas; None in a 3D view."""
        displayed = [axis - self._viewer.dims.ndim + layer.ndim for axis in self._viewer.dims.displayed]
        return displayed[-1] if len(displayed) == 2 and min(displayed) >= 0 else None

    def _position_of(self, point: Any) -> float:
        return float(viewer_to_data(self._viewer, self._layer, point)[self._axis])


def _brightest(layer: Any) -> float:
    """Return the intensity that a layer shows brightest, or more."""
    if not layer.rgb:
        return float(layer.contrast_limits[1])
    return 1.0 if np.dtype(layer.dtype).kind == "f" else math.inf
