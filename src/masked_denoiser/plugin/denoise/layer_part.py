"""Part of a layer that the dock's form selects: slices of T, Z and C, and a rectangle of their planes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from masked_denoiser.errors import FormError
from masked_denoiser.images.selection import Selection, crop, parse_selection
from masked_denoiser.images.source import Source
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.layers.shape_region import shape_rectangle
from masked_denoiser.plugin.layers.view_region import (
    Rectangle,
    choose_preview_region,
    slider_position,
    visible_part,
)
from masked_denoiser.plugin.shared.signals import layer_list_signals


@dataclass(frozen=True, eq=False)
class LayerPart:
    """Part of a layer.

    Attributes:
        slices: selected slices of the layer, as a source.
        start: first slice in the layer, by axis letter.
        rectangle: rows and columns; None for whole planes.
        description: the selection as a message; "" for the whole layer.
    """

    slices: Source
    start: Mapping[str, int]
    rectangle: Rectangle | None = None
    description: str = ""

    def region(self) -> Region | None:
        """Return the rectangle as a region of all slices, denoised to the same pixels as with the whole planes."""
        return None if self.rectangle is None else Region((), *self.rectangle, full_axes="TZC")

    def cut(self) -> tuple[Source, dict[str, int]]:
        """Return the part cropped to a separate source, and its first pixel in the layer by axis letter."""
        if self.rectangle is None:
            return self.slices, dict(self.start)
        rows, columns = self.rectangle
        selection = Selection((("Y", rows.start, rows.stop), ("X", columns.start, columns.stop)))
        return crop(self.slices, selection), {**self.start, **selection.starts}

    def preview_region(self, viewer: Any, layer: Any, tile: int) -> tuple[Region, str]:
        """Return whole tiles of the current plane around the centre of the view, and a message about them."""
        axes = self.slices.axes
        sliders = slider_position(viewer, layer, axes)
        highest = {letter: side - 1 for letter, side in self.slices.sizes.items()}
        position = {
            letter: min(max(0, index - self.start.get(letter, 0)), highest[letter]) for letter, index in sliders.items()
        }
        return choose_preview_region(self.slices, position, visible_part(viewer, layer, axes), tile, self.start)


def choose_part(viewer: Any, layer: Any, source: Source, form: Form) -> LayerPart:
    """Return the part of a layer that a form selects.

    Args:
        viewer: viewer of the layer.
        layer: an image layer.
        source: the whole layer as a source.
        form: fields of the dock.

    Raises:
        FormError: if the view or the Shapes layer gives no region of the layer.
        ImageError: if the layer does not have the slices.
    """
    selection = parse_selection(form.slices).resolved(source)
    slices, starts = crop(source, selection), selection.starts
    slices_text = f"slices: {selection}" if selection.spans else ""
    if form.region == "whole":
        return LayerPart(slices, starts, description=slices_text)
    if form.region == "view":
        visible = visible_part(viewer, layer, source.axes)
        if visible is None:
            raise FormError(
                f"the view shows no rows and columns of '{layer.name}'; move it into view, or choose another region"
            )
        rows, columns = visible
        region_text = f"region: rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop}"
        return LayerPart(slices, starts, visible, "; ".join(filter(None, (slices_text, region_text))))
    shapes = next((other for other in _shapes_layers(viewer) if other.name == form.shapes), None)
    if shapes is None:
        raise FormError(f"Shapes layer '{form.shapes}' no longer exists; choose another region")
    rectangle, region_text = shape_rectangle(shapes, layer, source.axes, source.size_yx)
    return LayerPart(slices, starts, rectangle, "; ".join(filter(None, (slices_text, region_text))))


class ShapesList:
    """List of the viewer's Shapes layers, synchronized with the viewer.

    Args:
        viewer: the napari viewer.
        show: called with the names of the layers after each change.
    """

    def __init__(self, viewer: Any, show: Callable[[list[str]], None]) -> None:
        self._viewer, self._show = viewer, show
        self._layers: list[Any] = []
        for signal in layer_list_signals(viewer):
            signal.connect(self._changed)
        self._changed()

    def disconnect(self) -> None:
        """Ignore the viewer from now on, because the window is closing."""
        for signal in layer_list_signals(self._viewer):
            signal.disconnect(self._changed)

    def _changed(self, event: Any = None) -> None:
        for layer in self._layers:
            layer.events.name.disconnect(self._show_names)
        self._layers = _shapes_layers(self._viewer)
        for layer in self._layers:
            layer.events.name.connect(self._show_names)
        self._show_names()

    def _show_names(self, event: Any = None) -> None:
        self._show([layer.name for layer in self._layers])


def _shapes_layers(viewer: Any) -> list[Any]:
    from napari.layers import Shapes

    return [layer for layer in viewer.layers if isinstance(layer, Shapes)]
