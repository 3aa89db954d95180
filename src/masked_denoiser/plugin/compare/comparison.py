"""Modes of the comparison of a layer with its result; without Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from masked_denoiser.errors import FormError
from masked_denoiser.plugin.compare.split_array import SplitLine
from masked_denoiser.plugin.compare.split_levels import split_levels
from masked_denoiser.plugin.denoise.results.result_layers import ResultLayers
from masked_denoiser.plugin.denoise.task import LayerUpdate
from masked_denoiser.plugin.layers.source import layer_axes
from masked_denoiser.plugin.layers.view_region import camera_of, grid_of

#: Ways to compare a layer with its result.
Mode = Literal["result", "original", "split", "side by side"]

MODES: tuple[Mode, ...] = ("result", "original", "split", "side by side")

#: Distance from the line in pixels of the screen within which it is grabbed, and half of its width.
_GRAB_PIXELS, _LINE_PIXELS = 8.0, 1.0


class Comparison:
    """Comparison of a layer with its results. All methods must be called from the GUI thread.

    Args:
        viewer: the viewer.
        results: returns the result layers of the dock.
    """

    def __init__(self, viewer: Any, results: Callable[[], ResultLayers]) -> None:
        self._viewer, self._results = viewer, results
        self._mode: Mode = "result"
        self._source: Any = None
        self._split: Any = None
        self._after: tuple[Any, Any] = (None, None)  # the result that is split, and its data
        self._line = SplitLine(0.0, 1.0, 0.0)
        self._axis = 0
        self._hidden: list[Any] = []  # layers that are hidden while others are side by side
        viewer.mouse_drag_callbacks.append(self._drag)

    def mode(self, layer: Any) -> Mode:
        """Return how a layer is compared with its results."""
        if self._mode in ("split", "side by side") and layer is self._source:
            return self._mode
        return "original" if self._results().shows_original(layer) else "result"

    def choose(self, layer: Any, mode: Mode, axes: str | None = None) -> None:
        """Compare a layer with its latest result in this mode.

        Args:
            layer: the input.
            mode: how to compare.
            axes: axes of the layer; None for those that it names.

        Raises:
            FormError: if there is no result, or it does not lie on the pixels of the layer.
        """
        self.leave()
        result = self._results().latest_result(layer, live=True)
        if result is None:
            raise FormError("there is no result yet; press Preview or Denoise, or switch on the live view")
        self._source = layer
        if mode == "split":
            self._show_split(layer, result, axes)
        elif mode == "side by side":
            self._show_side_by_side(layer, result)
        else:
            self._results().show_original(layer, mode == "original")
        self._mode = mode

    def leave(self) -> None:
        """Leave a split or the side-by-side view, and show the result."""
        mode, self._mode, source = self._mode, "result", self._source
        if mode == "split":
            split, self._split, self._after = self._split, None, (None, None)
            if split in self._viewer.layers:
                self._viewer.layers.remove(split)
            self._results().show_result(source)
        elif mode == "side by side":
            grid_of(self._viewer).enabled = False
            for layer in self._hidden:
                layer.visible = True
            self._set_names_visible(source, False)
            self._hidden = []
            self._results().show_result(source)

    def update(self) -> None:
        """Leave the split or the side-by-side view after its result has changed, was replaced or removed."""
        result, data = self._after
        if (
            (
                self._mode == "split"
                and not (result in self._viewer.layers and result.data is data and self._split in self._viewer.layers)
            )
            or (self._mode == "split" and not self._split.visible)
            or (self._mode == "side by side" and not self._source.visible)
        ):
            self.leave()

    def hold_original(self, layer: Any) -> Iterator[None]:
        """Show the original while a key is held, and the result when it is released."""
        if self._mode not in ("result", "original") or not self._results().has_results(layer):
            return
        before = self._results().shows_original(layer)
        self._results().show_original(layer, not before)
        yield
        self._results().show_original(layer, before)

    def disconnect(self) -> None:
        """Ignore the viewer from now on, because the window is closing."""
        if self._drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._drag)

    def _show_split(self, layer: Any, result: Any, axes: str | None) -> None:
        displayed = [axis - self._viewer.dims.ndim + layer.ndim for axis in self._viewer.dims.displayed]
        if len(displayed) != 2 or min(displayed) < 0:
            raise FormError("a split is shown in two dimensions; leave the 3D view first")
        self._axis = displayed[-1]
        value = 255.0 if layer.rgb else float(layer.contrast_limits[1])
        self._line = SplitLine(0.0, self._line_half_width(layer), value)
        levels, offset = split_levels(layer, result, axes or layer_axes(layer).letters, self._axis, self._line)
        self._split = self._results().show_separately(layer, LayerUpdate("split", levels, offset))
        self._after = result, result.data
        self._move_to(self._centre())

    def _show_side_by_side(self, layer: Any, result: Any) -> None:
        grid = grid_of(self._viewer)
        self._hidden = [other for other in self._viewer.layers if other.visible and other not in (layer, result)]
        for other in self._hidden:
            other.visible = False
        layer.visible = result.visible = True
        self._set_names_visible(layer, True)
        grid.shape, grid.stride = (1, 2), 1  # the layer that lies lower, the original, is on the left
        grid.enabled = True

    def _set_names_visible(self, source: Any, visible: bool) -> None:
        for layer in (source, self._results().latest_result(source, live=True)):
            if (overlay := getattr(layer, "name_overlay", None)) is not None:  # since napari 0.7
                overlay.visible = visible

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        """Move the line while the mouse drags it, or drags anywhere with Shift."""
        split = self._split
        if split is None or split not in viewer.layers or not split.visible:
            return
        distance = abs(self._position_of(event.position) - self._line.position)
        if distance > _GRAB_PIXELS * self._line.half_width / _LINE_PIXELS and "Shift" not in event.modifiers:
            return
        camera = camera_of(viewer)
        panning, camera.mouse_pan = camera.mouse_pan, False
        try:
            self._move_to(event.position)
            yield
            while event.type == "mouse_move":
                self._move_to(event.position)
                yield
        finally:
            camera.mouse_pan = panning

    def _move_to(self, point: Any) -> None:
        """Move the line to a point of the world, and draw it as wide as the zoom requires."""
        self._line.half_width = self._line_half_width(self._split)
        self._line.position = self._position_of(point)
        self._split.refresh(extent=False, thumbnail=False, highlight=False)

    def _position_of(self, point: Any) -> float:
        return float(self._split.world_to_data(point)[self._axis])

    def _centre(self) -> Any:
        """Return the centre of the canvas in the world."""
        point = list(self._viewer.dims.point)
        for axis, value in zip(self._viewer.dims.displayed, camera_of(self._viewer).center[-2:], strict=True):
            point[axis] = value
        return point

    def _line_half_width(self, layer: Any) -> float:
        """Return half of the width of the line in pixels of the layer."""
        return float(_LINE_PIXELS / camera_of(self._viewer).zoom / abs(layer.scale[self._axis]))
