"""Normalization of indices into lazy arrays."""

from __future__ import annotations

import operator
from typing import Any

#: Start and stop of a block along each dimension.
Spans = list[tuple[int, int]]


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


def index_spans(key: Any, shape: tuple[int, ...]) -> tuple[Spans, tuple[int | slice, ...]]:
    """Return (start, stop) to read along each dimension, and the index that reduces that block to `key`."""
    spans: Spans = []
    inner: list[int | slice] = []
    for k, side in zip(full_index(key, len(shape)), shape, strict=True):
        if isinstance(k, slice):
            start, stop, step = k.indices(side)
            if step < 1:
                raise IndexError(f"slice {k} has a negative step; read forwards and flip the result")
            spans.append((start, max(start, stop)))
            inner.append(slice(None, None, step))
        else:
            at = operator.index(k)
            if not -side <= at < side:
                raise IndexError(f"index {at} is out of range for shape {shape}")
            spans.append((at % side, at % side + 1))
            inner.append(0)
    return spans, tuple(inner)
