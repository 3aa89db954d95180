"""The dock's logic: what happens when the user or the viewer does something. It knows no Qt."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.jobs.pipeline.events import Cancelled, Finished, Finishing, Progress
from masked_denoiser.messages import Message
from masked_denoiser.plugin.denoise import task as tasks
from masked_denoiser.plugin.denoise.form import Form, Request
from masked_denoiser.plugin.denoise.layer_chooser import LayerChooser
from masked_denoiser.plugin.denoise.layer_part import ShapesList
from masked_denoiser.plugin.denoise.request import RequestBuilder
from masked_denoiser.plugin.denoise.result_layers import ResultLayers
from masked_denoiser.plugin.shared.background_task import Ended, TaskRunner
from masked_denoiser.plugin.shared.wording import ending, explain

_log = logging.getLogger(__name__)


class DockView(Protocol):
    """What the presenter needs of the window."""

    def form(self) -> Form:
        """The fields as they stand; raises FormError."""

    def show_layers(self, names: list[str], chosen: int) -> None:
        """Offers layers."""

    def show_models(self, names: list[str], chosen: str) -> None:
        """Offers models."""

    def describe_models(self, descriptions: dict[str, str]) -> None:
        """Tells what models are, by name."""

    def show_devices(self, names: tuple[str, ...]) -> None:
        """Offers devices."""

    def show_axes(self, letters: str, hint: str) -> None:
        """Shows the axes of the chosen layer."""

    def suggest_paths(self, name: str, path: Path | None) -> None:
        """Begins the output's path anew, for a layer and its file."""

    def show_shapes(self, names: list[str]) -> None:
        """Offers Shapes layers as regions."""

    def show_slice(self, position: dict[str, int]) -> None:
        """Fills in where the sliders stand, by axis letter."""

    def copy(self, text: str) -> None:
        """Puts a text on the clipboard."""

    def say(self, text: str) -> None:
        """Adds a line to the notes."""

    def fail(self, text: str) -> None:
        """Adds an error to the notes."""

    def show_progress(self, share: float | None, text: str) -> None:
        """Moves the bar; None while nobody knows how long it takes."""

    def set_running(self, running: bool) -> None:
        """Leaves only Cancel to be pressed while a job runs."""

    def ask(self, question: str, *choices: str) -> str:
        """Asks, and returns one of the choices."""

    def wake(self) -> None:
        """Begins to call `tick`."""


