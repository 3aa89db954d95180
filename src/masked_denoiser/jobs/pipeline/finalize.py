"""The end of a job: its outputs are completed in a thread of their own, so that one can see it go on, and stop it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait

from masked_denoiser.images.writers.base import ProgressCallback
from masked_denoiser.jobs.pipeline.events import Finishing

#: Seconds between two looks.
_LOOK = 0.3


class _Stopped(Exception):  # noqa: N818 (it is no error)
    """On request."""


def run_finalization(
    finish: Callable[[ProgressCallback], object], cancel: threading.Event
) -> Generator[Finishing, None, bool]:
    """Completes an output, and says a few times a second how far that is.

    Whoever closes the generator early waits until it has stopped.

    Args:
        finish: does it, and stops where what it is given raises.
        cancel: set it from any thread to stop.

    Returns:
        Whether it is complete.
    """
    share, left = 0.0, threading.Event()

    def follow(done: float) -> None:
        nonlocal share
        share = done
        if cancel.is_set() or left.is_set():
            raise _Stopped

    yield Finishing()
    with ThreadPoolExecutor(1, thread_name_prefix="finishing") as pool:
        ending = pool.submit(finish, follow)
        try:
            while not wait([ending], _LOOK).done:
                yield Finishing(share)
        finally:
            left.set()
    try:
        ending.result()
    except _Stopped:
        return False
    return True
