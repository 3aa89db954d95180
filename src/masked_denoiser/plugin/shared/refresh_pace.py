"""Pace of the updates of a layer, so that drawing takes a small share of the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Shortest pause between two refreshes of a layer in seconds.
_MIN_PAUSE = 0.25

#: Shortest pause as a multiple of the duration of a refresh.
_PAUSE_FACTOR = 4.0


class RefreshPace:
    """Pace of at most four refreshes a second, and fewer if they are slow."""

    def __init__(self) -> None:
        self._next = 0.0

    def is_due(self) -> bool:
        """Return whether the pause after the last refresh is over."""
        return time.monotonic() >= self._next

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure the duration of a refresh, after which the next pause begins."""
        started = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + max(_MIN_PAUSE, _PAUSE_FACTOR * (ended - started))
