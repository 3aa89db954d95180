"""Impulses (dead and hot pixels, salt and pepper): their distinction from optical structure, and their replacement.

An isolated bright pixel may be a hot pixel, a bead, a star or a single photon, so that isolation alone is no evidence.
Two criteria together are: impulses have the same extreme value, the limit of the detector, and do not raise their
neighbours, while every point spread function does. Impulses are replaced by a switching filter like that of Garnett et
al. (IEEE TIP 2005); all other pixels are preserved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_opening, median_filter, uniform_filter

from masked_denoiser.noise.threads import map_in_threads

#: Distance in pixels up to which detection and replacement depend on other pixels: the neighbours of neighbours.
REACH = 2

#: Row and column of the eight neighbours in the 3 x 3 pixels around a pixel.
_NEIGHBOUR_OFFSETS = tuple((dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1))

#: Minimum distance of candidates from all their neighbours, in local standard deviations, in quantization steps, and as
#: a share of the range.
_CANDIDATE_SIGMAS, _CANDIDATE_STEPS, _CANDIDATE_SHARE = 5.0, 8.0, 0.05

#: Minimum share and number of impulses, and minimum share of candidates with the same extreme value.
_MIN_SHARE, _MIN_COUNT, _MIN_EXTREME_SHARE = 5e-5, 8, 0.8

#: Largest distance, as a share of the range, that an extreme value must have from its neighbours to be an impulse.
_MAX_THRESHOLD = 0.12

#: Impulses are independent of each other: at least this part of the share that chance predicts has no neighbour with
#: the same value. The pixels of a text or a scale bar have neighbours.
_MIN_ALONE = 0.2

#: Optics raise the four nearest neighbours of a point by more than this share of its height, at any position.
_POINT_LIFT = 0.04


@dataclass(frozen=True)
class ImpulseNoise:
    """Impulses of a channel, in the units of its tiles.

    Attributes:
        share: share of all pixels.
        height: median distance from their neighbours; 0 without impulses.
        low, high: pixels at or below `low`, or at or above `high`, may be impulses; infinite if there are none.
        lone: share of isolated pixels that may be structure, such as beads, and are preserved.
        points: whether these raise their neighbours, as optics do, so that they are structure and not noise.
    """

    share: float = 0.0
    height: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    lone: float = 0.0
    points: bool = False

    def mask(self, tile: NDArray[Any]) -> NDArray[np.bool_]:
        """Return the mask of the impulses of a tile [..., H, W]."""
        if not self.share:
            return np.zeros(tile.shape, np.bool_)
        extreme = (tile <= self.low) | (tile >= self.high)
        return extreme & find_impulses(tile, self.threshold)

    @property
    def threshold(self) -> float:
        """Minimum distance from neighbours, which is small since only extreme values are considered."""
        return min(_MAX_THRESHOLD, 0.5 * self.height)


def measure_impulses(tiles: Sequence[NDArray[np.float64]], step: float = 0.0) -> ImpulseNoise:
    """Measure the impulses of one channel.

    Args:
        tiles: [H, W] each, in units of the intensity range, with missing pixels interpolated.
        step: quantization step of the intensities; 0 if there is none.
    """
    tiles = [tile for tile in tiles if min(tile.shape) > 4]
    if not tiles:
        return ImpulseNoise()
    extrema = min(float(t.min()) for t in tiles), max(float(t.max()) for t in tiles)
    parts = map_in_threads(partial(_candidates, step=step, extrema=extrema), tiles)
    count = sum(tile.size for tile in tiles)
    groups = [_Candidates.join(list(of_sign), count) for of_sign in zip(*parts, strict=True)]
    accepted = [candidates.are_impulses for candidates in groups]
    heights = np.concatenate([c.height for c, keep in zip(groups, accepted, strict=True) if keep] or [np.zeros(0)])
    return ImpulseNoise(
        share=heights.size / count,
        height=float(np.median(heights)) if heights.size else 0.0,
        low=extrema[0] if accepted[0] else -np.inf,
        high=extrema[1] if accepted[1] else np.inf,
        lone=sum(c.height.size for c, keep in zip(groups, accepted, strict=True) if not keep) / count,
        points=any(c.are_points for c in groups),
    )


def point_mask(tile: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the mask [H, W] of isolated bright pixels, for images in which points are structure."""
    return np.asarray(tile - np.stack(_neighbours(tile)).max(axis=0) > _min_distance(tile, 0.0))


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Isolated pixels above, or below, all of their neighbours.

    Attributes:
        height: distance of each candidate from the median of its neighbourhood.
        lift: mean distance of its four nearest neighbours from that median, in the same direction.
        extreme: whether it has the extreme value of the tiles.
        prominent: number of pixels with that value that are far from their surroundings, and in no solid area of it.
        alone: number of those that have no such neighbour.
        total: number of all pixels.
    """

    height: NDArray[np.float64]
    lift: NDArray[np.float64]
    extreme: NDArray[np.bool_]
    alone: int
    prominent: int
    total: int

    @classmethod
    def join(cls, parts: Sequence[tuple[NDArray[Any], ...]], total: int) -> _Candidates:
        """Return the candidates of all tiles, given by height, lift, extreme, alone and prominent of each tile."""
        height, lift, extreme = (np.concatenate([part[i] for part in parts]) for i in range(3))
        alone, prominent = (sum(int(part[i]) for part in parts) for i in (3, 4))
        return cls(height, lift, extreme.astype(np.bool_), alone, prominent, total)

    @property
    def are_impulses(self) -> bool:
        """Whether optics cannot have produced them."""
        if self.height.size < max(_MIN_COUNT, _MIN_SHARE * self.total) or self.extreme.mean() < _MIN_EXTREME_SHARE:
            return False
        chance_of_alone = (1.0 - self.prominent / self.total) ** len(_NEIGHBOUR_OFFSETS)
        if self.alone < _MIN_ALONE * chance_of_alone * self.prominent:
            return False
        return float(self.lift.mean()) < _POINT_LIFT * float(self.height.mean()) + 2.0 * self._error

    @property
    def are_points(self) -> bool:
        """Whether optics have spread them over their neighbours."""
        if self.height.size < _MIN_COUNT:
            return False
        return float(self.lift.mean()) > _POINT_LIFT * float(self.height.mean()) + 3.0 * self._error

    @property
    def _error(self) -> float:
        """Standard error of the mean lift."""
        return float(self.lift.std() / np.sqrt(self.lift.size))


def _min_distance(tile: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Return how far each pixel must be above or below all of its neighbours to be isolated."""
    deviation = np.abs(tile - median_filter(tile, 3))
    sigma = np.sqrt(np.maximum(uniform_filter(np.minimum(deviation, 4 * np.median(deviation) + 1e-12) ** 2, 15), 0.0))
    return np.asarray(np.maximum(_CANDIDATE_SIGMAS * sigma, max(_CANDIDATE_STEPS * step, _CANDIDATE_SHARE)))


