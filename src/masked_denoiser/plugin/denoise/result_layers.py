"""Result layers of jobs in a viewer: added, refreshed while the job runs, replaced at its end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from masked_denoiser.plugin.denoise.task import LayerUpdate, Role
from masked_denoiser.plugin.layers.source import OUTPUT_KEY, layer_transform, result_state, translation_at

#: Suffix of a layer's name by its role.
_SUFFIXES: dict[Role, str] = {"result": "denoised", "std": "standard deviation", "preview": "preview"}

#: Shortest pause between two refreshes of a layer in seconds.
_MIN_PAUSE = 0.25

#: Shortest pause as a multiple of the duration of a refresh.
_PAUSE_FACTOR = 4.0


class ResultLayers:
    """Result layers of the dock. All methods must be called from the GUI thread."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._results: WeakSet[Any] = WeakSet()
        self._previews: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._output_layers: dict[tuple[Path, Role], Any] = {}
        self._current: dict[Role, Any] = {}
        self._next_refresh = 0.0
        self._source: Any = None

    def begin(self, layer: Any, output: Path | None) -> None:
        """Prepare for a job: copy the display settings of its input layer, which may be removed while the job runs."""
        self._source, self._output = layer, output
        self._state, self._name = result_state(layer), layer.name
        self._transform = layer_transform(layer)
        self._limits_range = None if layer.rgb else tuple(layer.contrast_limits_range)
        self._current = {}

    def end(self) -> None:
        """Release the input layer."""
        self._source = None

    def name(self, role: Role) -> str:
        """Return the name of the layer with this role; "" if the user has removed it."""
        layer = self._current.get(role)
        return str(layer.name) if layer is not None and layer in self._viewer.layers else ""

    def is_result(self, layer: Any) -> bool:
        """Return whether a layer is a result of this dock."""
        return layer in self._results

    def is_current(self, layer: Any) -> bool:
        """Return whether a layer is the result of the running job."""
        return any(layer is current for role, current in self._current.items() if role != "std")

    def show(self, update: LayerUpdate) -> None:
        """Add a layer, or update the one of this job or of an earlier job with the same output."""
        layer = self._current.get(update.role)
        if layer is not None and layer not in self._viewer.layers:
            return  # the user has removed it
        layer = layer if layer is not None else self._previous_layer(update.role)
        data: Any = list(update.levels) if len(update.levels) > 1 else update.levels[0]
        if layer is None or layer.multiscale != (len(update.levels) > 1) or layer.ndim != self._ndim(update):
            self._remove(layer)
            self._add(update, data)
            return
        layer.data = data
        if update.offset:
            layer.translate = self._translation(update)
        self._remember(layer, update.role)

    def refresh(self, force: bool = False) -> None:
        """Redraw the layer with the tiles written since, at most four times a second unless `force` is set."""
        now = time.monotonic()
        layer = self._current.get("preview") or self._current.get("result")
        if layer is None or layer not in self._viewer.layers or not (force or now >= self._next_refresh):
            return
        layer.refresh(extent=False)
        ended = time.monotonic()
        self._next_refresh = ended + max(_MIN_PAUSE, _PAUSE_FACTOR * (ended - now))

    def _add(self, update: LayerUpdate, data: Any) -> None:
        from napari.layers import Image

        state = self._state | {"name": f"{self._name} {_SUFFIXES[update.role]}", "multiscale": len(update.levels) > 1}
        if update.role == "std":
            state |= {"rgb": False}
        if update.offset:
            state |= {"translate": self._translation(update)}
        if update.limits is not None:
            state |= {"contrast_limits": update.limits}
        layer = Image(data, cache=False, **state)
        if update.limits is None and self._limits_range is not None:
            layer.contrast_limits_range = self._limits_range
        self._results.add(layer)
        self._remember(layer, update.role)
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(layer)
        if update.role == "preview" and active in self._viewer.layers:
            self._viewer.layers.selection.active = active  # the next preview or job is of the image

    def _remember(self, layer: Any, role: Role) -> None:
        """Remember a layer for the rest of the job, and for later jobs that replace its pixels."""
        self._current[role] = layer
        if role == "preview":
            self._previews[self._source] = layer
        elif self._output is not None:
            self._output_layers[self._output, role] = layer
            layer.metadata[OUTPUT_KEY] = str(self._output)

    def _previous_layer(self, role: Role) -> Any:
        """Return the layer of an earlier job that this job replaces, or None."""
        if role == "preview":
            layer = self._previews.get(self._source)
        else:
            layer = self._output_layers.get((self._output, role)) if self._output is not None else None
        return layer if layer in self._viewer.layers else None

    def _ndim(self, update: LayerUpdate) -> int:
        """Return the number of dimensions of the layer that will show an update."""
        colour_axes = 1 if self._state["rgb"] and update.role != "std" else 0
        return len(update.levels[0].shape) - colour_axes

    def _translation(self, update: LayerUpdate) -> tuple[float, ...]:
        return translation_at(self._transform, update.offset)

    def _remove(self, layer: Any) -> None:
        if layer is not None:
            self._viewer.layers.remove(layer)
