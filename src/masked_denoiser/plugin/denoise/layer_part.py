"""What of a layer the dock's fields ask for: slices of T, Z and C, and a rectangle of their planes."""

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
from masked_denoiser.plugin.layers.view_region import Rectangle, choose_region, seen_rectangle, slider_position


@dataclass(frozen=True, eq=False)
class LayerPart:
    """A part of a layer.

    Attributes:
        slices: those of the layer, as a source.
        start: axis letter to where they begin in the layer.
        rectangle: rows and columns; None for whole planes.
        description: what was chosen for the user; may be empty.
    """

    slices: Source
    start: Mapping[str, int]
    rectangle: Rectangle | None = None
    description: str = ""

    def region(self) -> Region | None:
        """The rectangle as a region of all slices, with the pixels that the whole job would give it."""
        return None if self.rectangle is None else Region((), *self.rectangle, whole="TZC")

    def cut(self) -> tuple[Source, dict[str, int]]:
        """The part as an image of its own, and where it begins in the layer."""
        if self.rectangle is None:
            return self.slices, dict(self.start)
        rows, columns = self.rectangle
        selection = Selection((("Y", rows.start, rows.stop), ("X", columns.start, columns.stop)))
        return crop(self.slices, selection), {**self.start, **selection.starts}

    def in_view(self, viewer: Any, layer: Any, tile: int) -> tuple[Region, str]:
        """Whole tiles of one plane around the centre of what is seen, and a sentence about them."""
        axes = self.slices.axes
        at = slider_position(layer, viewer.dims.point, axes)
        last = {letter: side - 1 for letter, side in self.slices.sizes.items()}
        position = {
            letter: min(max(0, place - self.start.get(letter, 0)), last[letter]) for letter, place in at.items()
        }
        return choose_region(self.slices, position, _seen(viewer, layer, axes), tile, self.start)


def choose_part(viewer: Any, layer: Any, source: Source, form: Form) -> LayerPart:
    """What a form asks for of a layer.

    Args:
        viewer: the viewer that the layer is in.
        layer: an image layer.
        source: all of it.
        form: the fields of the dock.

    Raises:
        FormError: if there is no such region.
        ImageError: if the layer has no such slices.
    """
    selection = parse_selection(form.slices)
    slices, starts = crop(source, selection), selection.starts
    chosen = f"slices: {selection}" if selection.spans else ""
    if form.region == "whole":
        return LayerPart(slices, starts, description=chosen)
    if form.region == "view":
        seen = _seen(viewer, layer, source.axes)
        if seen is None:
            raise FormError(
                f"the view shows no rows and columns of '{layer.name}'; show them, or choose another region"
            )
        said = f"region: rows {seen[0].start} to {seen[0].stop}, columns {seen[1].start} to {seen[1].stop}"
        return LayerPart(slices, starts, seen, "; ".join(filter(None, (chosen, said))))
    shapes = next((other for other in _shapes_layers(viewer) if other.name == form.shapes), None)
    if shapes is None:
        raise FormError(f"there is no shapes layer '{form.shapes}' any more; choose another region")
    rectangle, said = shape_rectangle(shapes, layer, source.axes, source.size_yx)
    return LayerPart(slices, starts, rectangle, "; ".join(filter(None, (chosen, said))))


class ShapesList:
    """Keeps a list of the viewer's Shapes layers in step with it."""

    def __init__(self, viewer: Any, show: Callable[[list[str]], None]) -> None:
        self._viewer, self._show = viewer, show
        self._listed: list[Any] = []
        for signal in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.reordered):
            signal.connect(self._changed)
        self._changed()

    def _changed(self, event: Any = None) -> None:
        for layer in self._listed:
            layer.events.name.disconnect(self._renamed)
        self._listed = _shapes_layers(self._viewer)
        for layer in self._listed:
            layer.events.name.connect(self._renamed)
        self._renamed()

    def _renamed(self, event: Any = None) -> None:
        self._show([layer.name for layer in self._listed])


def _seen(viewer: Any, layer: Any, axes: str) -> Rectangle | None:
    dims = viewer.dims
    return seen_rectangle(layer, [axis - dims.ndim + layer.ndim for axis in dims.displayed], axes)


def _shapes_layers(viewer: Any) -> list[Any]:
    from napari.layers import Shapes

    return [layer for layer in viewer.layers if isinstance(layer, Shapes)]
