"""Runs one job after the other: an image that cannot be denoised is told of and does not stop the others."""

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

#: What became of an image of a list.
ImageState = Literal["done", "already complete", "failed", "cancelled", "not begun"]

_STATES: tuple[ImageState, ...] = ("done", "already complete", "failed", "cancelled", "not begun")

#: Errors that are told as they are. As in `cli.main`.
_TOLD = (MaskedDenoiserError, OSError, MemoryError)

#: What a device, a decoder or a defect of ours raises. Hours of other images must not wait for its mend.
_UNEXPECTED = (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError)

#: Errors of a disk that has no room for the next image either.
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Outcome:
    """What became of an image.

    Attributes:
        pair: the image and its output.
        state: in a word or two.
        reason: why it failed, in one line that need not name the image again.
        seconds: what it took.
        damage: places of the image that could not be read and were passed through, as was asked for.
    """

    pair: Pair
    state: ImageState = "not begun"
    reason: str = ""
    seconds: float = 0.0
    damage: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileBegun:
    """An image is opened: number `number`, from 0, of `total`."""

    number: int
    total: int
    pair: Pair


@dataclass(frozen=True, eq=False)
class FileReady:
    """An image's job is settled and will run now."""

    number: int
    pipeline: Pipeline | ClusterPipeline


@dataclass(frozen=True, eq=False)
class FileEnded:
    """An image is done with; `error` is what made it fail."""

    number: int
    outcome: Outcome
    error: BaseException | None = None


@dataclass(frozen=True)
class Summary:
    """The last event of a list.

    Attributes:
        outcomes: of all images, in order.
        stopped: why the list was stopped before its end, if no cancel did.
    """

    outcomes: tuple[Outcome, ...]
    stopped: str = ""

    def of(self, state: ImageState) -> list[Outcome]:
        """The images of which this became."""
        return [outcome for outcome in self.outcomes if outcome.state == state]

    @property
    def cancelled(self) -> bool:
        """Whether a cancel ended the list early."""
        return not self.stopped and bool(self.of("cancelled") or self.of("not begun"))

    def __str__(self) -> str:
        counts = Counter(outcome.state for outcome in self.outcomes)
        return ", ".join(f"{counts[state]} {state}" for state in _STATES if counts[state] or state == "done")


BatchEvent = Event | FileBegun | FileReady | FileEnded | Summary

#: Opens an image and settles its job; the image is open inside of `with`.
Prepare = Callable[[Pair], "AbstractContextManager[Prepared[Any]]"]


def run_batch(pairs: Sequence[Pair], prepare: Prepare, cancel: threading.Event) -> Iterator[BatchEvent]:
    """Denoises images one after the other.

    A full disk ends the list, since every further image would fail, too.

    Args:
        pairs: images and outputs.
        prepare: opens one of them, such as a `Preparer`.
        cancel: set it from any thread to stop within the image in work, between two batches of tiles.

    Yields:
        For each image `FileBegun`, the events of its job with a `FileReady` before the first tile, and `FileEnded`; in
        the end a `Summary`.
    """
    outcomes, stopped = [Outcome(pair) for pair in pairs], ""
    for number, pair in enumerate(pairs):
        if cancel.is_set() or stopped:
            break
        yield FileBegun(number, len(pairs), pair)
        ended = yield from _run_one(number, pair, prepare, cancel)
        outcomes[number] = ended.outcome
        yield ended
        if _is_full(ended.error):
            stopped = (
                f"the disk is full, so that the images after {pair.input} would fail as well; free space and go on"
            )
    yield Summary(tuple(outcomes), stopped)


def _run_one(
    number: int, pair: Pair, prepare: Prepare, cancel: threading.Event
) -> Generator[Event | FileReady, None, FileEnded]:
    from masked_denoiser.errors import AlreadyCompleteError

    began, finished, error = time.monotonic(), None, None
    try:
        with prepare(pair) as prepared:
            prepared.pipeline.cancel = cancel
            yield from map(Message, prepared.messages)
            yield FileReady(number, prepared.pipeline)
            with closing(cast("Generator[Event]", prepared.pipeline.run())) as events:
                for event in events:
                    finished = event if isinstance(event, Finished) else finished
                    yield event
    except (*_TOLD, *_UNEXPECTED) as raised:
        error = raised
    state: ImageState = "done" if finished else "cancelled"
    if error is not None:
        state = "already complete" if isinstance(error, AlreadyCompleteError) else "failed"
    reason = _reason(error).removeprefix(f"{pair.input}: ") if error is not None and state == "failed" else ""
    outcome = Outcome(pair, state, reason, time.monotonic() - began, finished.damage if finished else ())
    return FileEnded(number, outcome, error if state == "failed" else None)


def _reason(error: BaseException) -> str:
    """What went wrong, in one line; of what nobody expected, the kind as well."""
    return one_line(error) if isinstance(error, _TOLD) else f"unexpected {type(error).__name__}: {one_line(error)}"


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is what made it fail, or what was raised for that."""
    while error is not None:
        if getattr(error, "errno", None) in _FULL:
            return True
        error = error.__cause__
    return False
