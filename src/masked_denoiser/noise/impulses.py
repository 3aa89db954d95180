"""Impulses (dead and hot pixels, salt and pepper): distinguished from what optics can make, and replaced.

A lone bright pixel may be a hot pixel, a bead, a star or a single photon, so that standing alone proves nothing. Two
things together do: impulses all have the same extreme value, at which the detector ends, and they lift none of their
neighbours, while every point spread function does. What was measured to be impulses is replaced by a switching filter
in the manner of Garnett et al. (IEEE TIP 2005); everything else is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter

#: Distance in pixels that a pixel is looked at or replaced from: a neighbour, whose own neighbours say if it is good.
REACH = 2

_RING = tuple((dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1))

#: Candidates are this many usual deviations and quantization steps, and this share of the range, away from all of
#: their neighbours.
_USUAL, _STEPS, _LEAST = 5.0, 8.0, 0.05

#: Impulses are at least this share of all pixels, and so many; this share of the candidates has the same extreme value.
_LEAST_SHARE, _LEAST_COUNT, _SAME_VALUE = 5e-5, 8, 0.8

#: An extreme value this far from its neighbours, as a share of the range, is an impulse if there are any.
_NEAR = 0.12

#: Optics lift the four nearest neighbours of a point by more than this share of its height, whatever its position.
_LIFT = 0.04


@dataclass(frozen=True)
class ImpulseNoise:
    """The impulses of a channel, in the units of its tiles.

    Attributes:
        share: of all pixels.
        height: distance from their neighbours, in the median; 0 where there are none.
        low, high: pixels at or below the one, or at or above the other, may be impulses; infinite where none are.
        lone: share of pixels that stand alone but may well be structure, such as beads; they are left alone.
        points: whether these lift their neighbours, as points behind optics do: structure, and no tail of the noise.
    """

    share: float = 0.0
    height: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    lone: float = 0.0
    points: bool = False

    def mask(self, tile: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which pixels of a tile [..., H, W] are impulses."""
        if not self.share:
            return np.zeros(tile.shape, np.bool_)
        extreme = (tile <= self.low) | (tile >= self.high)
        return extreme & find_impulses(tile, self.threshold)

    @property
    def threshold(self) -> float:
        """Smallest distance from their neighbours: small, since only extreme values count."""
        return min(_NEAR, 0.5 * self.height)


def measure_impulses(tiles: Sequence[NDArray[np.float64]], step: float = 0.0) -> ImpulseNoise:
    """Measure the impulses of one channel.

    Args:
        tiles: [H, W] each, in units of the image's range; missing pixels continued from their surroundings.
        step: quantization step of the intensities; 0 where there is none.
    """
    tiles = [tile for tile in tiles if min(tile.shape) > 4]
    if not tiles:
        return ImpulseNoise()
    ends = min(float(t.min()) for t in tiles), max(float(t.max()) for t in tiles)
    found = [_Candidates.of(tiles, step, sign, end) for sign, end in zip((-1, 1), ends, strict=True)]
    sure = [candidates.are_impulses for candidates in found]
    heights = np.concatenate([c.height for c, certain in zip(found, sure, strict=True) if certain] or [np.zeros(0)])
    count = sum(t.size for t in tiles)
    return ImpulseNoise(
        share=heights.size / count,
        height=float(np.median(heights)) if heights.size else 0.0,
        low=ends[0] if sure[0] else -np.inf,
        high=ends[1] if sure[1] else np.inf,
        lone=sum(c.height.size for c, certain in zip(found, sure, strict=True) if not certain) / count,
        points=any(c.are_points for c in found),
    )


