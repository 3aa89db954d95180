"""Hot and dead pixels of a detector: they stay at their place in every plane, and lift none of their neighbours.

A lone bright pixel of one plane may be a bead, a star or a photon. One that stands alone at the same place in nearly
all planes of a stack or series may still be a bead that is fixed to the glass; but optics spread every point over its
neighbours, and the mean over several planes shows whether they have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.noise.variance_model import NoiseVariance

#: (row, column) of each in a plane.
Positions = tuple[tuple[int, int], ...]

#: Planes that are looked at, how many there must be, and the share of them in which a pixel stands alone.
_PLANES, _LEAST_PLANES, _PERSISTENT = 8, 4, 0.75

#: Planes with more pixels are none of a camera; and rows that are looked at together.
_LARGEST, _ROWS = 2304 * 2304, 512

#: A pixel stands alone if it is so many standard deviations of the noise away from all of its neighbours, and this
#: share of the range.
_DEVIATIONS, _LEAST = 5.0, 0.02

#: It is this many times farther from its neighbourhood than that varies.
_STANDS_OUT = 5.0

#: Optics lift the four nearest neighbours of a point by more than this share of its height.
_LIFT = 0.04

#: More than this share of pixels are no defects; and so many are kept at most, the highest.
_MOST_SHARE, _MOST = 5e-3, 4096

#: Rows and columns around a pixel that it is compared with.
_AROUND = 2


@dataclass(frozen=True, eq=False)
class _Points:
    """Pixels of one plane that stand alone: place in the flattened plane, height, and the lift of their neighbours."""

    place: NDArray[np.int64]
    height: NDArray[np.float64]
    lift: NDArray[np.float64]


def find_hot_pixels(
    source: Source,
    planes: Sequence[Plane],
    ranges: Mapping[int, IntensityRange],
    noise: Mapping[int, NoiseVariance],
) -> dict[int, Positions]:
    """Return the hot and dead pixels of each channel, by `Plane.channel`.

    Args:
        source: the image; up to 8 planes of each channel are read whole.
        planes: those that are denoised; RGB planes, and channels with fewer than 4 planes, have no such pixels.
        ranges: by `Plane.range_key`.
        noise: in units of the range, by `Plane.range_key`; planes without it are not looked at.
    """
    height, width = source.size_yx
    channels: dict[int, list[Plane]] = {}
    for plane in planes:
        if plane.channels == 1 and not plane.copied and plane.range_key in noise:
            channels.setdefault(plane.channel, []).append(plane)
    found = {}
    for channel, group in channels.items():
        if len(group) < _LEAST_PLANES or not min(height, width) > 2 * _AROUND or height * width > _LARGEST:
            continue
        chosen = [group[i] for i in np.unique(np.linspace(0, len(group) - 1, _PLANES).round().astype(int))]
        points = [_points(source, p, ranges[p.range_key], noise[p.range_key]) for p in chosen]
        places = _persistent(points)
        if 0 < places.size <= _MOST_SHARE * height * width:
            found[channel] = tuple((int(place) // width, int(place) % width) for place in np.sort(places[:_MOST]))
    return found


def _persistent(points: Sequence[_Points]) -> NDArray[np.int64]:
    """Places of the pixels that no optics can have made, from the highest on."""
    place, at = np.unique(np.concatenate([one.place for one in points]), return_inverse=True)
    count = np.bincount(at, minlength=place.size)
    lifts = np.concatenate([one.lift for one in points])
    height, lift, square = (
        np.bincount(at, values, minlength=place.size) / np.maximum(count, 1)
        for values in (np.concatenate([one.height for one in points]), lifts, lifts**2)
    )
    error = np.sqrt(np.maximum(square - lift**2, 0.0) / np.maximum(count - 1, 1))
    sure = (count >= _PERSISTENT * len(points)) & (lift < _LIFT * height + error)
    order = np.argsort(-height[sure], kind="stable")
    return place[sure][order].astype(np.int64)


def _points(source: Source, plane: Plane, scale: IntensityRange, noise: NoiseVariance) -> _Points:
    height, width = source.size_yx
    parts = []
    for top in range(0, height, _ROWS):
        first, last = max(0, top - _AROUND), min(height, top + _ROWS + _AROUND)
        band = source.read(plane, slice(first, last), slice(0, width))
        unit = scale.to_unit(band)[0].astype(np.float64)
        missing = scale.is_missing(band)
        rows, columns = _alone(unit, None if missing is None else missing[0], noise)
        inside = (rows + first >= top) & (rows + first < top + _ROWS)
        parts.append(_measure(unit, rows[inside], columns[inside], first, width))
    joined = (np.concatenate([getattr(part, name) for part in parts]) for name in ("place", "height", "lift"))
    return _Points(*joined)


def _alone(
    unit: NDArray[np.float64], missing: NDArray[np.bool_] | None, noise: NoiseVariance
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels of [H, W] that are far above, or far below, all of their eight neighbours."""
    lowest, highest = np.full_like(unit, np.inf), np.full_like(unit, -np.inf)
    for neighbour in _neighbours(unit):
        np.minimum(lowest, neighbour, out=lowest)
        np.maximum(highest, neighbour, out=highest)
    least = np.maximum(_DEVIATIONS * noise.sigma(np.maximum(highest, 0.0)), _LEAST)
    alone = (unit - highest > least) | (lowest - unit > least)
    if missing is not None:
        alone &= ~missing
    rows, columns = np.nonzero(alone)
    return rows, columns


def _neighbours(unit: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    padded = np.pad(unit, 1, mode="reflect")
    for row in range(3):
        for column in range(3):
            if (row, column) != (1, 1):
                yield padded[row : row + unit.shape[0], column : column + unit.shape[1]]


def _measure(
    unit: NDArray[np.float64], rows: NDArray[np.intp], columns: NDArray[np.intp], first: int, width: int
) -> _Points:
    padded = np.pad(unit, _AROUND, mode="reflect")
    side = range(2 * _AROUND + 1)
    window = np.stack([padded[rows + dy, columns + dx] for dy in side for dx in side], axis=-1)
    centre = len(side) * _AROUND + _AROUND
    others = np.delete(window, centre, axis=-1)
    around = np.median(others, axis=-1)
    height = window[:, centre] - around
    # In texture any pixel may stand out, and stay at its place.
    stands_out = np.abs(height) > _STANDS_OUT * others.std(axis=-1)
    nearest = window[:, [centre - len(side), centre - 1, centre + 1, centre + len(side)]].mean(axis=-1)
    sign = np.sign(height)
    place = (rows.astype(np.int64) + first) * width + columns
    return _Points(*(values[stands_out] for values in (place, sign * height, sign * (nearest - around))))
