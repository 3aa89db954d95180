"""Lists of image layers and models in the Denoise dock, synchronized with the viewer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from masked_denoiser.errors import ImageError
from masked_denoiser.models.catalogue import AUTO, list_models
from masked_denoiser.plugin.layers.source import layer_axes, layer_notes, layer_path
from masked_denoiser.plugin.shared.signals import SIGNALS, layer_list_signals


class LayerChoiceView(Protocol):
    """Interface of the dock, as the chooser uses it."""

    def show_layers(self, names: list[str], chosen: int) -> None:
        """Set the list of image layers."""

    def show_models(self, names: list[str], chosen: str) -> None:
        """Set the list of models; a `chosen` of "" keeps the choice."""

    def show_axes(self, letters: str, hint: str) -> None:
        """Show the axes of the chosen layer, and a hint where they come from."""

    def part(self) -> tuple[str, str]:
        """Return the axes and the slices of the chosen layer as they were typed."""

    def show_part(self, axes: str, slices: str, guessed: bool) -> None:
        """Fill in axes and slices if the chosen layer has the same axes, or as many that are only guessed."""

    def suggest_paths(self, name: str, path: Path | None) -> None:
        """Suggest output paths for a layer of this name and file."""

    def rename_paths(self, name: str) -> None:
        """Suggest output paths for the new name of the layer; a path that was typed is kept."""

    def show_notes(self, notes: list[str]) -> None:
        """Show what is to be known about the chosen layer; hide the field if there is nothing."""

    def show_selected(self, count: int) -> None:
        """Offer to denoise this number of selected layers, if there are several."""

    def show_banner(self, text: str) -> None:
        """Show why nothing was denoised, with a button to do it anyway; hide the banner if the text is empty."""


class LayerChooser:
    """List of image layers that follows the viewer's active layer, unless that is a result of the dock.

    Args:
        viewer: the napari viewer.
        view: the dock.
        is_result: returns whether a layer is a result of the dock.
        is_view: returns whether a layer is a live view or a split, which cannot be chosen.

    Attributes:
        layer: the chosen layer, or None.
        on_change: called after another layer was chosen.
    """

    def __init__(
        self,
        viewer: Any,
        view: LayerChoiceView,
        is_result: Callable[[Any], bool],
        is_view: Callable[[Any], bool],
    ) -> None:
        self._viewer, self._view, self._is_result, self._is_view = viewer, view, is_result, is_view
        self.on_change: Callable[[], None] = lambda: None
        self._layers: list[Any] = []
        self.layer: Any = None
        self._shape: tuple[int, ...] = ()
        self._parts: WeakKeyDictionary[Any, tuple[str, str]] = WeakKeyDictionary()  # typed for other layers
        self._untyped = ("", "")  # axes and slices of the chosen layer before anything is typed
        for signal in layer_list_signals(viewer):
            signal.connect(self._layers_changed)
        viewer.layers.selection.events.active.connect(self._active_changed)
        viewer.layers.selection.events.changed.connect(self._selection_changed)
        SIGNALS.model_saved.connect(self._model_saved)
        view.show_models(_model_names(), AUTO)
        self._layers_changed()
        self._active_changed()

    def disconnect(self) -> None:
        """Ignore the viewer and saved models from now on, because the window is closing."""
        for signal in layer_list_signals(self._viewer):
            signal.disconnect(self._layers_changed)
        self._viewer.layers.selection.events.active.disconnect(self._active_changed)
        self._viewer.layers.selection.events.changed.disconnect(self._selection_changed)
        SIGNALS.model_saved.disconnect(self._model_saved, missing_ok=True)

    def choose(self, number: int) -> None:
        """Choose the layer at this index of the list."""
        self._set_layer(self._layers[number] if 0 <= number < len(self._layers) else None)

    def choose_layer(self, layer: Any) -> None:
        """Choose a layer of the list."""
        self._set_layer(layer)
        self._show_layers()

    def selected(self) -> list[Any]:
        """Return the selected image layers that are no results, from bottom to top, or else the chosen layer alone."""
        selection = self._viewer.layers.selection
        layers = [layer for layer in self._layers if layer in selection and not self._is_result(layer)]
        return layers if len(layers) > 1 else [self.layer] if self.layer is not None else []

    def _model_saved(self, name: str, viewer: Any) -> None:
        """List a model that a Fine-tune dock has saved; select it if that dock is in this viewer."""
        self._view.show_models(_model_names(), name if viewer is self._viewer else "")

    def _layers_changed(self, event: Any = None) -> None:
        for layer in self._layers:
            layer.events.name.disconnect(self._renamed)
            layer.events.data.disconnect(self._data_changed)
            layer.events.axis_labels.disconnect(self._labels_changed)
        self._layers = [layer for layer in self._viewer.layers if _is_image(layer) and not self._is_view(layer)]
        for layer in self._layers:
            layer.events.name.connect(self._renamed)
            layer.events.data.connect(self._data_changed)
            layer.events.axis_labels.connect(self._labels_changed)
        if self.layer not in self._layers:
            # The last layer is on top of the others.
            candidates = [layer for layer in self._layers if not self._is_result(layer)]
            self._set_layer(candidates[-1] if candidates else None)
        self._show_layers()

    def _active_changed(self, event: Any = None) -> None:
        active = self._viewer.layers.selection.active
        if active is not None and _is_image(active) and not self._is_result(active) and active in self._layers:
            self._set_layer(active)
            self._show_layers()

    def _selection_changed(self, event: Any = None) -> None:
        self._view.show_selected(len(self.selected()))

    def _data_changed(self, event: Any) -> None:
        """Read the axes again after the chosen layer got an array of another shape."""
        self._forget_part(event.source)
        layer = self.layer
        if event.source is layer and layer.data.shape != self._shape:
            self.layer = None
            self._set_layer(layer)

    def _labels_changed(self, event: Any) -> None:
        """Read the axes again after the chosen layer got other names of axes."""
        self._forget_part(event.source)
        if event.source is self.layer:
            self._show_axes(event.source)

    def _forget_part(self, layer: Any) -> None:
        """Forget axes and slices that were typed for what a layer was."""
        if layer in self._parts:
            del self._parts[layer]

    def _renamed(self, event: Any) -> None:
        if event.source is self.layer:
            self._view.rename_paths(self.layer.name)
        self._show_layers()

    def _show_layers(self) -> None:
        chosen = self._layers.index(self.layer) if self.layer in self._layers else -1
        self._view.show_layers([layer.name for layer in self._layers], chosen)
        self._selection_changed()

    def _set_layer(self, layer: Any) -> None:
        if layer is self.layer:
            return
        if self.layer is not None and (part := self._view.part()) != self._untyped:
            self._parts[self.layer] = part
        self.layer = layer
        self._view.show_banner("")  # it was about another layer
        if layer is None:
            self._view.show_axes("", "")
            self._view.show_notes([])
            self.on_change()
            return
        self._shape = tuple(layer.data.shape)
        self._view.show_notes(layer_notes(layer))
        self._show_axes(layer)
        if layer in self._parts:
            self._view.show_part(*self._parts.pop(layer), guessed=True)
        self._view.suggest_paths(layer.name, layer_path(layer))
        self.on_change()

    def _show_axes(self, layer: Any) -> None:
        try:
            axes = layer_axes(layer)
            self._view.show_axes(axes.letters, "guessed from the shape" if axes.guessed else "from the layer")
        except ImageError as error:
            self._view.show_axes("", str(error))
        self._untyped = self._view.part()


def _model_names() -> list[str]:
    """Return "auto", which chooses a model for each image, and the names of all models."""
    return [AUTO, *(entry.name for entry in list_models())]


def _is_image(layer: Any) -> bool:
    from napari.layers import Image

    return isinstance(layer, Image)
