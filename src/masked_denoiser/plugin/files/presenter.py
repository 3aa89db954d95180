"""Presenter of the Files tab: denoises a list of images into a folder; without Qt."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from masked_denoiser.errors import FormError, MaskedDenoiserError
from masked_denoiser.images.discovery import find_images, is_address, name_of, skipped_files
from masked_denoiser.images.locator import join_locator, split_locator
from masked_denoiser.jobs.batch.outputs import Pair, make_folder, plan_outputs
from masked_denoiser.jobs.batch.run import FileBegun, FileEnded, Outcome, Summary
from masked_denoiser.jobs.pipeline.events import Finishing, Progress
from masked_denoiser.messages import Message, readable_time
from masked_denoiser.plugin.denoise.form import Form, typed_path
from masked_denoiser.plugin.files.task import BatchProgress, BatchRequest, count_existing, denoise_files
from masked_denoiser.plugin.files.view import FileStatus, FilesView
from masked_denoiser.plugin.layers.source import layer_path
from masked_denoiser.plugin.shared.background_task import TaskEnded, TaskRunner
from masked_denoiser.plugin.shared.wording import describe_error

_log = logging.getLogger(__name__)

#: Name of the plugin whose reader opens results.
_PLUGIN = "napari-masked-denoiser"


class FilesPresenter:
    """Presenter of a list of images. While it is `busy`, call `process_events` about twenty times a second.

    Args:
        viewer: viewer in which results are opened.
        view: the tab.
        form: returns the dock's settings; raises FormError.
        ask: asks the user a question with these choices, and returns one of them.
    """

    def __init__(self, viewer: Any, view: FilesView, form: Callable[[], Form], ask: Callable[..., str]) -> None:
        self._viewer, self._view, self._form, self._ask = viewer, view, form, ask
        self._runner = TaskRunner()
        self._files: list[FileStatus] = []
        self._pairs: tuple[Pair, ...] = ()
        self._progress = BatchProgress(0)
        self._current = 0

    @property
    def busy(self) -> bool:
        """Whether a task is running or has unprocessed events."""
        return self._runner.running

    def add(self, paths: Sequence[str]) -> None:
        """Add files and the images of folders; show errors for the other paths."""
        if self.busy:
            return
        images = [file.image for file in self._files]
        for path in paths:
            try:
                images += map(_normalized, find_images([path]))
                for note in skipped_files([path]):
                    self._view.show_message(note)
            except MaskedDenoiserError as error:
                self._view.show_error(describe_error(error))
        self._files += [FileStatus(image) for image in list(dict.fromkeys(images))[len(self._files) :]]
        self._view.show_files(self._files)
        if self._files:
            self._view.suggest_folder(str(Path(self._files[0].image).resolve().parent / "denoised"))

    def remove(self, numbers: Collection[int]) -> None:
        """Remove images from the list; files are not changed."""
        if not self.busy:
            self._files = [file for number, file in enumerate(self._files) if number not in numbers]
            self._view.show_files(self._files)

    def start(self) -> None:
        """Denoise the list."""
        if self.busy:
            return
        try:
            request = self._request()
        except MaskedDenoiserError as error:
            self._view.show_error(describe_error(error))
            return
        if request is None:
            self._view.show_message("Nothing was done.")
            return
        self._pairs, self._progress = request.pairs, BatchProgress(len(request.pairs))
        self._files = [FileStatus(file.image) for file in self._files]
        self._view.show_files(self._files)
        self._view.set_running(True)
        self._view.show_progress(None, "loading the model")
        self._runner.start(partial(denoise_files, request))
        self._view.start_polling()

    def cancel(self) -> None:
        """Cancel the task after the current tile."""
        if self.busy:
            self._view.show_message("cancelling after the current tile")
            self._runner.cancel()

    def may_close(self) -> bool:
        """Ask whether to close the dock, if a list is running; return the answer."""
        if not self.busy:
            return True
        question = "A list of files is running. Closing this dock cancels it; finished results and tiles are kept."
        return bool(self._ask(question, "Cancel the list and close", "Keep running") != "Keep running")

    def stop(self) -> None:
        """Cancel the task without waiting for it, because the dock or napari closes."""
        self._runner.stop()

    def process_events(self) -> None:
        """Handle the events of the task since the last call."""
        for event in self._runner.poll():
            self._progress.update(event)
            self._handle(event)
        if self.busy and self._progress.share > 0:
            self._view.show_progress(self._progress.share, str(self._progress))

    def open(self, number: int) -> None:
        """Open a complete result in the viewer, or select its layer if it is open."""
        if not 0 <= number < len(self._files) or (output := self._files[number].output) is None:
            return
        layers = [layer for layer in self._viewer.layers if layer_path(layer) == output]
        if not layers:
            try:
                layers = self._viewer.open(str(output), plugin=_PLUGIN)
            except (MaskedDenoiserError, OSError) as error:
                self._view.show_error(describe_error(error))
                return
            for layer in layers:
                layer.name = f"{layer.name} denoised"
        self._viewer.layers.selection.active = layers[-1]

    def _request(self) -> BatchRequest | None:
        """Return the arguments of the task; None if the user cancels."""
        fields = self._view.fields()
        if not self._files:
            raise FormError("there are no images in the list; add or drop files or folders first")
        if not fields.folder.strip():
            raise FormError("choose a folder for the results")
        form, folder = self._form(), typed_path(fields.folder)
        if not form.model:
            raise FormError("choose a model; `masked-denoiser models import` adds one")
        pairs = plan_outputs([file.image for file in self._files], folder, fields.suffix, std=form.options.std)
        request = BatchRequest(tuple(pairs), form, fields.axes.strip().upper())
        existing, unfinished = count_existing(pairs)
        answer = self._ask_about_existing(existing, unfinished, len(pairs)) if existing else ""
        if answer == "Stop":
            return None
        make_folder(folder)
        return replace(request, resume=answer == "Resume", overwrite=answer == "Start again")

    def _ask_about_existing(self, existing: int, unfinished: int, total: int) -> str:
        """Ask what to do with existing outputs."""
        part = f", {unfinished} of them unfinished" if unfinished else ""
        question = (
            f"{existing} of {total} outputs already exist{part}. Resume keeps complete outputs and denoises the rest; "
            "Start again replaces them all."
        )
        return self._ask(question, "Resume", "Start again", "Stop") or "Stop"

    def _handle(self, event: Any) -> None:
        """Handle an event of the task."""
        match event:
            case FileBegun(number):
                self._current = number
                self._update_current(state="opening")
            case Message(text):
                self._update_current(notes=(*self._files[self._current].notes, text))
            case Progress():
                self._update_current(state=f"{event.done / max(1, event.total):.0%}".replace("%", " %"))
            case Finishing():
                self._update_current(state=str(event))
            case FileEnded(_, outcome, error):
                self._file_ended(outcome, error)
            case Summary():
                self._show_summary(event)
            case TaskEnded(error):
                self._task_ended(error)

    def _file_ended(self, outcome: Outcome, error: BaseException | None) -> None:
        if error is not None:
            if not isinstance(error, MaskedDenoiserError):
                _log.error("%s failed", outcome.pair.input, exc_info=error)
            reason = describe_error(error).removeprefix(f"{outcome.pair.input}: ")  # the row names the image
            self._update_current(state=f"failed: {reason}", failed=True)
        elif outcome.state == "cancelled":
            state = self._files[self._current].state
            self._update_current(state=f"cancelled at {state}" if state.endswith("%") else "cancelled")
        else:
            duration = f" in {readable_time(outcome.seconds)}" if outcome.state == "done" else ""
            self._update_current(state=f"{outcome.state}{duration}", output=outcome.pair.output)

    def _show_summary(self, summary: Summary) -> None:
        folder = self._pairs[0].output.parent
        self._view.show_message(f"{'Cancelled' if summary.cancelled else 'Done'}: {folder}: {summary}.")
        for file in (file for file in self._files if file.failed):
            self._view.show_error(f"{name_of(file.image)} {file.state}")
        if summary.stopped:
            self._view.show_error(f"stopped because {summary.stopped}")
        if summary.cancelled:
            self._view.show_message("Finished results are kept. Press Start with the same settings to resume.")
        self._view.show_progress(self._progress.share, "")

    def _task_ended(self, error: BaseException | None) -> None:
        self._view.set_running(False)
        if error is None:
            return
        self._view.show_progress(self._progress.share, "")
        if not isinstance(error, MaskedDenoiserError):
            _log.error("denoising the list failed", exc_info=error)
            self._update_current(state=f"failed: {describe_error(error)}", failed=True)
        self._view.show_error(describe_error(error))

    def _update_current(self, **changes: Any) -> None:
        """Update the row of the current image."""
        self._files[self._current] = replace(self._files[self._current], **changes)
        self._view.show_file(self._current, self._files[self._current])


def _normalized(image: str) -> str:
    """Return the name of an image with the path of its file normalized; the name inside of the file is no path."""
    if is_address(image):
        return image
    path, part = split_locator(image)
    return join_locator(os.path.normpath(path), part)
