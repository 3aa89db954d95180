"""Completion of the outputs of a job in a separate thread, with progress and cancellation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait

from masked_denoiser.images.writers.base import ProgressCallback
from masked_denoiser.jobs.pipeline.events import Finishing

#: Seconds between two reports of the progress.
_REPORT_SECONDS = 0.3


class _Cancelled(Exception):  # noqa: N818 (it is not an error)
    """Raised in the thread to cancel the completion."""


def run_finalization(
    finish: Callable[[ProgressCallback], object], cancel: threading.Event
) -> Generator[Finishing, None, bool]:
    """Complete an output, and yield its progress several times a second.

    Closing the generator early cancels the completion and waits for its end.

    Args:
        finish: completes the output; it reports to its callback, and stops if that raises.
        cancel: set from any thread to cancel.

    Returns:
        Whether the output is complete.
    """
    share, closed = 0.0, threading.Event()

    def progress(done: float) -> None:
        nonlocal share
        share = done
        if cancel.is_set() or closed.is_set():
            raise _Cancelled

    yield Finishing()
    with ThreadPoolExecutor(1, thread_name_prefix="finishing") as pool:
        future = pool.submit(finish, progress)
        try:
            while not wait([future], _REPORT_SECONDS).done:
                yield Finishing(share)
        finally:
            closed.set()
    try:
        future.result()
    except _Cancelled:
        return False
    return True
