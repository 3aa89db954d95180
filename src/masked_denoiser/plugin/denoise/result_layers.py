"""The layers that a job makes in a viewer: added, refreshed while they grow, replaced at the end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from masked_denoiser.plugin.denoise.task import Role, Shown
from masked_denoiser.plugin.layers.source import WRITTEN, moved, own_transform, result_state

_NAMES: dict[Role, str] = {"result": "denoised", "std": "standard deviation", "preview": "preview"}

#: Seconds between two refreshes of a growing layer, and how many times longer than a refresh takes.
_PAUSE, _SHARE = 0.25, 4.0


class ResultLayers:
    """Shows what the worker makes. Only for the thread of the window."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._made: WeakSet[Any] = WeakSet()
        self._previews: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._of_output: dict[tuple[Path, Role], Any] = {}
        self._now: dict[Role, Any] = {}
        self._next_refresh = 0.0
        self._source: Any = None

    def begin(self, layer: Any, output: Path | None) -> None:
        """Remembers what the layers of a job should look like: its input may go while it runs."""
        self._source, self._output = layer, output
        self._state, self._name = result_state(layer), layer.name
        self._transform = own_transform(layer)
        self._limits_range = None if layer.rgb else tuple(layer.contrast_limits_range)
        self._now = {}

    def end(self) -> None:
        """Lets go of the input."""
        self._source = None

    def name(self, role: Role) -> str:
        """What the layer of this role is called; empty if the user has removed it."""
        layer = self._now.get(role)
        return str(layer.name) if layer is not None and layer in self._viewer.layers else ""

    def made(self, layer: Any) -> bool:
        """Whether a layer is a result of this dock."""
        return layer in self._made

    def shows(self, layer: Any) -> bool:
        """Whether a layer is the growing result of the job in work."""
        return any(layer is own for role, own in self._now.items() if role != "std")

    def show(self, shown: Shown) -> None:
        """Adds a layer, or gives the one that is there, now or from an earlier job, these pixels."""
        layer = self._now.get(shown.role)
        if layer is not None and layer not in self._viewer.layers:
            return  # the user has removed it
        layer = layer if layer is not None else self._earlier(shown.role)
        data: Any = list(shown.levels) if len(shown.levels) > 1 else shown.levels[0]
        if layer is None or layer.multiscale != (len(shown.levels) > 1) or layer.ndim != self._ndim(shown):
            self._remove(layer)
            self._add(shown, data)
            return
        layer.data = data
        if shown.offset:
            layer.translate = self._place(shown)
        self._keep(layer, shown.role)

    def refresh(self, force: bool = False) -> None:
        """Shows what has been written since, a few times a second."""
        now = time.monotonic()
        layer = self._now.get("preview") or self._now.get("result")
        if layer is None or layer not in self._viewer.layers or not (force or now >= self._next_refresh):
            return
        layer.refresh(extent=False)
        ended = time.monotonic()
        self._next_refresh = ended + max(_PAUSE, _SHARE * (ended - now))

    def _add(self, shown: Shown, data: Any) -> None:
        from napari.layers import Image

        state = self._state | {"name": f"{self._name} {_NAMES[shown.role]}", "multiscale": len(shown.levels) > 1}
        if shown.role == "std":
            state |= {"rgb": False}
        if shown.offset:
            state |= {"translate": self._place(shown)}
        if shown.limits is not None:
            state |= {"contrast_limits": shown.limits}
        layer = Image(data, cache=False, **state)
        if shown.limits is None and self._limits_range is not None:
            layer.contrast_limits_range = self._limits_range
        self._made.add(layer)
        self._keep(layer, shown.role)
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(layer)
        if shown.role == "preview" and active in self._viewer.layers:
            self._viewer.layers.selection.active = active  # the next step is about the image

    def _keep(self, layer: Any, role: Role) -> None:
        """Remembers a layer for the rest of the job, and for the next one in its place."""
        self._now[role] = layer
        if role == "preview":
            self._previews[self._source] = layer
        elif self._output is not None:
            self._of_output[self._output, role] = layer
            layer.metadata[WRITTEN] = str(self._output)

    def _earlier(self, role: Role) -> Any:
        """The layer of an earlier job that this one takes the place of."""
        if role == "preview":
            layer = self._previews.get(self._source)
        else:
            layer = self._of_output.get((self._output, role)) if self._output is not None else None
        return layer if layer in self._viewer.layers else None

    def _ndim(self, shown: Shown) -> int:
        """Dimensions of the layer that will show this."""
        colours = 1 if self._state["rgb"] and shown.role != "std" else 0
        return len(shown.levels[0].shape) - colours

    def _place(self, shown: Shown) -> tuple[float, ...]:
        return moved(self._transform, shown.offset)

    def _remove(self, layer: Any) -> None:
        if layer is not None:
            self._viewer.layers.remove(layer)
