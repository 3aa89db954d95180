"""Result layers of jobs in a viewer: added, refreshed while the job runs, replaced at its end.

A result lies directly above its input, which is hidden while a result is visible: viewers add the intensities of
fluorescence layers, so that noise under a result would be seen through it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, ref

from masked_denoiser.plugin.denoise.results.job_layers import JobLayers
from masked_denoiser.plugin.denoise.results.new_layer import name_of, new_layer
from masked_denoiser.plugin.denoise.results.registry import registry_of
from masked_denoiser.plugin.denoise.task import LayerUpdate, Role
from masked_denoiser.plugin.layers.lazy_view import lazy_levels
from masked_denoiser.plugin.layers.removal import remove_layer
from masked_denoiser.plugin.layers.source import OUTPUT_KEY, RECORD_KEY
from masked_denoiser.plugin.shared.refresh_pace import RefreshPace

#: Roles of layers that show the denoised image.
_COMPARABLE: tuple[Role, ...] = ("result", "preview", "second", "live")

#: Display settings that an input shares with its live view and its split.
_LINKED_SETTINGS = ("contrast_limits", "gamma", "colormap", "interpolation2d")


class ResultLayers:
    """Result layers of a dock. All methods must be called from the GUI thread."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        known = registry_of(viewer)
        self._inputs, self._roles, self._hidden, self._seen = known.inputs, known.roles, known.hidden, known.seen
        self._output_layers = known.output_layers
        self._temporary_names: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # until a job replaces the pixels
        self._pace = RefreshPace()
        self._job = JobLayers()

    def begin(self, layer: Any, output: Path | None) -> None:
        """Prepare for a job: copy the display settings of its input layer, which may be removed while the job runs."""
        self._job = JobLayers.of(layer, output)

    def end(self) -> None:
        """Place the layers where the input is now, and release them and the input."""
        self._follow_source()
        for role, layer in self._job.current.items():
            if layer in self._viewer.layers:
                _place(layer, self._job.placement(self._job.updates[role]))
        self._job = JobLayers()

    def show_separately(self, layer: Any, update: LayerUpdate) -> Any:
        """Show a layer that belongs to an input layer, but to no job, with linked display settings; return it."""
        job, self._job = self._job, JobLayers.of(layer, None)
        try:
            self.show(update)
            shown = self._job.current[update.role]
        finally:
            self._job = job
        self._viewer.layers.link_layers([layer, shown], _LINKED_SETTINGS)
        return shown

    def name(self, role: Role) -> str:
        """Return the name of the layer with this role; "" if the user has removed it."""
        layer = self._job.current.get(role)
        return str(layer.name) if layer is not None and layer in self._viewer.layers else ""

    def visible_split(self, layer: Any) -> Any:
        """Return the visible split of an input layer and its result, or None."""
        return next((r for r in self._results_of(layer) if self._roles[r] == "split" and r.visible), None)

    def previews(self, layer: Any) -> dict[Role, Any]:
        """Return the previews of an input layer by their role."""
        return {self._roles[r]: r for r in self._results_of(layer) if self._roles[r] in ("preview", "second")}

    def is_result(self, layer: Any) -> bool:
        """Return whether a layer is a result of this dock."""
        return layer in self._roles

    def is_current(self, layer: Any) -> bool:
        """Return whether a layer is the result of the running job."""
        return any(layer is current for role, current in self._job.current.items() if role != "std")

    def is_view(self, layer: Any) -> bool:
        """Return whether a layer is a live view or a split."""
        return self._roles.get(layer) in ("live", "split")

    def has_results(self, layer: Any) -> bool:
        """Return whether an input layer has results in the viewer."""
        return layer is not None and bool(self._results_of(layer))

    def shows_original(self, layer: Any) -> bool:
        """Return whether an input layer is visible and none of its results is."""
        results = self._results_of(layer)
        return bool(results) and layer.visible and not any(result.visible for result in results)

    def mark_incomplete(self, role: Role | None = None) -> None:
        """Say in name and metadata that layers of the job show the input where it was cancelled or has failed.

        Args:
            role: of the layer; all layers of the job by default.
        """
        for layer in [layer for each, layer in self._job.current.items() if role in (None, each)]:
            self.rename(layer, f"{layer.name} (incomplete)")
            layer.metadata[RECORD_KEY] = {"complete": False}

    def rename(self, layer: Any, name: str) -> None:
        """Give a layer a name until a job replaces its pixels."""
        layer.name = name
        self._temporary_names[layer] = layer.name

    def latest_result(self, layer: Any, live: bool = False) -> Any:
        """Return the visible result or preview of an input layer, or else its last one; None if there is none.

        Args:
            layer: the input layer.
            live: whether a live view is a result, too.
        """
        roles = _COMPARABLE if live else ("result", "preview", "second")
        results = [result for result in self._results_of(layer) if self._roles[result] in roles]
        visible = [result for result in results if result.visible]
        return next(reversed(visible or results), None)

    def clear(self, layer: Any) -> None:
        """Remove all results of an input layer from the viewer; files stay."""
        for result in [other for other, source in self._inputs.items() if source() is layer]:
            remove_layer(self._viewer, result)

    def show_result(self, layer: Any, preferred: Any = None) -> None:
        """Show the visible result of an input layer, or else a preferred or its last one, and nothing else of it."""
        if layer not in self._viewer.layers:
            return
        chosen = self.latest_result(layer, live=True)
        if preferred in self._results_of(layer) and not (chosen is not None and chosen.visible):
            chosen = preferred
        for result in self._results_of(layer):
            result.visible = result is chosen
        layer.visible = chosen is None

    def show_original(self, layer: Any, shown: bool) -> None:
        """Show an input layer instead of its results, or the result that was visible before instead of it."""
        results = self._results_of(layer)
        visible = [result for result in results if result.visible]
        comparable = [result for result in results if self._roles[result] in _COMPARABLE]
        if shown and (seen := [result for result in visible if result in comparable]):
            self._seen[layer] = ref(seen[-1])
        before = self._seen[layer]() if layer in self._seen else None
        chosen = before if before in comparable else next(reversed(comparable or results), None)
        for result in results:
            result.visible = not shown and result is chosen
        layer.visible = shown or not results

    def layer_removed(self, layer: Any) -> None:
        """Show an input layer again after its last result was removed, or a result after its input was."""
        results = self._results_of(layer)  # of an input that was removed
        if results and not any(result.visible for result in results):
            results[-1].visible = True
        reference = self._inputs.pop(layer, None)
        source = reference() if reference is not None else None
        is_split = self._roles.get(layer) == "split"  # after which the comparison shows what it was of
        if source is not None and source in self._viewer.layers and not is_split:
            self._fill_gap(source, layer)
        for key in [key for key, other in self._output_layers.items() if other is layer]:
            del self._output_layers[key]

    def _fill_gap(self, source: Any, removed: Any) -> None:
        """Show another result, or the input if it was hidden for the removed layer, which was the only visible one."""
        results = self._results_of(source)
        if not results and source in self._hidden:
            self._hidden.discard(source)
            source.visible = True
            return
        latest = self.latest_result(source, live=True)
        gap = removed.visible and not source.visible and not any(result.visible for result in results)
        if gap and latest is not None:
            latest.visible = True

    def remove_current(self) -> None:
        """Remove the layers of the job from the viewer, because they show nothing but the input."""
        for layer in list(self._job.current.values()):
            remove_layer(self._viewer, layer)

    def show(self, update: LayerUpdate) -> None:
        """Add a layer, or update the one of this job or of an earlier job with the same output."""
        layer = self._job.current.get(update.role)
        if layer is not None and layer not in self._viewer.layers:
            return  # the user has removed it
        self._follow_source()
        is_new = layer is None
        layer = layer if layer is not None else self._previous_layer(update.role)
        data: Any = lazy_levels(update.levels) if len(update.levels) > 1 else update.levels[0]
        if layer is None or not self._fits(layer, update):
            self._replace(layer, new_layer(self._job, update, data), update)
            return
        layer.data = data
        _place(layer, self._job.placement(update))
        if self._temporary_names.pop(layer, None) == layer.name:
            layer.name = name_of(self._job, update.role)
        if update.limits is not None:
            layer.contrast_limits = update.limits
        self._remember(layer, update)
        if is_new and update.role != "live":  # new pixels of a live view leave it hidden, or next to its input
            self._show_only(layer)

    def refresh(self, force: bool = False) -> None:
        """Redraw the layer with the tiles written since, at most four times a second unless `force` is set."""
        layer = self._job.current.get("preview") or self._job.current.get("result")
        layer = self.visible_split(self._job.source) or layer
        if layer is None or layer not in self._viewer.layers or not (force or self._pace.is_due()):
            return
        with self._pace.measure():
            layer.refresh(extent=False)

    def _follow_source(self) -> None:
        if self._job.source in self._viewer.layers:
            self._job.follow_source()

    def _replace(self, old: Any, new: Any, update: LayerUpdate) -> None:
        """Insert a layer directly above its input, without changing which layers are selected; remove an old one."""
        layers = self._viewer.layers
        selected = [layer for layer in layers if layer in layers.selection and layer is not old]
        place = self._place_for(update.role)
        if self._job.source is not None:
            self._inputs[new] = ref(self._job.source)
        self._roles[new] = update.role
        self._remember(new, update)
        layers.insert(place, new)
        if old is not None:
            remove_layer(self._viewer, old)
            new.name = name_of(self._job, update.role)  # napari had numbered it, as there were two of this name
        layers.selection = selected
        self._show_only(new)

    def _place_for(self, role: Role) -> int:
        """Return the number of a new layer in the list: its input, preview, results, standard deviation."""
        layers = self._viewer.layers
        if self._job.source not in layers:
            return len(layers)
        others = self._results_of(self._job.source)
        previews = [layer for layer in others if self._roles[layer] in ("preview", "second")]
        below = [self._job.source, *(others if role == "std" else previews if role != "preview" else [])]
        return int(max(map(layers.index, below))) + 1

    def _show_only(self, layer: Any) -> None:
        """Hide the input of a layer and its other results."""
        if self._roles[layer] == "std" or self._job.source not in self._viewer.layers:
            return
        for other in self._results_of(self._job.source):
            other.visible = other is layer
        if self._job.source.visible:
            self._hidden.add(self._job.source)
            self._job.source.visible = False

    def _results_of(self, source: Any) -> list[Any]:
        """Return the results of an input layer, except standard deviations, the most recent one last."""
        layers = [layer for layer, other in self._inputs.items() if other() is source and self._roles[layer] != "std"]
        return [layer for layer in layers if layer in self._viewer.layers]

    def _remember(self, layer: Any, update: LayerUpdate) -> None:
        """Remember a layer for the rest of the job, and for later jobs that replace its pixels."""
        self._job.current[update.role], self._job.updates[update.role] = layer, update
        if update.record:
            layer.metadata[RECORD_KEY] = dict(update.record)
        if update.role in ("result", "std") and self._job.output is not None:
            self._output_layers[self._job.output, update.role] = layer
            layer.metadata[OUTPUT_KEY] = str(self._job.output)

    def _previous_layer(self, role: Role) -> Any:
        """Return the layer of an earlier job that this job replaces, or None."""
        if role in ("preview", "second", "residual", "live", "split"):
            same = [layer for layer in self._results_of(self._job.source) if self._roles[layer] == role]
            return same[-1] if same else None
        layer = self._output_layers.get((self._job.output, role)) if self._job.output is not None else None
        return layer if layer in self._viewer.layers else None

    def _fits(self, layer: Any, update: LayerUpdate) -> bool:
        """Return whether a layer can show an update: it is a result of the same input, of the same kind."""
        colour = bool(self._job.state["rgb"]) and update.role not in ("std", "residual")
        ndim = len(update.levels[0].shape) - colour
        kind = (layer.multiscale, layer.ndim, bool(layer.rgb)) == (len(update.levels) > 1, ndim, colour)
        reference = self._inputs.get(layer)
        return kind and reference is not None and reference() is self._job.source


def _place(layer: Any, placement: dict[str, Any]) -> None:
    """Set the transform of a layer."""
    for name, value in placement.items():
        setattr(layer, name, value)
