"""The Files tab's logic: a list of images, denoised one after the other into a folder. It knows no Qt."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from masked_denoiser.errors import FormError, MaskedDenoiserError
from masked_denoiser.images.discovery import find_images, name_of
from masked_denoiser.jobs.batch.outputs import Pair, make_folder, plan_outputs
from masked_denoiser.jobs.batch.run import FileBegun, FileEnded, Outcome, Summary
from masked_denoiser.jobs.pipeline.events import Finishing, Progress
from masked_denoiser.messages import Message, readable_time
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.files.task import ListRequest, Overall, count_existing, denoise_files
from masked_denoiser.plugin.files.view import FilesView, Row
from masked_denoiser.plugin.layers.source import layer_path
from masked_denoiser.plugin.shared.background_task import Ended, TaskRunner
from masked_denoiser.plugin.shared.wording import explain

_log = logging.getLogger(__name__)

_READER = "napari-masked-denoiser"


class FilesPresenter:
    """Holds the list and its worker together. `tick` is to be called some twenty times a second while `busy`.

    Args:
        viewer: where results are opened.
        view: the tab.
        form: gives the dock's settings; raises FormError.
        ask: asks the user with the choices that are given, and returns one of them.
    """

    def __init__(self, viewer: Any, view: FilesView, form: Callable[[], Form], ask: Callable[..., str]) -> None:
        self._viewer, self._view, self._form, self._ask = viewer, view, form, ask
        self._runner = TaskRunner()
        self._rows: list[Row] = []
        self._pairs: tuple[Pair, ...] = ()
        self._overall = Overall(0)
        self._now = 0

    @property
    def busy(self) -> bool:
        """Whether there is anything to wait for."""
        return self._runner.running

    def add(self, paths: Sequence[str]) -> None:
        """Adds files, and the images of folders; what is none is told of."""
        if self.busy:
            return
        images = [row.image for row in self._rows]
        for path in paths:
            try:
                images += map(os.path.normpath, find_images([path]))
            except MaskedDenoiserError as error:
                self._view.fail(explain(error))
        self._rows += [Row(image) for image in list(dict.fromkeys(images))[len(self._rows) :]]
        self._view.show_rows(self._rows)
        if self._rows:
            self._view.suggest_folder(str(Path(self._rows[0].image).resolve().parent / "denoised"))

    def remove(self, numbers: Collection[int]) -> None:
        """Takes lines out of the list; no file is touched."""
        if not self.busy:
            self._rows = [row for number, row in enumerate(self._rows) if number not in numbers]
            self._view.show_rows(self._rows)

    def start(self) -> None:
        """Denoises the list."""
        if self.busy:
            return
        try:
            request = self._request()
        except MaskedDenoiserError as error:
            self._view.fail(explain(error))
            return
        if request is None:
            self._view.say("Nothing was done.")
            return
        self._pairs, self._overall = request.pairs, Overall(len(request.pairs))
        self._rows = [Row(row.image) for row in self._rows]
        self._view.show_rows(self._rows)
        self._view.set_running(True)
        self._view.show_progress(None, "loading the model")
        self._runner.start(partial(denoise_files, request))
        self._view.wake()

    def cancel(self) -> None:
        """Ends the list after the tile in work."""
        if self.busy:
            self._view.say("cancelling after the tile in work")
            self._runner.cancel()

    def stop(self) -> None:
        """Ends all work after the tile in work, without waiting for it: the dock or napari closes."""
        self._runner.stop()

    def tick(self) -> None:
        """Takes over what the worker has said."""
        for event in self._runner.poll():
            self._overall.take(event)
            self._take(event)
        if self.busy and self._overall.share > 0:
            self._view.show_progress(self._overall.share, str(self._overall))

    def open(self, number: int) -> None:
        """Shows a complete result in the viewer, as a layer of its own."""
        if not 0 <= number < len(self._rows) or (output := self._rows[number].output) is None:
            return
        shown = [layer for layer in self._viewer.layers if layer_path(layer) == output]
        if not shown:
            try:
                shown = self._viewer.open(str(output), plugin=_READER)
            except (MaskedDenoiserError, OSError) as error:
                self._view.fail(explain(error))
                return
            for layer in shown:
                layer.name = f"{layer.name} denoised"
        self._viewer.layers.selection.active = shown[-1]

    def _request(self) -> ListRequest | None:
        """What to do; None if the user thought better of it."""
        wishes = self._view.wishes()
        if not self._rows:
            raise FormError("there are no images in the list; add or drop files or folders first")
        if not wishes.folder.strip():
            raise FormError("choose a folder for the results")
        form, folder = self._form(), Path(wishes.folder.strip()).expanduser()
        if not form.model:
            raise FormError("choose a model; `masked-denoiser models import` adds one")
        pairs = plan_outputs([row.image for row in self._rows], folder, wishes.ending, std=form.std)
        request = ListRequest(tuple(pairs), form, wishes.axes.strip().upper())
        there, unfinished = count_existing(pairs)
        answer = self._existing(there, unfinished, len(pairs)) if there else ""
        if answer == "Stop":
            return None
        make_folder(folder)
        return replace(request, resume=answer == "Go on", overwrite=answer == "Start again")

    def _existing(self, there: int, unfinished: int, total: int) -> str:
        """Asks what to do with outputs that are there already."""
        begun = f", {unfinished} of them unfinished" if unfinished else ""
        question = (
            f"{there} of {total} outputs are there already{begun}. Go on keeps what is complete and does the rest; "
            "start again replaces them all."
        )
        return self._ask(question, "Go on", "Start again", "Stop") or "Stop"

    def _take(self, event: Any) -> None:
        """One event of the worker."""
        match event:
            case FileBegun(number):
                self._now = number
                self._show(state="opening")
            case Message(text):
                self._show(notes=(*self._rows[self._now].notes, text))
            case Progress():
                self._show(state=f"{event.done / max(1, event.total):.0%}".replace("%", " %"))
            case Finishing():
                self._show(state=str(event))
            case FileEnded(_, outcome, error):
                self._file_ended(outcome, error)
            case Summary():
                self._summarise(event)
            case Ended(error):
                self._ended(error)

    def _file_ended(self, outcome: Outcome, error: BaseException | None) -> None:
        if error is not None:
            if not isinstance(error, MaskedDenoiserError):
                _log.error("%s failed", outcome.pair.input, exc_info=error)
            reason = explain(error).removeprefix(f"{outcome.pair.input}: ")  # which image, the line says itself
            self._show(state=f"failed: {reason}", failed=True)
        elif outcome.state == "cancelled":
            state = self._rows[self._now].state
            self._show(state=f"cancelled at {state}" if state.endswith("%") else "cancelled")
        else:
            took = f" in {readable_time(outcome.seconds)}" if outcome.state == "done" else ""
            self._show(state=f"{outcome.state}{took}", output=outcome.pair.output)

    def _summarise(self, summary: Summary) -> None:
        folder = self._pairs[0].output.parent
        self._view.say(f"{'Cancelled' if summary.cancelled else 'Done'}: {folder}: {summary}.")
        for one in (one for one in self._rows if one.failed):
            self._view.fail(f"{name_of(one.image)} {one.state}")
        if summary.stopped:
            self._view.fail(f"stopped, because {summary.stopped}")
        if summary.cancelled:
            self._view.say("What is done is kept. Press Start with the same settings to go on.")
        self._view.show_progress(self._overall.share, "")

    def _ended(self, error: BaseException | None) -> None:
        self._view.set_running(False)
        if error is None:
            return
        self._view.show_progress(self._overall.share, "")
        if not isinstance(error, MaskedDenoiserError):
            _log.error("a list of the dock failed", exc_info=error)
            self._show(state=f"failed: {explain(error)}", failed=True)
        self._view.fail(explain(error))

    def _show(self, **changes: Any) -> None:
        """Changes the line in work."""
        self._rows[self._now] = replace(self._rows[self._now], **changes)
        self._view.show_row(self._now, self._rows[self._now])
