"""Stripes: whole rows or columns that are brighter or darker than their neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from masked_denoiser.noise.blocks import BLOCK, Image

#: Stripes weaker than this share of the range cannot be told from edges along the rows or columns of the image.
_LEAST_STRIPES = 2.5 / 255

#: Median of the square of a normal number of variance 1.
_MEDIAN_OF_SQUARES = 0.455

#: Segments of a line, to tell stripes, which go through all of them, from structure.
_SEGMENTS = 4


def stripes(tiles: Sequence[Image], sigma: float) -> float:
    """Return the standard deviation of whole rows, or columns, against their neighbours; 0 for no stripes.

    Segments of a line that are far apart share its stripe, but neither noise nor structure: the covariance of their
    second differences is 6 times the variance of the stripes.
    """
    both = []
    for turn in (False, True):
        each = [c for tile in tiles if (c := _shared(tile.T if turn else tile)) is not None]
        both.append(float(np.median(each)) if each else 0.0)
    variance = max(both) / 6.0
    found = float(np.sqrt(max(variance, 0.0)))
    return found if found > max(0.15 * sigma, _LEAST_STRIPES) and max(both) > 4.0 * max(min(both), 0.0) else 0.0


def _shared(tile: Image) -> float | None:
    """Covariance between segments of the second differences of their row means, by their median."""
    if tile.shape[1] < _SEGMENTS * 8 or tile.shape[0] < BLOCK:
        return None
    parts = [part.mean(axis=1) for part in np.array_split(np.asarray(tile, np.float64), _SEGMENTS, axis=1)]
    bends = np.stack([p[:-2] - 2 * p[1:-1] + p[2:] for p in parts])
    products = bends[:-2] * bends[2:]
    # The median does not see the few lines along which an edge of the image runs.
    return float(np.median(products)) / _MEDIAN_OF_SQUARES