class Presenter:
    """Holds the dock together: fields, worker and result layers.

    `tick` is to be called some twenty times a second while `busy`.
    """

    def __init__(self, viewer: Any, view: DockView) -> None:
        self._viewer, self._view = viewer, view
        self._runner, self._survey = TaskRunner(), TaskRunner()
        self._results = ResultLayers(viewer)
        self._chooser = LayerChooser(viewer, view, skip=self._results.made)
        self._asking = RequestBuilder(viewer, view)
        self._shapes = ShapesList(viewer, view.show_shapes)
        self._request: Request | None = None
        self._source_layer: Any = None
        self._why = ""
        self._exists: tasks.Exists | None = None
        self._finished = False
        viewer.layers.events.removed.connect(self._removed)
        self._survey.start(tasks.survey)
        view.wake()

    @property
    def busy(self) -> bool:
        """Whether there is anything to wait for."""
        return self._runner.running or self._survey.running

    def choose_layer(self, number: int) -> None:
        """The user chose a layer in the dock."""
        self._chooser.choose(number)

    def preview(self) -> None:
        """Denoises what is in view."""
        self._begin(preview=True)

    def denoise(self) -> None:
        """Denoises the whole layer."""
        self._begin(preview=False)

    def copy_command(self) -> None:
        """Copies the command line that would do the same."""
        try:
            text = self._asking.command(self._layer(), self._view.form())
        except MaskedDenoiserError as error:
            self._view.fail(explain(error))
            return
        self._view.copy(text)
        self._view.say(f"copied: {text}")

    def this_slice(self) -> None:
        """Fills in the slice that is shown."""
        try:
            self._view.show_slice(self._asking.slice_shown(self._layer(), self._view.form()))
        except MaskedDenoiserError as error:
            self._view.fail(explain(error))

    def cancel(self, why: str = "") -> None:
        """Ends the job after the tile in work."""
        if self._runner.running:
            self._why = why
            self._view.say("cancelling after the tile in work")
            self._runner.cancel()

    def stop(self) -> None:
        """Ends all work after the tile in work, without waiting for it: the dock or napari closes."""
        self._survey.stop()
        self._runner.stop()

    def tick(self) -> None:
        """Takes over what the worker has said."""
        for event in self._survey.poll():
            if isinstance(event, tasks.Models):
                self._view.describe_models(event.descriptions)
                self._view.show_devices(event.devices)
            elif isinstance(event, Ended) and event.error is not None:
                self._failed(event.error)
        events = self._runner.poll()
        ended = [event for event in events if isinstance(event, Ended)]
        try:
            for event in events[: len(events) - len(ended)]:
                self._take(event)
            if events and self._runner.running:
                self._results.refresh()
        finally:  # whatever goes wrong in showing results, the dock must not wait for ever
            for event in ended:
                self._take(event)

    def _begin(self, preview: bool) -> None:
        if self._runner.running:
            return
        try:
            layer, form = self._layer(), self._view.form()
            request = self._asking.preview(layer, form) if preview else self._asking.denoise(layer, form)
        except MaskedDenoiserError as error:
            self._view.fail(explain(error))
            return
        if request is not None:
            self._source_layer = layer
            self._start(request)

    def _layer(self) -> Any:
        if self._chooser.layer is None:
            raise MaskedDenoiserError("there is no image layer; open an image first")
        return self._chooser.layer

    def _start(self, request: Request) -> None:
        self._request, self._why, self._exists, self._finished = request, "", None, False
        self._results.begin(self._source_layer, request.output)
        self._view.set_running(True)
        self._view.show_progress(None, "loading the model, measuring the image")
        self._runner.start(partial(tasks.denoise, request))
        self._view.wake()

    def _take(self, event: Any) -> None:
        """One event of the worker."""
        match event:
            case Message(text):
                self._view.say(text)
            case Progress():
                self._view.show_progress(event.done / max(1, event.total), str(event))
            case tasks.Shown():
                self._results.show(event)
            case tasks.Exists():
                self._exists = event
            case Finishing():
                self._view.show_progress(event.share or None, str(event))
            case Finished() | Cancelled():
                self._finished = isinstance(event, Finished)
                self._results.refresh(force=True)
                self._view.say(self._ending(event))
            case Ended(error):
                self._ended(error)

    def _ending(self, event: Finished | Cancelled) -> str:
        assert self._request is not None
        role: tasks.Role = "preview" if self._request.preview else "result"
        return ending(event, self._results.name(role), self._request.output, self._why)

    def _ended(self, error: BaseException | None) -> None:
        self._view.set_running(False)
        self._view.show_progress(1.0 if self._finished else 0.0, "")
        if error is not None:
            self._failed(error)
        elif self._exists is not None:
            self._resolve_existing(self._exists)
        if not self._runner.running:
            self._request = self._source_layer = None
            self._results.end()

    def _resolve_existing(self, exists: tasks.Exists) -> None:
        """Asks what to do with an output that is there already."""
        assert self._request is not None
        if exists.unfinished:
            question = f"{exists.path} was begun by an earlier job and is not finished."
            answer = self._view.ask(question, "Resume", "Start again", "Stop")
        else:
            answer = self._view.ask(f"{exists.path} exists.", "Overwrite", "Stop")
        if answer == "Stop" or not answer:
            self._view.say("Nothing was done.")
            return
        if self._source_layer not in self._viewer.layers:
            self._view.fail("the layer was removed; choose another one")
            return
        self._start(replace(self._request, resume=answer == "Resume", overwrite=answer != "Resume"))

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, MaskedDenoiserError):
            _log.error("a task of the dock failed", exc_info=error)
        self._view.fail(explain(error))

    def _removed(self, event: Any) -> None:
        """A layer was removed: without its input a job ends, and in memory without its result, too."""
        if not self._runner.running or self._request is None:
            return
        if event.value is self._source_layer:
            self.cancel(f", because layer '{event.value.name}' was removed")
        elif self._request.output is None and self._results.shows(event.value):
            self.cancel(", because its result was removed")
