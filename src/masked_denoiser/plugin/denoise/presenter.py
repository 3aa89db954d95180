"""Presenter of the Denoise dock: reactions to the user, the viewer and the background tasks; without Qt."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.jobs.pipeline.events import Cancelled, Finished, Finishing, Progress
from masked_denoiser.messages import Message
from masked_denoiser.plugin.denoise import task as tasks
from masked_denoiser.plugin.denoise.form import Form, Request
from masked_denoiser.plugin.denoise.form_actions import FormActions
from masked_denoiser.plugin.denoise.last_settings import remember_settings
from masked_denoiser.plugin.denoise.layer_chooser import LayerChooser
from masked_denoiser.plugin.denoise.layer_part import ShapesList
from masked_denoiser.plugin.denoise.left_unchanged import LeftUnchangedJob
from masked_denoiser.plugin.denoise.request import RequestBuilder
from masked_denoiser.plugin.denoise.results.actions import ResultActions
from masked_denoiser.plugin.denoise.results.result_layers import ResultLayers
from masked_denoiser.plugin.denoise.results.two_models import ComparisonCancelled, ModelsCompared
from masked_denoiser.plugin.denoise.view import DenoiseView
from masked_denoiser.plugin.shared.background_task import TaskEnded, TaskRunner
from masked_denoiser.plugin.shared.models_and_devices import ModelsAndDevices, find_models_and_devices
from masked_denoiser.plugin.shared.wording import NOTIFIED_SECONDS, closing_question, describe_error, describe_job_end

_log = logging.getLogger(__name__)


class DenoisePresenter:
    """Presenter of form, background task, `results`, `chooser` of layers, `actions` on results, and `form_actions`.

    While it is `busy`, call `process_events` about twenty times a second.
    """

    def __init__(self, viewer: Any, view: DenoiseView) -> None:
        self._viewer, self._view = viewer, view
        self.view = view
        self._runner, self._discovery = TaskRunner(), TaskRunner()
        self._results = self.results = ResultLayers(viewer)
        self._unchanged = LeftUnchangedJob(view, self._results)
        self.chooser = LayerChooser(viewer, view, self._results.is_result, self._results.is_view)
        self.chooser.on_change = self._layer_chosen
        self._requests = RequestBuilder(viewer, view)
        self.actions = ResultActions(view, self._runner, self._results, self._layer, self._preview_request)
        self.form_actions = FormActions(viewer, view, self._requests, self._layer)
        self._shapes = ShapesList(viewer, view.show_shapes)
        self._request: Request | None = None
        self._source_layer: Any = None
        self._cancel_reason = ""
        self._existing: tasks.OutputExists | None = None
        self._finished = self._nothing_kept = False
        viewer.layers.events.removed.connect(self._layer_removed)
        self._discovery.start(find_models_and_devices)
        view.start_polling()

    @property
    def layer(self) -> Any:
        """The chosen layer, or None."""
        return self.chooser.layer

    @property
    def running(self) -> bool:
        """Whether a job is running."""
        return self._runner.running

    @property
    def finished(self) -> bool:
        """Whether the last job has finished, and was neither cancelled nor refused."""
        return self._finished

    @property
    def busy(self) -> bool:
        """Whether a task is running or has unprocessed events."""
        return self._runner.running or self._discovery.running

    def choose_layer(self, number: int) -> None:
        """Choose the layer at this index of the list."""
        self.chooser.choose(number)

    def _layer_chosen(self) -> None:
        self._unchanged.follow(self.chooser.layer)
        self.update_comparison()
        self._view.layer_chosen()

    def preview(self) -> None:
        """Denoise the visible part of the layer in memory."""
        self._request_and_start(preview=True)

    def denoise(self, form: Form | None = None) -> None:
        """Denoise the layer, or the chosen part of it, by the form of the dock or a given one."""
        self._finished = False
        self._request_and_start(preview=False, form=form)

    def denoise_anyway(self) -> None:
        """Repeat the last job, or start one, without the measurement that found too little noise."""
        if self._runner.running:
            return
        request = self._unchanged.request_of(self.chooser.layer)
        if request is None:
            self._request_and_start(preview=False, noise="none")
        else:
            self._request_and_start(preview=request.preview, noise="none", replaced=request.output)

    def may_close(self) -> bool:
        """Ask whether to close the dock, if a job is running; return the answer."""
        if not self._runner.running or self._request is None:
            return True
        return (
            self._view.ask(closing_question(self._request.output), "Cancel the job and close", "Keep running")
            != "Keep running"
        )

    def abandon(self) -> None:
        """Mark the result of a running job as incomplete, because the dock closes while the viewer stays."""
        if self._runner.running:
            self._results.mark_incomplete()
            self._results.end()

    def cancel(self, reason: str = "") -> None:
        """Cancel the job after the current tile.

        Args:
            reason: clause about what cancelled it; "" if the user did.
        """
        if self._runner.running:
            self._cancel_reason = reason
            self._view.show_message("cancelling after the current tile")
            self._runner.cancel()

    def stop(self) -> None:
        """Cancel all tasks without waiting for them, because the dock or napari closes; a running job is logged."""
        if self._runner.running and self._request is not None:
            _log.warning("the dock was closed and its job was cancelled; output: %s", self._request.output or "none")
        self.chooser.disconnect()
        self._viewer.layers.events.removed.disconnect(self._layer_removed)
        self._shapes.disconnect()
        self._discovery.stop()
        self._runner.stop()

    def process_events(self) -> None:
        """Handle the events of the tasks since the last call."""
        for event in self._discovery.poll():
            if isinstance(event, ModelsAndDevices):
                self._view.describe_models(event.descriptions)
                self._view.show_devices(event.devices)
            elif isinstance(event, TaskEnded) and event.error is not None:
                self._show_error(event.error)
        events = self._runner.poll()
        ended = [event for event in events if isinstance(event, TaskEnded)]
        try:
            for event in events[: len(events) - len(ended)]:
                self._handle(event)
            if events and self._runner.running:
                self._results.refresh()
        finally:  # after an error in showing results, the dock must not wait forever
            for event in ended:
                self._handle(event)

    def _request_and_start(
        self, preview: bool, noise: str | None = None, replaced: Path | None = None, form: Form | None = None
    ) -> None:
        """Start a job with this form or that of the dock, and with this noise; `replaced` is overwritten unasked."""
        if self._runner.running:
            return
        try:
            layer, form = self._layer(), form or self._view.form()
            options = form.options if noise is None else replace(form.options, noise=noise, strength=1.0)
            make = self._requests.preview if preview else self._requests.denoise
            request = make(layer, replace(form, options=options))
        except MaskedDenoiserError as error:
            self._view.show_error(describe_error(error))
            return
        if request is not None:
            remember_settings(form)
            self._source_layer = layer
            self._start(replace(request, overwrite=replaced is not None and request.output == replaced))

    def _preview_request(self) -> Request:
        return self._requests.preview(self._layer(), self._view.form())

    def _layer(self) -> Any:
        if self.chooser.layer is None:
            raise MaskedDenoiserError("there is no image layer; open an image first")
        return self.chooser.layer

    def _start(self, request: Request) -> None:
        self._request, self._cancel_reason, self._existing, self._finished = request, "", None, False
        self._nothing_kept = False
        self._unchanged.forget()
        self._results.begin(self._source_layer, request.output)
        self._view.set_running(True)
        self._runner.start(partial(tasks.denoise, request))
        self._view.show_progress(None, "loading the model, measuring the image")
        self._view.start_polling()

    def _handle(self, event: Any) -> None:
        """Handle an event of the job."""
        match event:
            case Message(text):
                self._view.show_message(text)
            case Progress():
                self._view.show_progress(event.done / max(1, event.total), str(event))
            case tasks.LayerUpdate():
                self._results.show(event)
                self.update_comparison()
            case tasks.LeftUnchanged(reason):
                self._finished = True
                if self._request is not None:
                    self._unchanged.remember(self._request, self._source_layer, reason, self.chooser.layer)
                    self.update_comparison()
            case ModelsCompared():
                self.actions.show_compared(event)
            case ComparisonCancelled(role):
                self._results.mark_incomplete(role)
            case tasks.OutputExists():
                self._existing = event
            case Finishing():
                self._view.show_progress(event.share or None, str(event))
            case Finished() | Cancelled():
                self._finished = isinstance(event, Finished)
                if not self._finished:
                    self._results.mark_incomplete()
                    self._nothing_kept = (
                        not event.progress.done and self._request is not None and not self._request.output
                    )
                self._results.refresh(force=True)
                self._view.show_end(self._describe_end(event), event.progress.seconds >= NOTIFIED_SECONDS)
            case TaskEnded(error):
                self._task_ended(error)

    def update_comparison(self) -> None:
        """Show whether the chosen layer can be compared with a result, after layers have changed."""
        self._view.show_comparison(self._results.has_results(self.chooser.layer))

    def _describe_end(self, event: Finished | Cancelled) -> str:
        assert self._request is not None
        name = self._results.name("preview" if self._request.preview else "result")
        return describe_job_end(event, name, self._request.output, self._cancel_reason)

    def _task_ended(self, error: BaseException | None) -> None:
        self._view.set_running(False)
        self._view.show_progress(1.0 if self._finished else 0.0, "")
        if error is not None:
            self._results.mark_incomplete()
            self._show_error(error)
        elif self._existing is not None:
            self._resolve_existing(self._existing)
        if self._nothing_kept:
            self._results.remove_current()
            self._nothing_kept = False
        if not self._runner.running:
            self._request = self._source_layer = self.actions.layer = None
            self._results.end()

    def _resolve_existing(self, existing: tasks.OutputExists) -> None:
        """Ask what to do with an output that exists."""
        assert self._request is not None
        answer = tasks.ask_about(existing, self._view.ask)
        if answer is None:
            self._view.show_message("Nothing was done.")
            return
        if self._source_layer not in self._viewer.layers:
            self._view.show_error("the layer was removed; choose another one")
            return
        self._start(replace(self._request, resume=answer == "resume", overwrite=answer == "overwrite"))

    def _show_error(self, error: BaseException) -> None:
        if not isinstance(error, MaskedDenoiserError):
            _log.error("a background task failed", exc_info=error)
        self._view.show_error(describe_error(error))

    def _layer_removed(self, event: Any) -> None:
        """Cancel the task if its input layer was removed, or the layer of its result in memory."""
        self._results.layer_removed(event.value)
        self._unchanged.layer_removed(event.value)
        self.update_comparison()
        if not self._runner.running:
            return
        if event.value in (self._source_layer, self.actions.layer):
            self.cancel(f", because layer '{event.value.name}' was removed")
        elif self._request is not None and self._request.output is None and self._results.is_current(event.value):
            self.cancel(", because its result was removed")
