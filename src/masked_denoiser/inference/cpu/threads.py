"""Threads for batches of windows.

Batches are independent, and their operations are too small to be divided between cores, so each thread computes whole
batches with single-threaded operations.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

import torch

_LOG = logging.getLogger(__name__)

Item = TypeVar("Item")

#: Serializes the creation of pools, which changes a setting of the process for a moment.
_LOCK = threading.Lock()


def run_in_threads(function: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Call a function for all items, in as many threads as torch uses in this one, and wait for all.

    Args:
        function: called without gradients. Its first error is raised here, when no other call is running any more.
        items: arguments of the function.
    """
    count = torch.get_num_threads()
    if count == 1:
        for item in items:
            function(item)
        return
    with _LOCK:
        pool = _single_threaded_pool(count)
    if pool is None:
        for item in items:
            function(item)
        return
    futures = [pool.submit(_without_gradients, function, item) for item in items]
    finished, pending = wait(futures, return_when=FIRST_EXCEPTION)
    for future in pending:
        future.cancel()
    wait(pending)  # none may hold memory when the caller starts again with smaller batches
    for future in finished:
        future.result()


def _without_gradients(function: Callable[[Item], None], item: Item) -> None:
    with torch.inference_mode():  # a setting of each thread
        function(item)


@cache
def _single_threaded_pool(count: int) -> ThreadPoolExecutor | None:
    """Return a pool of threads in each of which torch's operations are single-threaded.

    None if the system allows no more threads, as in containers with a limit of processes.

    Torch has one default for new threads, which is 1 until the pool has started: another thread that uses torch for the
    first time in these milliseconds stays single-threaded.
    """
    started = threading.Barrier(count + 1)

    def start() -> None:
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(count, "window-batches", start)
    try:
        for _ in range(count):
            pool.submit(lambda: None)
    except RuntimeError as error:
        _LOG.info("batches of windows are computed in one thread (%s)", error)
        started.abort()  # otherwise those that have started would wait, and the process could not exit
        pool.shutdown()
        torch.set_num_threads(count)
        return None
    started.wait()
    torch.set_num_threads(count)  # also the default of new threads, which the threads of the pool have changed
    return pool
