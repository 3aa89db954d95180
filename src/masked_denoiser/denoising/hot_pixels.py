"""Hot and dead pixels of a detector: they stay in place in all planes, and do not raise their neighbours.

An isolated bright pixel in a single plane may be a bead, a star or a photon. One that is isolated at the same place in
nearly all planes of a stack or series may still be a bead that is fixed to the glass. But optics spread every point
over its neighbours, and the mean over several planes shows whether they did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.intensity.rectangles import group_planes
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.noise.variance_model import NoiseVariance

#: (row, column) of each pixel in a plane.
Positions = tuple[tuple[int, int], ...]

#: Number of planes that are examined, and the least number of planes of a channel.
_PLANES, _MIN_PLANES = 8, 4

#: Share of the examined planes in which a hot pixel must be isolated.
_PERSISTENT_SHARE = 0.75

#: Largest number of pixels of a camera plane; in planes stitched of several, hot pixels have no fixed place.
_MAX_PIXELS = 4608 * 4608

#: Rows that are examined together.
_BAND_ROWS = 512

#: Least distance of an isolated pixel from all of its neighbours, in standard deviations of the noise and as a share
#: of the range; both must be exceeded.
_MIN_SIGMAS, _MIN_HEIGHT = 5.0, 0.02

#: Least height of a hot pixel, in standard deviations of its neighbourhood.
_STANDS_OUT = 5.0

#: Least share of the height of a point by which optics raise its four nearest neighbours.
_OPTICAL_LIFT = 0.04

#: Largest share of pixels that can be defects, and largest number that is corrected, the highest first.
_MAX_SHARE, _MAX_CORRECTED = 5e-3, 4096

#: Distance in pixels to which the neighbourhood of a pixel extends.
_NEIGHBOURHOOD = 2


@dataclass(frozen=True, eq=False)
class _Isolated:
    """Isolated pixels of one plane: index in the flattened plane, height, and lift of their neighbours."""

    index: NDArray[np.int64]
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
        source: the image; up to 8 planes of each channel are read completely.
        planes: those that are denoised. RGB planes, and channels with fewer than 4 planes, are skipped.
        ranges: by `Plane.range_key`.
        noise: in units of the range, by `Plane.range_key`; planes without it are skipped.
    """
    height, width = source.size_yx
    candidates = (plane for plane in planes if plane.channels == 1 and plane.range_key in noise)
    positions = {}
    for channel, group in group_planes(candidates, "channel").items():
        if len(group) < _MIN_PLANES or not min(height, width) > 2 * _NEIGHBOURHOOD or height * width > _MAX_PIXELS:
            continue
        chosen = [group[i] for i in np.unique(np.linspace(0, len(group) - 1, _PLANES).round().astype(int))]
        isolated = [_isolated_pixels(source, p, ranges[p.range_key], noise[p.range_key]) for p in chosen]
        hot = _persistent(isolated)
        if 0 < hot.size <= _MAX_SHARE * height * width:
            indices = np.sort(hot[:_MAX_CORRECTED])
            positions[channel] = tuple((int(index) // width, int(index) % width) for index in indices)
    return positions


def _persistent(planes: Sequence[_Isolated]) -> NDArray[np.int64]:
    """Return the indices of the pixels that optics cannot have produced, the highest first."""
    index, inverse = np.unique(np.concatenate([plane.index for plane in planes]), return_inverse=True)
    count = np.bincount(inverse, minlength=index.size)
    lifts = np.concatenate([plane.lift for plane in planes])
    height, lift, square = (
        np.bincount(inverse, values, minlength=index.size) / np.maximum(count, 1)
        for values in (np.concatenate([plane.height for plane in planes]), lifts, lifts**2)
    )
    error = np.sqrt(np.maximum(square - lift**2, 0.0) / np.maximum(count - 1, 1))
    hot = (count >= _PERSISTENT_SHARE * len(planes)) & (lift < _OPTICAL_LIFT * height + error)
    order = np.argsort(-height[hot], kind="stable")
    return index[hot][order].astype(np.int64)


def _isolated_pixels(source: Source, plane: Plane, unit_range: IntensityRange, noise: NoiseVariance) -> _Isolated:
    height, width = source.size_yx
    parts = []
    for top in range(0, height, _BAND_ROWS):
        first, last = max(0, top - _NEIGHBOURHOOD), min(height, top + _BAND_ROWS + _NEIGHBOURHOOD)
        band = source.read(plane, slice(first, last), slice(0, width))
        unit = unit_range.to_unit(band)[0].astype(np.float64)
        missing = unit_range.missing_mask(band)
        rows, columns = _find_isolated(unit, None if missing is None else missing[0], noise)
        inside = (rows + first >= top) & (rows + first < top + _BAND_ROWS)
        parts.append(_measure(unit, rows[inside], columns[inside], first, width))
    joined = (np.concatenate([getattr(part, name) for part in parts]) for name in ("index", "height", "lift"))
    return _Isolated(*joined)


def _find_isolated(
    unit: NDArray[np.float64], missing: NDArray[np.bool_] | None, noise: NoiseVariance
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the pixels of [H, W] that are far above or below all of their eight neighbours."""
    lowest, highest = np.full_like(unit, np.inf), np.full_like(unit, -np.inf)
    for neighbour in _neighbours(unit):
        np.minimum(lowest, neighbour, out=lowest)
        np.maximum(highest, neighbour, out=highest)
    least = np.maximum(_MIN_SIGMAS * noise.sigma(np.maximum(highest, 0.0)), _MIN_HEIGHT)
    isolated = (unit - highest > least) | (lowest - unit > least)
    if missing is not None:
        isolated &= ~missing
    rows, columns = np.nonzero(isolated)
    return rows, columns


def _neighbours(unit: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    padded = np.pad(unit, 1, mode="reflect")
    for row in range(3):
        for column in range(3):
            if (row, column) != (1, 1):
                yield padded[row : row + unit.shape[0], column : column + unit.shape[1]]


def _measure(
    unit: NDArray[np.float64], rows: NDArray[np.intp], columns: NDArray[np.intp], first_row: int, width: int
) -> _Isolated:
    """Return height and lift of the pixels that stand out; `first_row` is that of `unit` in a plane of `width`."""
    padded = np.pad(unit, _NEIGHBOURHOOD, mode="reflect")
    side = range(2 * _NEIGHBOURHOOD + 1)
    window = np.stack([padded[rows + dy, columns + dx] for dy in side for dx in side], axis=-1)
    centre = len(side) * _NEIGHBOURHOOD + _NEIGHBOURHOOD
    others = np.delete(window, centre, axis=-1)
    surroundings = np.median(others, axis=-1)
    height = window[:, centre] - surroundings
    # In texture any pixel may be isolated, and fixed in place.
    stands_out = np.abs(height) > _STANDS_OUT * others.std(axis=-1)
    nearest = window[:, [centre - len(side), centre - 1, centre + 1, centre + len(side)]].mean(axis=-1)
    sign = np.sign(height)
    index = (rows.astype(np.int64) + first_row) * width + columns
    return _Isolated(*(v[stands_out] for v in (index, sign * height, sign * (nearest - surroundings))))
