"""Work in a thread of its own: a generator's events are collected there and fetched here.

Not one of napari's workers: those lose RuntimeErrors, torch's among them, cannot be waited for one by one, and send
a signal for every event. Here the window fetches what has come whenever it has time, so that events never pile up.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from masked_denoiser.denoising.events import Progress

#: Takes an event that asks it to end soon, and yields what the window should know.
Task = Callable[[threading.Event], Iterator[Any]]


@dataclass(frozen=True)
class Ended:
    """The last event of every task: it came to its end, or failed."""

    error: BaseException | None = None


class Runner:
    """Runs one task at a time. All methods are for the thread of the window."""

    def __init__(self) -> None:
        self._events: deque[Any] = deque()
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether a task is at work, or has left events that were not fetched."""
        return self._thread is not None

    def start(self, task: Task) -> None:
        """Starts a task.

        Raises:
            ValueError: if one is running.
        """
        if self.running:
            raise ValueError("a task is running already; wait for it or cancel it")
        self._cancel = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(task, self._cancel), name="masked-denoiser", daemon=True
        )
        self._thread.start()

    def poll(self) -> list[Any]:
        """The events since the last time, oldest first; of progress after progress only the last."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
        if events and isinstance(events[-1], Ended):
            self._thread = None
        return events

    def cancel(self) -> None:
        """Asks the task to end; it goes on until it has seen that."""
        self._cancel.set()

    def stop(self, seconds: float = 5.0) -> bool:
        """Cancels and waits a while; what the task still says is dropped.

        Returns:
            Whether the thread has ended.
        """
        self.cancel()
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        thread.join(seconds)
        with self._lock:
            # What comes after this goes to a mailbox that nobody reads.
            self._events = deque()
        return not thread.is_alive()

    def _run(self, task: Task, cancel: threading.Event) -> None:
        events = self._events
        try:
            with closing(_generator(task(cancel))) as said:
                for event in said:
                    self._put(events, event)
        except BaseException as error:  # whatever it is must be told in the window, not on a console
            self._put(events, Ended(error))
        else:
            self._put(events, Ended())

    def _put(self, events: deque[Any], event: Any) -> None:
        with self._lock:
            if events and isinstance(event, Progress) and isinstance(events[-1], Progress):
                events.pop()
            events.append(event)


def _generator(said: Iterator[Any]) -> Any:
    """An iterator with `close`."""
    return said if hasattr(said, "close") else (event for event in said)