def _candidates(
    tile: NDArray[np.float64], step: float, extrema: tuple[float, float]
) -> tuple[tuple[NDArray[Any], ...], ...]:
    """Return height, lift and extreme of the isolated pixels below, and of those above their neighbours."""
    neighbours, min_distance = np.stack(_neighbours(tile)), _min_distance(tile, step)
    signed = ((-1, neighbours.min(axis=0), extrema[0]), (1, neighbours.max(axis=0), extrema[1]))
    parts = []
    for sign, closest, extremum in signed:
        isolated = sign * (tile - closest) > min_distance
        background = _local_median(tile, isolated)
        nearest = neighbours[:, isolated][[1, 3, 4, 6]].mean(axis=0)  # above, left, right, below
        value = tile[isolated]
        alone, prominent = _count_prominent(tile, tile == extremum, min_distance)
        parts.append((sign * (value - background), sign * (nearest - background), value == extremum, alone, prominent))
    return tuple(parts)


def _count_prominent(
    tile: NDArray[np.float64], extreme: NDArray[np.bool_], min_distance: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of extreme pixels far from their surroundings: of those without such a neighbour, and of all.

    Solid areas of the extreme value are saturated, and do not count.
    """
    solid = binary_dilation(binary_opening(extreme, np.ones((3, 3))), np.ones((3, 3)))
    prominent = extreme & ~solid
    prominent[prominent] = np.abs(tile[prominent] - _local_median(tile, prominent)) > min_distance[prominent]
    accompanied = np.any(_neighbours(prominent), axis=0)
    return np.asarray(np.count_nonzero(prominent & ~accompanied)), np.asarray(np.count_nonzero(prominent))


def _local_median(tile: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the median of the 5 x 5 pixels around each chosen pixel; these are few, so that no filter is needed."""
    windows = sliding_window_view(np.pad(tile, 2, mode="symmetric"), (5, 5))[chosen]
    return np.asarray(np.median(windows.reshape(-1, 25), axis=1))


def find_impulses(tiles: NDArray[Any], threshold: float | NDArray[Any]) -> NDArray[np.bool_]:
    """Return the mask of samples farther than a threshold from at least seven of their eight neighbours.

    One neighbour may be similar, so that adjacent impulses are found, too. Lines, corners and spots of two by two
    pixels have two similar neighbours, and are preserved.

    Args:
        tiles: [..., H, W], which are reflected beyond their edges.
        threshold: minimum distance in the units of the tiles, for all samples or for each.
    """
    nearest, second = (np.full(tiles.shape, np.inf, tiles.dtype) for _ in range(2))
    for neighbour in _neighbours(tiles):
        distance = np.abs(neighbour - tiles)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return np.asarray(second > threshold)


def repair(tiles: NDArray[Any], impulses: NDArray[np.bool_]) -> NDArray[Any]:
    """Replace impulses by the mean of their neighbours that are not impulses, or of all if there are none.

    Args:
        tiles: [..., H, W].
        impulses: mask of the impulses.
    """
    if not impulses.any():
        return tiles
    valid = (~impulses).astype(np.float32)
    total, count, total_of_all = (np.zeros(tiles.shape, np.float32) for _ in range(3))
    for neighbour, weight in zip(_neighbours(tiles), _neighbours(valid), strict=True):
        total += neighbour * weight
        count += weight
        total_of_all += neighbour
    mean = np.where(count > 0, total / np.maximum(count, 1), total_of_all / len(_NEIGHBOUR_OFFSETS))
    return np.where(impulses, mean, tiles).astype(tiles.dtype)


def _neighbours(tiles: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the eight neighbours of every sample, each in the shape of the tiles."""
    height, width = tiles.shape[-2:]
    edges = [(0, 0)] * (tiles.ndim - 2) + [(1, 1), (1, 1)]
    padded = np.pad(tiles, edges, mode="reflect" if min(height, width) > 1 else "edge")
    return [padded[..., dy : dy + height, dx : dx + width] for dy, dx in _NEIGHBOUR_OFFSETS]
