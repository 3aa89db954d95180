"""The Fine-tune dock's logic: what happens when the user or the viewer does something. It knows no Qt."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from masked_denoiser.errors import FormError, MaskedDenoiserError, StoppedEarlyError
from masked_denoiser.images.source import Source
from masked_denoiser.messages import Message
from masked_denoiser.models.catalogue import DEFAULT, list_models
from masked_denoiser.plugin.denoise import task as denoising_tasks
from masked_denoiser.plugin.fine_tune import task as tasks
from masked_denoiser.plugin.fine_tune.form import (
    FineTuneForm,
    FineTuneRequest,
    Rectangle,
    clean_name,
    make_fine_tune_request,
    model_path,
    rectangles,
)
from masked_denoiser.plugin.fine_tune.history import History
from masked_denoiser.plugin.layers.source import layer_source
from masked_denoiser.plugin.shared.background_task import Ended, TaskRunner
from masked_denoiser.plugin.shared.signals import SIGNALS
from masked_denoiser.plugin.shared.wording import describe_training_end, explain
from masked_denoiser.training.events import Stepped, Validated

_log = logging.getLogger(__name__)


class FineTuneView(Protocol):
    """What the presenter needs of the window."""

    def form(self) -> FineTuneForm:
        """The fields as they stand."""

    def ticked(self) -> tuple[list[int], list[Path]]:
        """The layers to learn from, by place in the list, and the files."""

    def clean(self) -> tuple[int, list[Path]]:
        """The clean layer of a pair, -1 for none, and the clean files."""

    def shapes(self) -> str:
        """Name of the Shapes layer that learning is confined to; empty for none."""

    def show_layers(self, names: list[str], active: int) -> None:
        """Offers image layers; the active one is ticked where nothing is yet."""

    def show_shapes(self, names: list[str]) -> None:
        """Offers Shapes layers."""

    def show_models(self, names: list[str], chosen: str) -> None:
        """Offers models."""

    def show_devices(self, names: tuple[str, ...]) -> None:
        """Offers devices."""

    def say(self, text: str) -> None:
        """Adds a line to the notes."""

    def fail(self, text: str) -> None:
        """Adds an error to the notes."""

    def show_progress(self, share: float | None, text: str) -> None:
        """Moves the bar; None while nobody knows how long it takes."""

    def show_state(self, running: bool, can_continue: bool, can_save: bool) -> None:
        """Which buttons can be pressed."""

    def show_curves(self, history: History) -> None:
        """Draws the curves."""

    def show_picture(self, picture: np.ndarray[Any, Any]) -> None:
        """Shows the last validation: noisy, denoised, truth."""

    def show_noise(self, picture: np.ndarray[Any, Any] | None, problem: str) -> None:
        """Shows a patch without and with noise, or why there is none."""

    def ask(self, question: str, *choices: str) -> str:
        """Asks, and returns one of the choices."""

    def wake(self) -> None:
        """Begins to call `tick`."""


class FineTunePresenter:
    """Holds the dock together: fields, worker, curves, and the model that came out.

    `tick` is to be called some twenty times a second while `busy`.
    """

    def __init__(self, viewer: Any, view: FineTuneView) -> None:
        self._viewer, self._view = viewer, view
        self._runner, self._survey, self._painter = TaskRunner(), TaskRunner(), TaskRunner()
        self._layers: list[Any] = []
        self._request: FineTuneRequest | None = None
        self._learned: tasks.Learned | None = None
        self._begun: tasks.Begun | None = None
        self._history = History()
        self._noise_waits = False
        for signal in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.reordered):
            signal.connect(self._layers_changed)
        SIGNALS.model_saved.connect(self._list_models)
        self._list_models()
        self._layers_changed()
        self._show_state()
        self._survey.start(denoising_tasks.survey)
        view.wake()

    @property
    def busy(self) -> bool:
        """Whether there is anything to wait for."""
        return self._runner.running or self._survey.running or self._painter.running

    def start(self) -> None:
        """Begins a training."""
        self._begin(resume=False)

    def go_on(self) -> None:
        """Goes on with the training that was stopped, or adds as many steps to one that has ended."""
        self._begin(resume=True)

    def stop_training(self) -> None:
        """Ends the training within a part of a step; its checkpoint is kept."""
        if self._runner.running:
            self._view.say("stopping; what was learned is kept")
            self._runner.cancel()

    def close(self) -> None:
        """The dock or napari closes: the training ends and keeps its last checkpoint."""
        for runner in (self._survey, self._painter, self._runner):
            runner.stop()

    def save(self) -> None:
        """Writes the model where the Denoise dock finds it."""
        if self._learned is None:
            return
        try:
            name = clean_name(self._view.form().name or self._learned.model.card.name, "")
            path = model_path(name)
            if path.exists() and self._view.ask(f"A model '{name}' exists.", "Replace it", "Stop") != "Replace it":
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            model = replace(self._learned.model, card=self._learned.model.card.renamed(name))
            model.save(path)
        except (MaskedDenoiserError, OSError) as error:
            self._view.fail(explain(error))
            return
        self._view.say(f"saved as '{name}' ({path}); the Denoise dock offers it now")
        SIGNALS.model_saved.emit(name)

    def noise_changed(self) -> None:
        """The recipe or the images changed: the picture of the noise is drawn anew, once the last one is there."""
        if self._painter.running:
            self._noise_waits = True
            return
        self._noise_waits = False
        form = self._view.form()
        try:
            image = next(iter(self._images(form)), None)
            regions = self._regions([image]) if isinstance(image, Source) else []
        except MaskedDenoiserError as error:
            self._view.show_noise(None, explain(error))
            return
        if form.way != "clean" or image is None:
            self._view.show_noise(None, "")
            return
        at = next((_middle(rectangle) for of_image in regions for rectangle in of_image), None)
        self._painter.start(partial(tasks.show_noise, image, at, form.noise))
        self._view.wake()

    def tick(self) -> None:
        """Takes over what the workers have said."""
        for event in self._survey.poll():
            if isinstance(event, denoising_tasks.Models):
                self._view.show_devices(event.devices)
        for event in self._painter.poll():
            if isinstance(event, tasks.NoiseShown):
                self._view.show_noise(event.picture, "")
            elif isinstance(event, Ended) and event.error is not None:
                self._view.show_noise(None, explain(event.error))
        if self._noise_waits and not self._painter.running:
            self.noise_changed()
        self._take_all(self._runner.poll())

    def _take_all(self, events: list[Any]) -> None:
        ended = [event for event in events if isinstance(event, Ended)]
        stepped = [event for event in events if isinstance(event, Stepped)]
        try:
            for event in events:
                self._take(event)
            if stepped:
                last = stepped[-1]
                self._view.show_progress(last.step / last.steps, str(last))
            if stepped or any(isinstance(event, Validated) for event in events):
                self._view.show_curves(self._history)
        finally:  # whatever goes wrong in showing figures, the dock must not wait for ever
            for event in ended:
                self._ended(event.error)

    def _begin(self, resume: bool) -> None:
        if self._runner.running:
            return
        try:
            request = self._request_for(self._view.form(), resume)
        except MaskedDenoiserError as error:
            self._view.fail(explain(error))
            return
        self._start(request)

    def _request_for(self, form: FineTuneForm, resume: bool) -> FineTuneRequest:
        images = self._images(form)
        clean: list[Source | Path] = []
        if form.way == "pairs":
            number, files = self._view.clean()
            clean = [layer_source(self._layers[number], form.axes)] if number >= 0 else []
            clean += files
        regions = self._regions([image for image in images if isinstance(image, Source)])
        request = make_fine_tune_request(form, images, clean, regions)
        return replace(self._lengthened(request), resume=True) if resume else request

    def _lengthened(self, request: FineTuneRequest) -> FineTuneRequest:
        """A training that has come to its end goes on for as many steps again."""
        done = self._learned.trained.step if self._learned is not None else 0
        steps = request.settings["steps"]
        return replace(request, settings={**request.settings, "steps": steps if done < steps else done + steps})

    def _images(self, form: FineTuneForm) -> list[Source | Path]:
        numbers, files = self._view.ticked()
        return [*(layer_source(self._layers[number], form.axes) for number in numbers), *files]

    def _regions(self, images: list[Source]) -> list[list[Rectangle]]:
        """The shapes, in pixels of each ticked layer; nothing if learning is not confined.

        Raises:
            FormError: if the layer of the shapes is gone or empty, or a shape lies outside of an image.
        """
        name = self._view.shapes()
        if not name:
            return []
        if name not in self._viewer.layers:
            raise FormError(f"there is no Shapes layer '{name}' any more; choose what to learn inside of")
        shapes = self._viewer.layers[name]
        if not len(shapes.data):
            raise FormError(f"layer '{name}' has no shapes; draw a rectangle, or learn from the whole image")
        world = [[shapes.data_to_world(vertex) for vertex in vertices] for vertices in shapes.data]
        numbers, _ = self._view.ticked()
        found = []
        for number, image in zip(numbers, images, strict=False):
            layer = self._layers[number]
            inside = [np.array([layer.world_to_data(point[-layer.ndim :]) for point in vertices]) for vertices in world]
            found.append(rectangles(inside, image.size_yx))
        return found

    def _start(self, request: FineTuneRequest) -> None:
        self._request, self._begun = request, None
        self._view.show_progress(None, "loading the model, reading the images")
        self._runner.start(partial(tasks.fine_tune, request))
        self._show_state()
        self._view.wake()

    def _take(self, event: Any) -> None:
        """One event of the worker."""
        match event:
            case tasks.Began(_, notes):
                # Only now: a request that is refused must not cost what was learned before.
                self._learned = None
                if self._request is not None and not self._request.resume:
                    self._history = History()
                for note in notes:
                    self._view.say(note)
                self._view.show_progress(None, "first validation")
            case Message(text):
                self._view.say(text)
            case Stepped():
                self._history.add_step(event)
            case Validated():
                self._history.add_validation(event)
                self._view.show_picture(event.picture)
            case tasks.Begun():
                self._begun = event
            case tasks.Learned():
                self._learned = event
                self._view.say(describe_training_end(event.trained))

    def _ended(self, error: BaseException | None) -> None:
        done = 0.0 if self._learned is None or self._request is None else self._learned.trained.step
        steps = 1 if self._request is None else self._request.settings["steps"]
        self._view.show_progress(min(1.0, done / steps), "")
        if error is not None:
            self._failed(error)
        elif self._begun is not None and self._request is not None:
            question = f"A training '{self._request.name}' was begun earlier."
            answer = self._view.ask(question, "Continue it", "Start again", "Stop")
            if answer == "Continue it":
                self._start(replace(self._request, resume=True))
            elif answer == "Start again":
                self._start(replace(self._request, overwrite=True))
            else:
                self._view.say("Nothing was done.")
        self._show_state()

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, StoppedEarlyError):
            self._view.say(f"{error}.")
            return
        if not isinstance(error, MaskedDenoiserError):
            _log.error("a task of the dock failed", exc_info=error)
        self._view.fail(explain(error))

    def _show_state(self) -> None:
        learned = self._learned
        worth = learned is not None and learned.trained.best_step > 0  # else it is a copy of the model it began with
        self._view.show_state(self._runner.running, learned is not None, worth)

    def _list_models(self, _name: str = "") -> None:
        names = [entry.name for entry in list_models()]
        self._view.show_models(names, DEFAULT if DEFAULT in names else next(iter(names), ""))

    def _layers_changed(self, _event: Any = None) -> None:
        from napari.layers import Image, Shapes

        for layer in self._viewer.layers:
            # Connecting again what is connected does nothing.
            layer.events.name.connect(self._layers_changed)
            if isinstance(layer, Shapes):
                layer.events.data.connect(self._shapes_changed)
        self._layers = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        active = self._viewer.layers.selection.active
        number = self._layers.index(active) if active in self._layers else len(self._layers) - 1
        self._view.show_layers([layer.name for layer in self._layers], number)
        self._view.show_shapes(_names(layer for layer in self._viewer.layers if isinstance(layer, Shapes)))

    def _shapes_changed(self, _event: Any = None) -> None:
        if self._view.shapes():
            self.noise_changed()


def _middle(rectangle: Rectangle) -> tuple[int, int]:
    rows, columns = rectangle
    return (rows.start + rows.stop) // 2, (columns.start + columns.stop) // 2


def _names(layers: Any) -> list[str]:
    return [layer.name for layer in layers]
