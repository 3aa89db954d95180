"""Indices of lazy arrays, written out."""

from __future__ import annotations

from typing import Any


def full_index(key: Any, ndim: int) -> tuple[Any, ...]:
    """An index with one entry a dimension, whatever was left out or stands for several.

    Raises:
        IndexError: if it has more entries than there are dimensions.
    """
    keys = key if isinstance(key, tuple) else (key,)
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    tail = keys[at + 1 :]
    missing = ndim - at - len(tail)
    if missing < 0:
        raise IndexError(f"{len(keys)} indices for {ndim} dimensions")
    return (*keys[:at], *[slice(None)] * missing, *tail)
