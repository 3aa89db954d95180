"""Normalization of indices into lazy arrays."""

from __future__ import annotations

from typing import Any


def full_index(key: Any, ndim: int) -> tuple[Any, ...]:
    """Return an index with one entry per dimension, with missing entries and an Ellipsis expanded.

    Raises:
        IndexError: if it has more entries than dimensions.
    """
    keys = key if isinstance(key, tuple) else (key,)
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    tail = keys[at + 1 :]
    missing = ndim - at - len(tail)
    if missing < 0:
        raise IndexError(f"too many indices: {len(keys)} for {ndim} dimensions")
    return (*keys[:at], *[slice(None)] * missing, *tail)