def point_mask(tile: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the pixels [H, W] that stand alone above their neighbours, for images in which points are structure."""
    return _alone(tile, 0.0, 1)


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Pixels that stand alone above, or below, all of their neighbours.

    Attributes:
        height: distance of each from the median of its neighbourhood.
        lift: how far its four nearest neighbours are off in the same direction, in the mean.
        extreme: whether it has the extreme value of the tiles.
        total: number of all pixels.
    """

    height: NDArray[np.float64]
    lift: NDArray[np.float64]
    extreme: NDArray[np.bool_]
    total: int

    @classmethod
    def of(cls, tiles: Sequence[NDArray[np.float64]], step: float, sign: int, end: float) -> _Candidates:
        parts = [_candidates(tile, step, sign, end) for tile in tiles]
        height, lift, extreme = (np.concatenate([part[i] for part in parts]) for i in range(3))
        return cls(height, lift, extreme.astype(np.bool_), sum(tile.size for tile in tiles))

    @property
    def are_impulses(self) -> bool:
        """Whether no optics can have made them."""
        if self.height.size < max(_LEAST_COUNT, _LEAST_SHARE * self.total) or self.extreme.mean() < _SAME_VALUE:
            return False
        return float(self.lift.mean()) < _LIFT * float(self.height.mean()) + 2.0 * self._error

    @property
    def are_points(self) -> bool:
        """Whether optics have spread them over their neighbours."""
        if self.height.size < _LEAST_COUNT:
            return False
        return float(self.lift.mean()) > _LIFT * float(self.height.mean()) + 3.0 * self._error

    @property
    def _error(self) -> float:
        """Standard error of the mean lift."""
        return float(self.lift.std() / np.sqrt(self.lift.size))


def _alone(tile: NDArray[np.float64], step: float, sign: int) -> NDArray[np.bool_]:
    """Pixels far above (sign 1) or below (sign -1) all of their neighbours."""
    away = np.abs(tile - median_filter(tile, 3))
    usual = np.sqrt(np.maximum(uniform_filter(np.minimum(away, 4 * np.median(away) + 1e-12) ** 2, 15), 0.0))
    least = np.maximum(_USUAL * usual, max(_STEPS * step, _LEAST))
    return np.asarray(sign * tile - (sign * np.stack(_neighbours(tile))).max(axis=0) > least)


def _candidates(tile: NDArray[np.float64], step: float, sign: int, end: float) -> tuple[NDArray[Any], ...]:
    alone = _alone(tile, step, sign)
    around = median_filter(tile, 5)
    nearest = np.stack(_neighbours(tile))[[1, 3, 4, 6]].mean(axis=0)  # above, left, right, below
    return (sign * (tile - around))[alone], (sign * (nearest - around))[alone], (tile == end)[alone]


def find_impulses(tiles: NDArray[Any], threshold: float | NDArray[Any]) -> NDArray[np.bool_]:
    """Return which samples are farther than a threshold from at least seven of their eight neighbours.

    One neighbour may be as far off: impulses that touch are found, too. Lines, corners and spots of two by two
    pixels have two neighbours that are like them, and stay.

    Args:
        tiles: [..., H, W]; beyond the edges their reflection counts.
        threshold: smallest distance, in the units of the tiles; one for all samples, or one for each.
    """
    nearest, second = (np.full(tiles.shape, np.inf, tiles.dtype) for _ in range(2))
    for neighbour in _neighbours(tiles):
        distance = np.abs(neighbour - tiles)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return np.asarray(second > threshold)


def repair(tiles: NDArray[Any], gone: NDArray[np.bool_]) -> NDArray[Any]:
    """Replace impulses by the mean of the neighbours that are none, or of all where there is no other.

    Args:
        tiles: [..., H, W].
        gone: which samples are impulses.
    """
    if not gone.any():
        return tiles
    good = (~gone).astype(np.float32)
    total, count, everything = (np.zeros(tiles.shape, np.float32) for _ in range(3))
    for neighbour, weight in zip(_neighbours(tiles), _neighbours(good), strict=True):
        total += neighbour * weight
        count += weight
        everything += neighbour
    mean = np.where(count > 0, total / np.maximum(count, 1), everything / len(_RING))
    return np.where(gone, mean, tiles).astype(tiles.dtype)


def _neighbours(tiles: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the eight neighbours of every sample."""
    height, width = tiles.shape[-2:]
    edges = [(0, 0)] * (tiles.ndim - 2) + [(1, 1), (1, 1)]
    padded = np.pad(tiles, edges, mode="reflect" if min(height, width) > 1 else "edge")
    return [padded[..., dy : dy + height, dx : dx + width] for dy, dx in _RING]
