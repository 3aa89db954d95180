"""Reading ahead and writing behind, so that the network does not wait for either.

One thread reads, one writes, and whoever iterates computes. What is in flight is bounded: a few pieces read ahead, a
few still to be written. Pieces are written in their order.
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
Given = TypeVar("Given")
Out = TypeVar("Out")
Done = TypeVar("Done")

#: Pieces that are read ahead, and that may wait to be written.
AHEAD, BEHIND = 2, 2


@dataclass
class StageTimings:
    """Where the time went, in seconds.

    Attributes:
        reading: the network waited for input.
        computing: the network computed.
        writing: the network waited for output to be written.
        reads, writes: of the two other threads in reading from and writing to the disk, whoever waited.
        device: the writing thread waited for a GPU that was still computing.
    """

    reading: float = 0.0
    computing: float = 0.0
    writing: float = 0.0
    reads: float = 0.0
    writes: float = 0.0
    device: float = 0.0

    @contextmanager
    def count(self, what: str) -> Iterator[None]:
        """Adds the time of a block to one of them; each is counted by one thread only."""
        began = time.monotonic()
        try:
            yield
        finally:
            setattr(self, what, getattr(self, what) + time.monotonic() - began)


class _UntilItFails(Generic[Item, Out, Done]):
    """A function for one thread, which does nothing more once it has raised."""

    def __init__(self, run: Callable[[Item, Out], Done]) -> None:
        self._run, self._failed = run, False

    def __call__(self, item: Item, out: Out) -> Done:
        if self._failed:
            raise CancelledError
        self._failed = True
        done = self._run(item, out)
        self._failed = False
        return done


def prefetch(
    items: Iterable[Item],
    read: Callable[[Item], Given],
    compute: Callable[[Item, Given], Out],
    write: Callable[[Item, Out], Done],
    *,
    stop: Callable[[], bool],
    waits: StageTimings,
) -> Iterator[Done]:
    """What `write` gave for each item, in their order.

    Args:
        items: taken one by one, a few ahead.
        read: called on a thread of its own.
        compute: called on the caller's thread.
        write: called on a thread of its own, for one item after the other; for none after it raised, since pieces of a
            group that lacks one are no group.
        stop: asked before each item is computed; what was computed is written all the same.
        waits: counts where the time goes.

    Raises:
        Exception: whatever one of the three raised; what was computed before is written first.
    """
    coming = iter(items)
    ahead: deque[tuple[Item, Future[Given]]] = deque()
    behind: deque[Future[Done]] = deque()
    written = _UntilItFails(write)
    reader, writer = (ThreadPoolExecutor(1, f"masked-denoiser-{name}") for name in ("reads", "writes"))
    try:
        while not stop():
            ahead.extend((item, reader.submit(read, item)) for item in islice(coming, AHEAD + 1 - len(ahead)))
            if not ahead:
                break
            item, future = ahead.popleft()
            with waits.count("reading"):
                given = future.result()
            with waits.count("computing"):
                out = compute(item, given)
            behind.append(writer.submit(written, item, out))
            while behind and (behind[0].done() or len(behind) > BEHIND):
                with waits.count("writing"):
                    done = behind[0].result()
                behind.popleft()
                yield done
        while behind:
            with waits.count("writing"):
                done = behind.popleft().result()
            yield done
    finally:
        reader.shutdown(wait=True, cancel_futures=True)
        writer.shutdown(wait=True)
