"""Work in a thread of its own: a generator's events are collected there and fetched here.

Not one of napari's workers: those lose RuntimeErrors, torch's among them, cannot be waited for one by one, and send
a signal for every event. Here the window fetches what has come whenever it has time, so that events never pile up.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from masked_denoiser.jobs.pipeline.events import Progress

#: Threads at work, and what asks them to end: a process that exits under torch's feet may crash.
_at_work: dict[threading.Thread, threading.Event] = {}

#: Takes an event that asks it to end soon, and yields what the window should know.
Task = Callable[[threading.Event], Iterator[Any]]


@dataclass(frozen=True)
class Ended:
    """The last event of every task: it came to its end, or failed."""

    error: BaseException | None = None


class TaskRunner:
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
        _at_work[self._thread] = self._cancel
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

    def stop(self, seconds: float = 0.2) -> bool:
        """Cancels and waits a moment; what the task still says is dropped. The process waits for it at its end.

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
        finally:
            _at_work.pop(threading.current_thread(), None)

    def _put(self, events: deque[Any], event: Any) -> None:
        with self._lock:
            if events and isinstance(event, Progress) and isinstance(events[-1], Progress):
                events.pop()
            events.append(event)


@atexit.register
def _end_all(seconds: float = 10.0) -> None:
    """Lets every task end after the tile in work."""
    left = list(_at_work.items())
    for _, cancel in left:
        cancel.set()
    for thread, _ in left:
        thread.join(seconds)


def _generator(said: Iterator[Any]) -> Any:
    """An iterator with `close`."""
    return said if hasattr(said, "close") else (event for event in said)
