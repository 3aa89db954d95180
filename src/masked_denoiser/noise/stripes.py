"""Measurement of stripes: whole rows or columns that are brighter or darker than their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.noise.blocks import BLOCK, Image

#: Weakest stripes, as a share of the range, that can be distinguished from edges along rows or columns.
_MIN_STRIPES = 2.5 / 255

#: Median of the square of a standard normal variable.
_MEDIAN_OF_SQUARES = 0.455

#: Segments of a line; stripes, unlike structure, extend over all of them.
_SEGMENTS = 4


#: Distances of lines at which the second differences of random stripes are uncorrelated, and the largest correlation
#: there that is chance. The lines of a grating, of a text or of an interlaced image are correlated.
_UNRELATED_DISTANCES, _MAX_CORRELATION = range(3, 13), 0.4

#: Least standard deviation of the image along its lines, over that of the stripes: an image of nothing but lines, such
#: as a barcode, cannot be distinguished from stripes without an image.
_MIN_CONTENT = 1.0

#: Largest second difference, in standard deviations, that contributes to correlations.
_MAX_DIFFERENCE = 3.0


@dataclass(frozen=True)
class Stripes:
    """Noise that whole rows or columns have in common.

    Attributes:
        deviation: standard deviation relative to the neighbouring lines; 0 without stripes.
        vertical: whether the lines are columns.
    """

    deviation: float = 0.0
    vertical: bool = False


def measure_stripes(tiles: Sequence[Image], sigma: float) -> Stripes:
    """Return the noise of whole rows or columns.

    Distant segments of a line share its stripe, but neither noise nor structure, so that the covariance of their second
    differences is 6 times the variance of the stripes. Stripes are random: lines that are predictable from other lines
    are structure.

    Args:
        tiles: [H, W] each.
        sigma: standard deviation of the noise of single pixels.
    """
    directions = tiles, [tile.T for tile in tiles]
    used = [[p for tile in of_tiles if (p := _second_differences(tile)) is not None] for of_tiles in directions]
    covariances = [float(np.median([*map(_covariance, profiles)])) if profiles else 0.0 for profiles in used]
    vertical = covariances[1] > covariances[0]
    deviation = float(np.sqrt(max(*covariances, 0.0) / 6.0))
    is_striped = deviation > max(0.15 * sigma, _MIN_STRIPES) and max(covariances) > 4.0 * max(min(covariances), 0.0)
    is_striped = is_striped and _content(directions[vertical]) > _MIN_CONTENT * deviation
    return Stripes(deviation, vertical) if is_striped and not _is_predictable(used[vertical]) else Stripes()


def _second_differences(tile: Image) -> NDArray[np.float64] | None:
    """Return the second differences of the row means of segments, [segments, lines]; None if the tile is small."""
    if tile.shape[1] < _SEGMENTS * 8 or tile.shape[0] < BLOCK:
        return None
    means = _segment_means(tile)
    return np.asarray(means[:, :-2] - 2 * means[:, 1:-1] + means[:, 2:])


def _segment_means(tile: Image) -> NDArray[np.float64]:
    """Return the row means of segments, [segments, lines]."""
    segments = np.array_split(np.asarray(tile, np.float64), _SEGMENTS, axis=1)
    return np.stack([segment.mean(axis=1) for segment in segments])


def _content(tiles: Sequence[Image]) -> float:
    """Return the standard deviation of the segments of a line, to which stripes do not contribute, over all tiles."""
    deviations = [means - means.mean(axis=0) for means in map(_segment_means, tiles)]
    return float(np.sqrt(np.mean(np.concatenate(deviations, axis=1) ** 2)))


def _covariance(lines: NDArray[np.float64]) -> float:
    """Return a robust covariance between distant segments."""
    # The median ignores the few lines along which an edge of the image runs.
    return float(np.median(lines[:-2] * lines[2:])) / _MEDIAN_OF_SQUARES


def _is_predictable(tiles: Sequence[NDArray[np.float64]]) -> bool:
    """Return whether the lines of most tiles are correlated with other lines of the tile."""
    return float(np.median([_largest_correlation(lines) for lines in tiles])) > _MAX_CORRELATION


def _largest_correlation(lines: NDArray[np.float64]) -> float:
    """Return the largest correlation of the second differences of different lines, in distant segments."""
    limit = _MAX_DIFFERENCE * np.sqrt(max(_covariance(lines), 1e-300))
    first, second = np.clip(lines[:-2], -limit, limit), np.clip(lines[2:], -limit, limit)
    variance = max(float(np.mean(first * second)), 1e-300)
    distances = [distance for distance in _UNRELATED_DISTANCES if distance < lines.shape[1] // 2]
    return max((abs(float(np.mean(first[:, d:] * second[:, :-d]))) / variance for d in distances), default=0.0)
