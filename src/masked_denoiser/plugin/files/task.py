"""Background task of the Files tab, and its progress; without Qt and napari."""

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
from masked_denoiser.jobs.batch.run import FileEnded, FileReady, run_batch
from masked_denoiser.jobs.pipeline.events import Progress, TileDone
from masked_denoiser.messages import readable_time
from masked_denoiser.plugin.denoise.form import Form

#: Share of the work below which the time left is not estimated.
_MIN_ESTIMATE_SHARE = 0.005


@dataclass(frozen=True)
class BatchRequest:
    """Arguments of the background task: a list of images.

    Attributes:
        pairs: images and outputs.
        form: model, device, scheduler and options; its other fields are ignored.
        axes: axes of images whose files do not name them; "" for none.
        resume, overwrite: what to do with outputs that exist.
    """

    pairs: tuple[Pair, ...]
    form: Form
    axes: str = ""
    resume: bool = False
    overwrite: bool = False


def denoise_files(request: BatchRequest, cancel: threading.Event) -> Iterator[Any]:
    """Denoise a list of images.

    Yields:
        The events of `run_batch` without pixels and pipelines, which would stay in memory until they are polled.

    Raises:
        MaskedDenoiserError: before the first image, if the settings are invalid for every image.
    """
    from masked_denoiser.images.open import open_image
    from masked_denoiser.jobs.executor import open_executor

    form = request.form
    with open_executor(form.scheduler or None) as executor:
        preparer = Preparer(
            form.model,
            form.options,
            form.device,
            request.resume,
            request.overwrite,
            partial(open_image, axes=request.axes or None),
            executor,
        )
        preparer.check()
        with closing(cast("Generator[Any]", run_batch(request.pairs, preparer, cancel))) as events:
            for event in events:
                if isinstance(event, TileDone):
                    yield event.progress
                elif not isinstance(event, FileReady):
                    yield event


class BatchProgress:
    """Progress of a list: finished images, and the finished tiles of the current one.

    What was done before this run, and images that failed before their first tile, count as progress but not in the
    estimate of the time left.

    Args:
        total: number of images.
        clock: monotonic clock in seconds.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock, self._start = total, clock, clock()
        self._finished, self._processed = 0, 0.0
        self._current = 0.0
        self._earlier: float | None = None  # share of the current image that an earlier run did; None before tiles
        self._pixels = self._finished_pixels = 0

    def update(self, event: Any) -> None:
        """Update the progress with an event of `denoise_files`."""
        match event:
            case Progress():
                self._current = event.done / max(1, event.total)
                if self._earlier is None:
                    self._earlier = 0.0 if event.pixels else self._current
                self._pixels = self._finished_pixels + event.pixels
            case FileEnded():
                self._current = 1.0 if event.outcome.state == "done" else self._current
                self._processed += self._current_processed
                self._finished += 1
                self._current, self._earlier, self._finished_pixels = 0.0, None, self._pixels

    @property
    def share(self) -> float:
        """Finished share of the list, 0 to 1."""
        return (self._finished + self._current) / max(1, self._total)

    @property
    def _current_processed(self) -> float:
        """Share of the current image that this run has processed, 0 to 1."""
        return self._current - (self._earlier or 0.0)

    @property
    def seconds_left(self) -> float | None:
        """Estimated time left in seconds, from the images so far; None at the start."""
        processed = self._processed + self._current_processed
        left = self._total - self._finished - self._current
        if processed <= _MIN_ESTIMATE_SHARE * self._total:
            return None
        return (self._clock() - self._start) / processed * left

    def __str__(self) -> str:
        seconds, left = self._clock() - self._start, self.seconds_left
        rate = f", {self._pixels / 1e6 / seconds:.3g} megapixels/s" if self._pixels and seconds > 0 else ""
        estimate = f", about {readable_time(left)} left" if left else ""
        return f"{self._finished} of {self._total} files{rate}{estimate}"


def count_existing(pairs: Sequence[Pair]) -> tuple[int, int]:
    """Return how many outputs exist, and how many of these are unfinished."""
    from masked_denoiser.jobs.storage.journal import Journal

    unfinished = [Journal.path_for(pair.output).exists() for pair in pairs]
    existing = [journal or pair.output.exists() for journal, pair in zip(unfinished, pairs, strict=True)]
    return sum(existing), sum(unfinished)
