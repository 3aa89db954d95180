"""Reading ahead and writing behind, so that the network waits for neither.

One thread reads, one writes, and the caller's thread computes. The number of items in flight is bounded, and items are
written in their order.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Computed = TypeVar("Computed")
Written = TypeVar("Written")

#: Numbers of items that are read ahead, and that may wait to be written.
READ_AHEAD, WRITE_BEHIND = 2, 2


@dataclass
class StageTimings:
    """Times of the stages of a job, in seconds.

    Attributes:
        reading: the network waited for input.
        computing: the network computed.
        writing: the network waited for output to be written.
        reads, writes: the other two threads read from and wrote to the disk, whether or not the network waited.
        device: the writing thread waited for a GPU that was still computing.
    """

    reading: float = 0.0
    computing: float = 0.0
    writing: float = 0.0
    reads: float = 0.0
    writes: float = 0.0
    device: float = 0.0

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the duration of a `with` block to a stage; each stage is measured by one thread only."""
        start = time.monotonic()
        try:
            yield
        finally:
            setattr(self, stage, getattr(self, stage) + time.monotonic() - start)


class _StopAfterFailure(Generic[Item, Computed, Written]):
    """Function for one thread that is not called again after it has raised."""

    def __init__(self, function: Callable[[Item, Computed], Written]) -> None:
        self._function, self._failed = function, False

    def __call__(self, item: Item, computed: Computed) -> Written:
        if self._failed:
            raise CancelledError
        self._failed = True
        written = self._function(item, computed)
        self._failed = False
        return written


def prefetch(
    items: Iterable[Item],
    read: Callable[[Item], Loaded],
    compute: Callable[[Item, Loaded], Computed],
    write: Callable[[Item, Computed], Written],
    *,
    stop: Callable[[], bool],
    timings: StageTimings,
) -> Iterator[Written]:
    """Yield the result of `write` for each item, in their order.

    Args:
        items: iterated lazily, a few items ahead.
        read: called on a separate thread.
        compute: called on the caller's thread.
        write: called on a separate thread, for one item after another, and not again after it has raised, since a group
            of tiles that lacks one must not be written.
        stop: called before each item is computed; if it returns True, only the items already computed are written.
        timings: receives the times of the stages.

    Raises:
        Exception: any exception of the three functions; the items computed before are written first.
    """
    iterator = iter(items)
    ahead: deque[tuple[Item, Future[Loaded]]] = deque()
    behind: deque[Future[Written]] = deque()
    guarded_write = _StopAfterFailure(write)
    reader, writer = (ThreadPoolExecutor(1, f"masked-denoiser-{name}") for name in ("reads", "writes"))
    try:
        while not stop():
            ahead.extend((item, reader.submit(read, item)) for item in islice(iterator, READ_AHEAD + 1 - len(ahead)))
            if not ahead:
                break
            item, future = ahead.popleft()
            with timings.measure("reading"):
                loaded = future.result()
            with timings.measure("computing"):
                computed = compute(item, loaded)
            behind.append(writer.submit(guarded_write, item, computed))
            while behind and (behind[0].done() or len(behind) > WRITE_BEHIND):
                with timings.measure("writing"):
                    written = behind[0].result()
                behind.popleft()
                yield written
        while behind:
            with timings.measure("writing"):
                written = behind.popleft().result()
            yield written
    finally:
        reader.shutdown(wait=True, cancel_futures=True)
        writer.shutdown(wait=True)
