"""Functions mapped over items in threads, for array operations that release Python's global lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Most threads: the arrays of all of them are in memory at the same time.
_MAX_THREADS = 8


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return the results of a function for all items, in their order.

    Args:
        function: called in several threads at a time; its errors are raised here.
        items: arguments of the function.
    """
    threads = min(len(items), _MAX_THREADS, os.cpu_count() or 1)
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads, thread_name_prefix="masked-denoiser-map") as pool:
        return list(pool.map(function, items))
