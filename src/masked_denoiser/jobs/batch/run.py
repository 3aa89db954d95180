"""Sequential denoising of a list of images; an image that fails is reported and does not stop the others."""

from __future__ import annotations

import errno
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from masked_denoiser.errors import MaskedDenoiserError, one_line
from masked_denoiser.jobs.batch.outputs import Pair
from masked_denoiser.jobs.pipeline.events import Event, Finished
from masked_denoiser.messages import Message

if TYPE_CHECKING:
    from masked_denoiser.jobs.cluster.driver import ClusterPipeline
    from masked_denoiser.jobs.pipeline.pipeline import Pipeline
    from masked_denoiser.jobs.prepare import Prepared

#: State of an image of a list.
ImageState = Literal["done", "already complete", "failed", "cancelled", "not begun"]

_STATES: tuple[ImageState, ...] = ("done", "already complete", "failed", "cancelled", "not begun")

#: Errors whose message alone is reported, as in `cli.main`.
_EXPECTED = (MaskedDenoiserError, OSError, MemoryError)

#: Errors of a device, a decoder or a defect of this program; they must not cost the hours of work on other images.
_UNEXPECTED = (
    RuntimeError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError, ImportError,
)  # fmt: skip

#: Values of `errno` if the disk is full, so that the next image would fail too.
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Outcome:
    """Result of an image of a list.

    Attributes:
        pair: the image and its output.
        state: how its job ended.
        reason: why it failed, in one line that does not repeat the name of the image.
        seconds: duration.
        damage: damaged regions of the image that were skipped, on request.
    """

    pair: Pair
    state: ImageState = "not begun"
    reason: str = ""
    seconds: float = 0.0
    damage: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileBegun:
    """Event before an image is opened; `number` counts from 0."""

    number: int
    total: int
    pair: Pair


@dataclass(frozen=True, eq=False)
class FileReady:
    """Event before the first tile, when the job of an image is resolved."""

    number: int
    pipeline: Pipeline | ClusterPipeline


@dataclass(frozen=True, eq=False)
class FileEnded:
    """Event after an image; `error` is the reason if it failed."""

    number: int
    outcome: Outcome
    error: BaseException | None = None


@dataclass(frozen=True)
class Summary:
    """Last event of a list.

    Attributes:
        outcomes: results of all images, in order.
        stopped: why the list ended early; empty if it did not, or was cancelled.
    """

    outcomes: tuple[Outcome, ...]
    stopped: str = ""

    def of(self, state: ImageState) -> list[Outcome]:
        """Return the results with a state."""
        return [outcome for outcome in self.outcomes if outcome.state == state]

    @property
    def cancelled(self) -> bool:
        """Whether the list was cancelled."""
        return not self.stopped and bool(self.of("cancelled") or self.of("not begun"))

    def __str__(self) -> str:
        counts = Counter(outcome.state for outcome in self.outcomes)
        return ", ".join(f"{counts[state]} {state}" for state in _STATES if counts[state] or state == "done")


BatchEvent = Event | FileBegun | FileReady | FileEnded | Summary

#: Function that opens an image and resolves its job; the image is open within the `with` block.
Prepare = Callable[[Pair], "AbstractContextManager[Prepared[Any]]"]


def run_batch(pairs: Sequence[Pair], prepare: Prepare, cancel: threading.Event) -> Iterator[BatchEvent]:
    """Denoise images one after the other.

    A full disk ends the list, since all further images would fail too.

    Args:
        pairs: images and their outputs.
        prepare: function that prepares the job of an image, such as a `Preparer`.
        cancel: event that stops the current image between two batches of tiles; it may be set from any thread.

    Yields:
        For each image `FileBegun`, the events of its job with a `FileReady` before the first tile, and `FileEnded`;
        finally a `Summary`.
    """
    outcomes, stopped = [Outcome(pair) for pair in pairs], ""
    for number, pair in enumerate(pairs):
        if cancel.is_set() or stopped:
            break
        yield FileBegun(number, len(pairs), pair)
        ended = yield from _run_one(number, pair, prepare, cancel)
        outcomes[number] = ended.outcome
        yield ended
        if _is_disk_full(ended.error):
            stopped = f"the disk is full, so the images after {pair.input} would fail too; free space, then resume"
    yield Summary(tuple(outcomes), stopped)


def _run_one(
    number: int, pair: Pair, prepare: Prepare, cancel: threading.Event
) -> Generator[Event | FileReady, None, FileEnded]:
    from masked_denoiser.errors import AlreadyCompleteError

    start, finished, error = time.monotonic(), None, None
    try:
        with prepare(pair) as prepared:
            yield from map(Message, prepared.messages)
            yield FileReady(number, prepared.pipeline)
            with closing(cast("Generator[Event]", prepared.pipeline.run(cancel))) as events:
                for event in events:
                    finished = event if isinstance(event, Finished) else finished
                    yield event
    except (*_EXPECTED, *_UNEXPECTED) as raised:
        error = raised
    state: ImageState = "done" if finished else "cancelled"
    if error is not None:
        state = "already complete" if isinstance(error, AlreadyCompleteError) else "failed"
    reason = _reason(error).removeprefix(f"{pair.input}: ") if error is not None and state == "failed" else ""
    outcome = Outcome(pair, state, reason, time.monotonic() - start, finished.damage if finished else ())
    return FileEnded(number, outcome, error if state == "failed" else None)


def _reason(error: BaseException) -> str:
    """Return the message of an error in one line; with its type if it is unexpected."""
    return one_line(error) if isinstance(error, _EXPECTED) else f"unexpected {type(error).__name__}: {one_line(error)}"


def _is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or one of its causes, is that of a full disk."""
    while error is not None:
        if getattr(error, "errno", None) in _DISK_FULL:
            return True
        error = error.__cause__
    return False
