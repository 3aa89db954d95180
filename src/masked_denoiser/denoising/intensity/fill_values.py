"""Fill values: numbers that mark missing pixels, such as -9999, the -2000 around a CT slice, or rows of zeros.

A fill value repeats exactly, in solid areas, and is separated from the intensities. Photon counts also repeat, but not
in solid areas; saturated pixels form solid areas, but the intensities reach up to them, or do so next to these areas. A
negative number that repeats far below all intensities is a fill value wherever it lies, and so is a float that is
extremely far from all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_opening

Pixels = np.ndarray[Any, np.dtype[Any]]

#: Least share of all pixels that have a fill value.
_MIN_SHARE = 1e-3

#: Least share of these pixels that lie in solid squares, and the side of such a square in pixels.
_SOLID_SHARE, _SOLID_SIDE = 0.75, 5

#: Least distance from the other intensities, as a share of their bulk and in quantization steps; both must be exceeded.
_GAP_SHARE, _GAP_STEPS = 0.02, 3.0

#: A negative whole number is a fill value if it lies this many contrasts below all intensities and repeats this often.
_FAR_BELOW, _MIN_REPEATS = 2.0, 4

#: A float is a fill value if it lies this many contrasts beyond all intensities.
_FAR_BEYOND = 1e4

#: Share of unique values above which any float that repeats is a fill value.
_UNIQUE_SHARE = 0.5

#: Floats whose extreme value fills areas are clipped there if most pixels next to the areas are among this share of
#: the intensities that are nearest to that value.
_NEAREST_SHARE = 0.2

#: Largest number of fill values that are detected in an image.
_MAX_FILL_VALUES = 3


def find_fill_values(tiles: Sequence[Pixels], declared: Sequence[float] = ()) -> tuple[float, ...]:
    """Return the fill values of a channel, declared and detected.

    Args:
        tiles: [H, W] each, of any real dtype, as read; NaN and infinities are not counted as fill values.
        declared: values that the file declares as missing, whether or not they look like it.
    """
    found = list(declared)
    most = _MAX_FILL_VALUES + len(declared)
    while len(found) < most and (value := _next_fill_value(tiles, found)) is not None:
        found.append(value)
    return tuple(found)


def _next_fill_value(tiles: Sequence[Pixels], known: list[float]) -> float | None:
    values = np.concatenate([np.asarray(tile).ravel() for tile in tiles]) if tiles else np.zeros(0)
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    values = values[~np.isin(values, known)]
    if values.size < _SOLID_SIDE**2:
        return None
    unique, counts = np.unique(values, return_counts=True)
    if (outlier := _extreme_outlier(unique, counts, values)) is not None:
        return outlier
    for candidate in dict.fromkeys((0, unique.size - 1, int(counts.argmax()))):
        frequent = counts[candidate] >= _MIN_SHARE * values.size
        if frequent and unique.size > 2 and _is_separated(candidate, unique, values, tiles):
            value = unique[candidate]
            if _solid_share(tiles, value) >= _SOLID_SHARE:
                return float(value)
    return None


def _extreme_outlier(unique: Pixels, counts: NDArray[np.intp], values: Pixels) -> float | None:
    """Return the lowest or highest value if it is too far away to be an intensity, however small its area."""
    if unique.size < 3:
        return None
    inner = values[(values != unique[0]) & (values != unique[-1])].astype(np.float64)
    low, high = np.percentile(inner, (1, 99))
    ends = unique[[0, 1, -2, -1]].astype(np.float64)
    contrast = max(high - low, quantization_step(unique))
    below, above = (ends[1] - ends[0]) / contrast, (ends[3] - ends[2]) / contrast
    is_marker = ends[0] < 0 and float(ends[0]).is_integer() and counts[0] >= _MIN_REPEATS
    if (is_marker and below > _FAR_BELOW) or (values.dtype.kind == "f" and below > _FAR_BEYOND):
        return float(ends[0])
    return float(ends[3]) if values.dtype.kind == "f" and above > _FAR_BEYOND else None


def _is_separated(candidate: int, unique: Pixels, values: Pixels, tiles: Sequence[Pixels]) -> bool:
    """Return whether the distribution of the other values does not reach up to a value."""
    others = values[values != unique[candidate]]
    is_extreme = candidate in (0, unique.size - 1)
    if values.dtype.kind == "f" and unique.size - 1 >= _UNIQUE_SHARE * others.size:
        if not is_extreme or not _is_clipped(unique[candidate], others, tiles):
            return True
    elif not is_extreme:
        return False
    nearest = unique[1] if candidate == 0 else unique[-2]
    gap = abs(float(nearest) - float(unique[candidate]))
    low, high = np.percentile(others.astype(np.float64), (1, 99))
    return bool(gap > max(_GAP_SHARE * (high - low), _GAP_STEPS * quantization_step(np.delete(unique, candidate))))


def _is_clipped(value: Any, others: Pixels, tiles: Sequence[Pixels]) -> bool:
    """Return whether the intensities next to areas of an extreme value approach it, as where a detector saturates."""
    distances = []
    for tile in tiles:
        same = np.asarray(tile) == value
        solid = binary_opening(same, np.ones((_SOLID_SIDE, _SOLID_SIDE)))
        border = binary_dilation(solid, np.ones((3, 3))) & ~same & np.isfinite(tile)
        distances.append(np.abs(np.asarray(tile)[border].astype(np.float64) - float(value)))
    found = np.concatenate(distances)
    nearest = np.quantile(np.abs(others.astype(np.float64) - float(value)), _NEAREST_SHARE)
    return bool(found.size) and float(np.mean(found <= nearest)) > 0.5


def quantization_step(unique: Pixels) -> float:
    """Return the smallest distance between sorted distinct values; 0 for fewer than two."""
    if unique.size < 2:
        return 0.0
    steps = np.diff(unique.astype(np.float64))
    return float(steps[steps > 0].min(initial=np.inf)) if (steps > 0).any() else 0.0


def _solid_share(tiles: Sequence[Pixels], value: Any) -> float:
    """Return the share of the pixels of a value in solid squares, which may extend beyond the edges of a tile."""
    count = solid = 0
    for tile in tiles:
        same = np.pad(np.asarray(tile) == value, _SOLID_SIDE, mode="edge")
        inner = (slice(_SOLID_SIDE, -_SOLID_SIDE),) * 2
        count += int(same[inner].sum())
        solid += int(binary_opening(same, np.ones((_SOLID_SIDE, _SOLID_SIDE)))[inner].sum())
    return solid / max(count, 1)
