"""Presenter of the Fine-tune dock: reactions to the user, the viewer and the background tasks; without Qt."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from masked_denoiser.errors import FormError, MaskedDenoiserError, StoppedEarlyError
from masked_denoiser.images.source import Source
from masked_denoiser.messages import Message
from masked_denoiser.models.catalogue import AUTO, list_models
from masked_denoiser.plugin.denoise.results.result_layers import ResultLayers
from masked_denoiser.plugin.fine_tune import task as tasks
from masked_denoiser.plugin.fine_tune.form import (
    FineTuneForm,
    FineTuneRequest,
    Rectangle,
    make_fine_tune_request,
    middle,
    model_path,
    shape_boxes,
)
from masked_denoiser.plugin.fine_tune.history import TrainingHistory
from masked_denoiser.plugin.fine_tune.noise_preview import NoisePreviewer
from masked_denoiser.plugin.fine_tune.questions import (
    ask_about_closing,
    ask_about_existing,
    ask_about_noise,
    save_model,
)
from masked_denoiser.plugin.fine_tune.view import FineTuneView
from masked_denoiser.plugin.layers.source import layer_source
from masked_denoiser.plugin.layers.view_region import visible_part
from masked_denoiser.plugin.shared.background_task import TaskEnded, TaskRunner
from masked_denoiser.plugin.shared.models_and_devices import ModelsAndDevices, find_models_and_devices
from masked_denoiser.plugin.shared.signals import SIGNALS, layer_list_signals
from masked_denoiser.plugin.shared.wording import describe_error, describe_training_end
from masked_denoiser.training.events import Stepped, Validated

_log = logging.getLogger(__name__)


class FineTunePresenter:
    """Presenter of the form, the background tasks, the curves and the trained model.

    While it is `busy`, call `process_events` about twenty times a second.
    """

    def __init__(self, viewer: Any, view: FineTuneView) -> None:
        self._viewer, self._view = viewer, view
        self._runner, self._discovery = TaskRunner(), TaskRunner()
        self._noise = NoisePreviewer(view, self._images, self._regions)
        self._layers: list[Any] = []
        self._shapes: list[Any] = []
        self._request: FineTuneRequest | None = None
        self._result: tasks.TrainingResult | None = None
        self._existing: tasks.TrainingExists | None = None
        self._noisy = ""
        self._history, self._shown_name = TrainingHistory(), ""
        for signal in layer_list_signals(viewer):
            signal.connect(self._layers_changed)
        SIGNALS.model_saved.connect(self._list_models)
        self._list_models()
        self._layers_changed()
        self._show_state()
        self._discovery.start(find_models_and_devices)
        view.start_polling()

    @property
    def busy(self) -> bool:
        """Whether a task is running or has unprocessed events."""
        return self._runner.running or self._discovery.running or self._noise.busy

    def start(self) -> None:
        """Start a new training."""
        self._request_and_start(resume=False)

    def continue_training(self) -> None:
        """Resume a stopped training, or extend a finished one by the same number of steps."""
        self._request_and_start(resume=True)

    def stop_training(self) -> None:
        """Stop the training within the current step; its checkpoint is kept."""
        if self._runner.running:
            self._view.show_message("stopping; the checkpoint is kept")
            self._runner.cancel()

    def may_close(self) -> bool:
        """Ask whether to close the dock, if a training is running; return the answer."""
        return not self._runner.running or ask_about_closing(self._view)

    def stop(self) -> None:
        """Cancel all tasks, because the dock or napari closes; the last checkpoint is kept."""
        for signal in layer_list_signals(self._viewer):
            signal.disconnect(self._layers_changed)
        SIGNALS.model_saved.disconnect(self._list_models, missing_ok=True)
        for runner in (self._discovery, self._noise, self._runner):
            runner.stop()

    def save(self) -> str:
        """Save the model in the user's folder, where the Denoise dock finds it; return its name, or "" if it is not."""
        if self._result is None:
            return ""
        try:
            name = save_model(self._view, self._result.model, self._view.form().name)
        except (MaskedDenoiserError, OSError) as error:
            self._view.show_error(describe_error(error))
            return ""
        if name:
            self._view.show_message(f"saved as '{name}' ({model_path(name)}); the Denoise dock offers it now")
            SIGNALS.model_saved.emit(name, self._viewer)
        return name

    def update_noise_preview(self) -> None:
        """Compute the noise preview again, after a running computation of it has ended."""
        self._noise.update()

    def process_events(self) -> None:
        """Handle the events of the tasks since the last call."""
        for event in self._discovery.poll():
            if isinstance(event, ModelsAndDevices):
                self._view.show_devices(event.devices)
            elif isinstance(event, TaskEnded) and event.error is not None:
                self._show_error(event.error)
        self._noise.process_events()
        self._handle_events(self._runner.poll())

    def _handle_events(self, events: list[Any]) -> None:
        ended = [event for event in events if isinstance(event, TaskEnded)]
        stepped = [event for event in events if isinstance(event, Stepped)]
        try:
            for event in events:
                self._handle(event)
            if stepped:
                last = stepped[-1]
                self._view.show_progress(last.step / last.steps, str(last))
            if stepped or any(isinstance(event, Validated) for event in events):
                self._view.show_curves(self._history)
        finally:  # after an error in showing results, the dock must not wait forever
            for event in ended:
                self._task_ended(event.error)

    def _request_and_start(self, resume: bool) -> None:
        if self._runner.running:
            return
        try:
            request = self._request_for(self._view.form(), resume)
        except MaskedDenoiserError as error:
            self._view.show_error(describe_error(error))
            return
        self._start(request)

    def _request_for(self, form: FineTuneForm, resume: bool) -> FineTuneRequest:
        images = self._images(form)
        clean: list[Source | Path] = []
        if form.supervision == "pairs":
            index, files = self._view.clean_images()
            clean = [layer_source(self._layers[index], form.axes)] if index >= 0 else []
            clean += files
        regions = self._regions([image for image in images if isinstance(image, Source)])
        request = replace(make_fine_tune_request(form, images, clean, regions), view=self._view_centre(images[0]))
        return replace(request, resume=True) if resume else request

    def _view_centre(self, image: Source | Path) -> tuple[int, int] | None:
        """Return the middle of what the canvas shows of the first image; None if it is a file or not visible."""
        if not isinstance(image, Source):
            return None
        layer = self._layers[self._view.training_images()[0][0]]
        visible = visible_part(self._viewer, layer, image.axes)
        return None if visible is None else middle(visible)

    def _images(self, form: FineTuneForm) -> list[Source | Path]:
        indices, files = self._view.training_images()
        return [*(layer_source(self._layers[index], form.axes) for index in indices), *files]

    def _regions(self, images: list[Source]) -> list[list[Rectangle]]:
        """Return the bounding boxes of the shapes in each training layer; [] for whole images.

        Raises:
            FormError: if the Shapes layer is removed or empty, or a shape is outside of an image.
        """
        name = self._view.shapes_name()
        if not name:
            return []
        if name not in self._viewer.layers:
            raise FormError(f"Shapes layer '{name}' no longer exists; choose another one, or the whole image")
        shapes = self._viewer.layers[name]
        if not len(shapes.data):
            raise FormError(f"Shapes layer '{name}' has no shapes; draw a rectangle, or train on the whole image")
        indices, _ = self._view.training_images()
        return [
            shape_boxes(shapes, self._layers[index], image.axes, image.size_yx)
            for index, image in zip(indices, images, strict=False)
        ]

    def _start(self, request: FineTuneRequest) -> None:
        self._request, self._existing, self._noisy = request, None, ""
        self._view.show_progress(None, "loading the model, reading the images")
        self._runner.start(partial(tasks.fine_tune, request))
        self._show_state()
        self._view.start_polling()

    def _handle(self, event: Any) -> None:
        """Handle an event of the training."""
        match event:
            case tasks.TrainingPrepared(_, messages):
                # Only now, so that an invalid request does not discard the earlier result.
                self._result = None
                if self._request is not None and (not self._request.resume or self._request.name != self._shown_name):
                    self._history, self._shown_name = TrainingHistory(), self._request.name
                for message in messages:
                    self._view.show_message(message)
                self._view.show_progress(None, "first validation")
            case Message(text):
                self._view.show_message(text)
            case Stepped():
                self._history.add_step(event)
            case Validated():
                self._history.add_validation(event)
                self._view.show_picture(event.picture)
            case tasks.ViewPicture(picture):
                self._view.show_view(picture)
            case tasks.TrainingExists():
                self._existing = event
            case tasks.NoisyImages(description):
                self._noisy = description
            case tasks.TrainingResult():
                self._result = event
                self._view.show_end(describe_training_end(event.trained), event.trained.why != "stopped")

    def _task_ended(self, error: BaseException | None) -> None:
        done = 0.0 if self._result is None or self._request is None else self._result.trained.step
        steps = 1 if self._request is None else self._request.settings["steps"]
        self._view.show_progress(min(1.0, done / steps), "")
        if error is not None:
            self._show_error(error)
        elif self._request is not None:
            self._ask_further(self._request)
        self._show_state()

    def _ask_further(self, request: FineTuneRequest) -> None:
        """Ask what to do if an earlier training exists, or clean images are noisy."""
        if self._existing is None and not self._noisy:
            return
        noisy = self._noisy
        following = ask_about_noise(self._view, request, noisy) if noisy else ask_about_existing(self._view, request)
        if following is None:
            self._view.show_message("Nothing was done.")
            return
        self._view.show_supervision(following.supervision)
        self._start(following)

    def _show_error(self, error: BaseException) -> None:
        if isinstance(error, StoppedEarlyError):
            self._view.show_message(f"{error}.")
            return
        if not isinstance(error, MaskedDenoiserError):
            _log.error("a background task failed", exc_info=error)
        self._view.show_error(describe_error(error))

    def _show_state(self) -> None:
        result = self._result
        improved = result is not None and result.trained.best_step > 0  # otherwise it equals the original model
        self._view.show_state(self._runner.running, result is not None, improved)

    def _list_models(self, _name: str = "") -> None:
        self._view.show_models([AUTO, *(entry.name for entry in list_models())], AUTO)

    def _layers_changed(self, _event: Any = None) -> None:
        from napari.layers import Image, Shapes

        for layer in self._viewer.layers:
            # Connecting a callback twice has no effect.
            layer.events.name.connect(self._layers_changed)
            if isinstance(layer, Shapes):
                layer.events.data.connect(self._shapes_changed)
        layers, shapes = ([each for each in self._viewer.layers if isinstance(each, kind)] for kind in (Image, Shapes))
        layers = [layer for layer in layers if not ResultLayers(self._viewer).is_view(layer)]
        active = self._viewer.layers.selection.active
        index = layers.index(active) if active in layers else len(layers) - 1
        self._view.show_layers([layer.name for layer in layers], index, _places(self._layers, layers))
        region = self._view.shapes_name()
        self._view.show_shapes([layer.name for layer in shapes], _places(self._shapes, shapes))
        if region and not self._view.shapes_name():
            self._view.show_error(f"Shapes layer '{region}' was removed: the region is the whole image")
        self._layers, self._shapes = layers, shapes

    def _shapes_changed(self, _event: Any = None) -> None:
        if self._view.shapes_name():
            self.update_noise_preview()


def _places(before: list[Any], now: list[Any]) -> list[int]:
    """Return where each layer was in the earlier list; -1 for new ones."""
    return [before.index(layer) if layer in before else -1 for layer in now]
