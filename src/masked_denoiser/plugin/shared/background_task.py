"""Background task: a generator that runs in a thread, and whose events the GUI thread polls.

napari's own workers do not fit: they lose RuntimeErrors, including those of torch, cannot be joined individually, and
emit a signal for every event. Here the GUI thread polls when it has time, so that events never pile up.
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

#: Running threads and their cancel events, to join at exit: a process that exits while torch computes may crash.
_running_threads: dict[threading.Thread, threading.Event] = {}

#: Task: takes the event that cancels it, and yields events for the GUI.
Task = Callable[[threading.Event], Iterator[Any]]


@dataclass(frozen=True)
class TaskEnded:
    """Last event of every task.

    Attributes:
        error: the exception that ended it; None after success.
    """

    error: BaseException | None = None


class TaskRunner:
    """Runner of one background task at a time. All methods must be called from the GUI thread."""

    def __init__(self) -> None:
        self._events: deque[Any] = deque()
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether a task is running, or has events that were not polled yet."""
        return self._thread is not None

    def start(self, task: Task) -> None:
        """Start a task.

        Raises:
            ValueError: if one is running.
        """
        if self.running:
            raise ValueError("a task is running already; wait for it or cancel it")
        self._cancel = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(task, self._cancel), name="masked-denoiser", daemon=True
        )
        _running_threads[self._thread] = self._cancel
        self._thread.start()

    def poll(self) -> list[Any]:
        """Return the events since the last poll, oldest first; of consecutive `Progress` events only the last."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
        if events and isinstance(events[-1], TaskEnded):
            self._thread = None
        return events

    def cancel(self) -> None:
        """Request the end of the task; it runs until it checks for the request."""
        self._cancel.set()

    def stop(self, seconds: float = 0.2) -> bool:
        """Cancel the task, wait briefly, and drop its further events. The process joins the thread at exit.

        Args:
            seconds: longest time to wait.

        Returns:
            Whether the thread has ended.
        """
        self.cancel()
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        thread.join(seconds)
        with self._lock:
            # Later events of the thread go to the old deque, which nobody polls.
            self._events = deque()
        return not thread.is_alive()

    def _run(self, task: Task, cancel: threading.Event) -> None:
        events = self._events
        try:
            with closing(_closable(task(cancel))) as task_events:
                for event in task_events:
                    self._put(events, event)
        except BaseException as error:  # the GUI must show every error; nobody sees the console
            self._put(events, TaskEnded(error))
        else:
            self._put(events, TaskEnded())
        finally:
            _running_threads.pop(threading.current_thread(), None)

    def _put(self, events: deque[Any], event: Any) -> None:
        with self._lock:
            if events and isinstance(event, Progress) and isinstance(events[-1], Progress):
                events.pop()
            events.append(event)


@atexit.register
def _stop_all(seconds: float = 10.0) -> None:
    """Cancel all tasks and join their threads at exit."""
    running = list(_running_threads.items())
    for _, cancel in running:
        cancel.set()
    for thread, _ in running:
        thread.join(seconds)


def _closable(events: Iterator[Any]) -> Any:
    """Return the iterator, wrapped in a generator if it has no `close`."""
    return events if hasattr(events, "close") else (event for event in events)
