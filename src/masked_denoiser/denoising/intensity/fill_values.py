"""Fill values: numbers that mark missing pixels, such as -9999, the -2000 around a CT slice, or rows of zeros.

A fill value repeats exactly, in solid areas, and stands apart from the intensities. Photon counts repeat too, but are
no solid areas; saturated pixels are solid, but the intensities lead up to them. A negative number far below all
intensities that repeats is one wherever it lies, and so is a float that is beyond all intensities by far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening

Pixels = np.ndarray[Any, np.dtype[Any]]

#: Smallest share of pixels, and the share of them that lies in solid squares of this side.
_LEAST_SHARE, _SOLID_SHARE, _SOLID_SIDE = 1e-3, 0.75, 5

#: Smallest distance from the other intensities: a share of their bulk, and so many quantization steps.
_GAP_SHARE, _GAP_STEPS = 0.02, 3.0

#: A negative whole number this many contrasts below all intensities, and so many times there, is no intensity; nor is
#: a float that is so many contrasts away.
_FAR_BELOW, _REPEATS, _BEYOND_ALL = 2.0, 4, 1e4

#: Among floats of which this share is unique, a value that repeats is no intensity, wherever it lies.
_UNIQUE_SHARE = 0.5

#: Fill values that one image may have.
_MOST = 3


def find_fill_values(tiles: Sequence[Pixels], declared: Sequence[float] = ()) -> tuple[float, ...]:
    """Return the fill values of a channel: those that its file declares, and those that are found.

    Args:
        tiles: [H, W] each, of any real dtype, as read; NaN and infinities are no fill values.
        declared: values that mark missing pixels even where they do not look like it.
    """
    found = list(declared)
    while len(found) < _MOST + len(declared) and (value := _next_fill_value(tiles, found)) is not None:
        found.append(value)
    return tuple(found)


def _next_fill_value(tiles: Sequence[Pixels], found: list[float]) -> float | None:
    values = np.concatenate([np.asarray(tile).ravel() for tile in tiles]) if tiles else np.zeros(0)
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    values = values[~np.isin(values, found)]
    if values.size < _SOLID_SIDE**2:
        return None
    unique, counts = np.unique(values, return_counts=True)
    if (far := _far_away(unique, counts, values)) is not None:
        return far
    for candidate in dict.fromkeys((0, unique.size - 1, int(counts.argmax()))):
        rest = np.delete(unique, candidate)
        frequent = counts[candidate] >= _LEAST_SHARE * values.size
        if frequent and rest.size > 1 and _stands_apart(candidate, unique, counts, values):
            value = unique[candidate]
            if _solid_share(tiles, value) >= _SOLID_SHARE:
                return float(value)
    return None


def _far_away(unique: Pixels, counts: NDArray[np.intp], values: Pixels) -> float | None:
    """An end of the values that is no intensity, however small its area; None if there is none."""
    if unique.size < 3:
        return None
    inner = values[(values != unique[0]) & (values != unique[-1])].astype(np.float64)
    low, high = np.percentile(inner, (1, 99))
    ends = unique[[0, 1, -2, -1]].astype(np.float64)
    contrast = max(high - low, quantization_step(unique))
    below, above = (ends[1] - ends[0]) / contrast, (ends[3] - ends[2]) / contrast
    number = ends[0] < 0 and float(ends[0]).is_integer() and counts[0] >= _REPEATS
    if (number and below > _FAR_BELOW) or (values.dtype.kind == "f" and below > _BEYOND_ALL):
        return float(ends[0])
    return float(ends[3]) if values.dtype.kind == "f" and above > _BEYOND_ALL else None


def _stands_apart(candidate: int, unique: Pixels, counts: NDArray[np.intp], values: Pixels) -> bool:
    """Whether a value is no continuation of the others."""
    others = values[values != unique[candidate]]
    if values.dtype.kind == "f" and unique.size - 1 >= _UNIQUE_SHARE * others.size:
        return True
    if 0 < candidate < unique.size - 1:
        return False
    near = unique[1] if candidate == 0 else unique[-2]
    gap = abs(float(near) - float(unique[candidate]))
    low, high = np.percentile(others.astype(np.float64), (1, 99))
    return bool(gap > max(_GAP_SHARE * (high - low), _GAP_STEPS * quantization_step(np.delete(unique, candidate))))


def quantization_step(unique: Pixels) -> float:
    """Return the smallest distance between sorted distinct values; 0 for fewer than two, or where it is no grid."""
    if unique.size < 2:
        return 0.0
    steps = np.diff(unique.astype(np.float64))
    return float(steps[steps > 0].min(initial=np.inf)) if (steps > 0).any() else 0.0


def _solid_share(tiles: Sequence[Pixels], value: Any) -> float:
    """Share of the pixels of a value that lie in solid squares; squares may reach beyond the edges of a tile."""
    count = solid = 0
    for tile in tiles:
        same = np.pad(np.asarray(tile) == value, _SOLID_SIDE, mode="edge")
        inner = (slice(_SOLID_SIDE, -_SOLID_SIDE),) * 2
        count += int(same[inner].sum())
        solid += int(binary_opening(same, np.ones((_SOLID_SIDE, _SOLID_SIDE)))[inner].sum())
    return solid / max(count, 1)
