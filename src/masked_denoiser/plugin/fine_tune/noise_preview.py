"""Preview of a noise recipe on a patch of the first training image, computed in the background; without Qt."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.images.source import Source
from masked_denoiser.plugin.fine_tune import task as tasks
from masked_denoiser.plugin.fine_tune.form import FineTuneForm, Rectangle, middle
from masked_denoiser.plugin.fine_tune.view import FineTuneView
from masked_denoiser.plugin.shared.background_task import TaskEnded, TaskRunner
from masked_denoiser.plugin.shared.wording import describe_error


class NoisePreviewer:
    """Preview of the noise that is added to clean images.

    Args:
        view: the dock.
        images: returns the training images; raises MaskedDenoiserError.
        regions: returns the rectangles of some layers that are trained on; raises MaskedDenoiserError.
    """

    def __init__(
        self,
        view: FineTuneView,
        images: Callable[[FineTuneForm], list[Source | Path]],
        regions: Callable[[list[Source]], list[list[Rectangle]]],
    ) -> None:
        self._view, self._images, self._regions = view, images, regions
        self._runner, self._outdated = TaskRunner(), False

    @property
    def busy(self) -> bool:
        """Whether a preview is being computed."""
        return self._runner.running

    def stop(self) -> None:
        """Stop, because the window closes."""
        self._runner.stop()

    def update(self) -> None:
        """Compute the preview again, after a running computation of it has ended."""
        if self._runner.running:
            self._outdated = True
            return
        self._outdated = False
        form = self._view.form()
        try:
            image = next(iter(self._images(form)), None)
            regions = self._regions([image]) if isinstance(image, Source) else []
        except MaskedDenoiserError as error:
            self._view.show_noise(None, describe_error(error))
            return
        if form.supervision != "clean" or image is None:
            self._view.show_noise(None, "")
            return
        centre = next((middle(rectangle) for boxes in regions for rectangle in boxes), None)
        self._runner.start(partial(tasks.preview_noise, image, centre, form.noise, form.model))
        self._view.start_polling()

    def process_events(self) -> None:
        """Handle the events since the last call."""
        for event in self._runner.poll():
            if isinstance(event, tasks.NoisePreview):
                self._view.show_noise(event.picture, "")
            elif isinstance(event, TaskEnded) and event.error is not None:
                self._view.show_noise(None, describe_error(event.error))
        if self._outdated and not self._runner.running:
            self.update()
