"""Actions on the result of a layer: what was removed, and a report; without Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from masked_denoiser.plugin.denoise.form import Form, Request
from masked_denoiser.plugin.denoise.results.removed import removed_task, report_task
from masked_denoiser.plugin.denoise.results.result_layers import ResultLayers
from masked_denoiser.plugin.denoise.results.two_models import ModelsCompared, compare_models
from masked_denoiser.plugin.denoise.view import DenoiseView
from masked_denoiser.plugin.shared.background_task import Task, TaskRunner
from masked_denoiser.plugin.shared.task_view import errors_shown


class ResultActions:
    """Actions on the visible result of the chosen layer, as background tasks of the dock.

    Args:
        view: the dock.
        runner: runner of its tasks, whose events its presenter handles.
        results: its result layers.
        chosen_layer: returns the chosen layer; raises MaskedDenoiserError if there is none.
        preview: returns the request of a preview.

    Attributes:
        layer: the layer of the running task; None if there is none.
    """

    def __init__(
        self,
        view: DenoiseView,
        runner: TaskRunner,
        results: ResultLayers,
        chosen_layer: Callable[[], Any],
        preview: Callable[[], Request],
    ) -> None:
        self._view, self._runner, self._results = view, runner, results
        self._chosen_layer, self._preview = chosen_layer, preview
        self.layer: Any = None

    def show_removed(self) -> None:
        """Show what the result has removed, and say whether it looks like noise."""
        self._start("comparing the image with its result", removed_task)

    def write_report(self, path: Path) -> None:
        """Write a report on the result, as `.html`."""
        self._start("measuring image and result for the report", partial(report_task, path=path))

    def compare_models(self, other: str) -> None:
        """Denoise the view with the chosen model and with another one."""
        if self._runner.running:
            return
        with errors_shown(self._view):
            layer, request = self._chosen_layer(), self._preview()
            task = partial(compare_models, (request, replace(request, model=other)))
            self._begin(layer, f"previews by {request.model} and {other}", task)

    def show_compared(self, event: ModelsCompared) -> None:
        """Show the previews of two models next to each other, with their names and times."""
        previews = self._results.previews(self.layer)
        if {"preview", "second"} <= set(previews):
            pair = previews["preview"], previews["second"]
            for preview, name in zip(pair, event.names, strict=True):
                self._results.rename(preview, f"{self.layer.name}: {name}")
            self._view.show_side_by_side(self.layer, *pair)

    def clear(self) -> None:
        """Remove all results of the layer from the viewer."""
        with errors_shown(self._view):
            self._results.clear(self._chosen_layer())

    def _start(self, progress: str, make_task: Callable[[Any, Any, Form], Task]) -> None:
        if self._runner.running:
            return
        with errors_shown(self._view):
            layer = self._chosen_layer()
            task = make_task(layer, self._results.latest_result(layer), self._view.form())
            self._begin(layer, progress, task)

    def _begin(self, layer: Any, progress: str, task: Task) -> None:
        self.layer = layer
        self._results.begin(layer, None)
        self._runner.start(task)
        self._view.set_running(True)
        self._view.show_progress(None, progress)
        self._view.start_polling()
