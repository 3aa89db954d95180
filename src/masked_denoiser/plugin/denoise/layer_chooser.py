"""The dock's choice of an image layer and a model, kept in step with the viewer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from masked_denoiser.errors import ImageError
from masked_denoiser.models.catalogue import AUTO, list_models
from masked_denoiser.plugin.layers.source import layer_axes, layer_path
from masked_denoiser.plugin.shared.signals import SIGNALS


class LayerChoiceView(Protocol):
    """What the chooser needs of the window."""

    def show_layers(self, names: list[str], chosen: int) -> None:
        """Offers layers."""

    def show_models(self, names: list[str], chosen: str) -> None:
        """Offers models."""

    def show_axes(self, letters: str, hint: str) -> None:
        """Shows the axes of the chosen layer."""

    def suggest_paths(self, name: str, path: Path | None) -> None:
        """Begins the output's path anew, for a layer and its file."""


class LayerChooser:
    """Lists the image layers, and follows the viewer's active layer unless it is one of our results.

    Attributes:
        layer: the chosen layer, or None.
    """

    def __init__(self, viewer: Any, view: LayerChoiceView, skip: Callable[[Any], bool]) -> None:
        self._viewer, self._view, self._skip = viewer, view, skip
        self._listed: list[Any] = []
        self.layer: Any = None
        self._shape: tuple[int, ...] = ()
        for signal in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.reordered):
            signal.connect(self._layers_changed)
        viewer.layers.selection.events.active.connect(self._active_changed)
        SIGNALS.model_saved.connect(self._model_saved)
        view.show_models(_model_names(), AUTO)
        self._layers_changed()
        self._active_changed()

    def choose(self, number: int) -> None:
        """The user chose the layer at this place of the list."""
        self._take(self._listed[number] if 0 <= number < len(self._listed) else None)

    def _model_saved(self, name: str) -> None:
        """The Fine-tune dock made a model: what else would one want to try next?"""
        self._view.show_models(_model_names(), name)

    def _layers_changed(self, event: Any = None) -> None:
        for layer in self._listed:
            layer.events.name.disconnect(self._renamed)
            layer.events.data.disconnect(self._data_changed)
        self._listed = [layer for layer in self._viewer.layers if _is_image(layer)]
        for layer in self._listed:
            layer.events.name.connect(self._renamed)
            layer.events.data.connect(self._data_changed)
        if self.layer not in self._listed:
            # Of several, the last is the one on top.
            own = [layer for layer in self._listed if not self._skip(layer)]
            self._take(own[-1] if own else None)
        self._list()

    def _active_changed(self, event: Any = None) -> None:
        active = self._viewer.layers.selection.active
        if active is not None and _is_image(active) and not self._skip(active) and active in self._listed:
            self._take(active)
            self._list()

    def _data_changed(self, event: Any) -> None:
        """Another array in the chosen layer may have other axes."""
        layer = self.layer
        if event.source is layer and layer.data.shape != self._shape:
            self.layer = None
            self._take(layer)

    def _renamed(self, event: Any = None) -> None:
        self._list()

    def _list(self) -> None:
        chosen = self._listed.index(self.layer) if self.layer in self._listed else -1
        self._view.show_layers([layer.name for layer in self._listed], chosen)

    def _take(self, layer: Any) -> None:
        if layer is self.layer:
            return
        self.layer = layer
        if layer is None:
            self._view.show_axes("", "")
            return
        self._shape = tuple(layer.data.shape)
        try:
            axes = layer_axes(layer)
            self._view.show_axes(axes.letters, "guessed from the shape" if axes.guessed else "from the layer")
        except ImageError as error:
            self._view.show_axes("", str(error))
        self._view.suggest_paths(layer.name, layer_path(layer))


def _model_names() -> list[str]:
    """All models, and first the one that is chosen by image."""
    return [AUTO, *(entry.name for entry in list_models())]


def _is_image(layer: Any) -> bool:
    from napari.layers import Image

    return isinstance(layer, Image)
