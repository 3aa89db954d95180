"""Measurement of stripes: whole rows or columns that are brighter or darker than their neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from masked_denoiser.noise.blocks import BLOCK, Image

#: Weakest stripes, as a share of the range, that can be distinguished from edges along rows or columns.
_MIN_STRIPES = 2.5 / 255

#: Median of the square of a standard normal variable.
_MEDIAN_OF_SQUARES = 0.455

#: Segments of a line; stripes, unlike structure, extend over all of them.
_SEGMENTS = 4


def measure_stripes(tiles: Sequence[Image], sigma: float) -> float:
    """Return the standard deviation of whole rows or columns relative to their neighbours; 0 without stripes.

    Distant segments of a line share its stripe, but neither noise nor structure, so that the covariance of their second
    differences is 6 times the variance of the stripes.
    """
    covariances = []
    for transpose in (False, True):
        of_tiles = [c for tile in tiles if (c := _segment_covariance(tile.T if transpose else tile)) is not None]
        covariances.append(float(np.median(of_tiles)) if of_tiles else 0.0)
    variance = max(covariances) / 6.0
    deviation = float(np.sqrt(max(variance, 0.0)))
    is_striped = deviation > max(0.15 * sigma, _MIN_STRIPES) and max(covariances) > 4.0 * max(min(covariances), 0.0)
    return deviation if is_striped else 0.0


def _segment_covariance(tile: Image) -> float | None:
    """Return a robust covariance between segments of the second differences of their row means."""
    if tile.shape[1] < _SEGMENTS * 8 or tile.shape[0] < BLOCK:
        return None
    row_means = [segment.mean(axis=1) for segment in np.array_split(np.asarray(tile, np.float64), _SEGMENTS, axis=1)]
    second_differences = np.stack([p[:-2] - 2 * p[1:-1] + p[2:] for p in row_means])
    products = second_differences[:-2] * second_differences[2:]
    # The median ignores the few lines along which an edge of the image runs.
    return float(np.median(products)) / _MEDIAN_OF_SQUARES
