"""What the worker does for the Files tab, and how far it is. No Qt and no napari here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from masked_denoiser.jobs.batch.outputs import Pair
from masked_denoiser.jobs.batch.prepare import Preparer
from masked_denoiser.jobs.batch.run import FileBegun, FileEnded, FileReady, run_batch
from masked_denoiser.jobs.pipeline.events import Progress, TileDone
from masked_denoiser.messages import readable_time
from masked_denoiser.plugin.denoise.form import Form

#: Before this share of the work is done, nobody knows how long the rest takes.
_KNOWN = 0.005


@dataclass(frozen=True)
class ListRequest:
    """A list for the worker.

    Attributes:
        pairs: images and outputs.
        form: model, device and settings; its layer, axes and output are not looked at.
        axes: of the images, where their files do not name them; empty for none.
        resume, overwrite: what to do with outputs that exist.
    """

    pairs: tuple[Pair, ...]
    form: Form
    axes: str = ""
    resume: bool = False
    overwrite: bool = False


def denoise_files(request: ListRequest, cancel: threading.Event) -> Iterator[Any]:
    """Denoises a list.

    Yields:
        The events of `run_batch` without pixels and pipelines: they may wait for the window.

    Raises:
        MaskedDenoiserError: before any work, for settings that no image of the list could mend.
    """
    from masked_denoiser.images.open import open_image
    from masked_denoiser.jobs.executor import open_executor
    from masked_denoiser.jobs.spec.options import Options

    form = request.form
    with open_executor(form.scheduler or None) as computing:
        preparer = Preparer(
            form.model,
            Options(**form.settings()),
            form.device,
            request.resume,
            request.overwrite,
            partial(open_image, axes=request.axes or None),
            computing,
        )
        preparer.check()
        with closing(cast("Generator[Any]", run_batch(request.pairs, preparer, cancel))) as events:
            for event in events:
                if isinstance(event, TileDone):
                    yield event.progress
                elif not isinstance(event, FileReady):
                    yield event


class Overall:
    """How far a list is: an image that is done with counts whole, the one in work by its tiles.

    Images that were complete before count for the bar and not for the time that is left.

    Args:
        total: images of the list.
        clock: seconds that pass.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock, self._began = total, clock, clock()
        self._ended = self._worked = 0
        self._now = 0.0
        self._pixels = self._earlier = 0

    def take(self, event: Any) -> None:
        """Takes an event into account."""
        match event:
            case FileBegun():
                self._now = 0.0
            case Progress():
                self._now = event.done / max(1, event.total)
                self._pixels = self._earlier + event.pixels
            case FileEnded():
                self._ended += 1
                self._worked += event.outcome.state != "already complete"
                self._now, self._earlier = 0.0, self._pixels

    @property
    def share(self) -> float:
        """Of all images, 0 to 1."""
        return (self._ended + self._now) / max(1, self._total)

    @property
    def seconds_left(self) -> float | None:
        """As long as the images so far took; None while nobody knows."""
        worked = self._worked + self._now
        left = self._total - self._ended - self._now
        return (self._clock() - self._began) / worked * left if worked > _KNOWN * self._total else None

    def __str__(self) -> str:
        seconds, left = self._clock() - self._began, self.seconds_left
        rate = f", {self._pixels / 1e6 / seconds:.3g} megapixels/s" if self._pixels and seconds > 0 else ""
        return f"{self._ended} of {self._total} files{rate}" + (f", about {readable_time(left)} left" if left else "")


def count_existing(pairs: Sequence[Pair]) -> tuple[int, int]:
    """How many outputs are there already, and how many of these are unfinished."""
    from masked_denoiser.jobs.storage.journal import Journal

    unfinished = [Journal.beside(pair.output).exists() for pair in pairs]
    there = [begun or pair.output.exists() for begun, pair in zip(unfinished, pairs, strict=True)]
    return sum(there), sum(unfinished)
