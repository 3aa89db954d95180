"""Noise and structure of small blocks of an image.

White noise that grows with the light is modelled as in Foi, Trimeche, Katkovnik and Egiazarian, *Practical
Poissonian-Gaussian noise modeling and fitting for single-image raw-data* (IEEE TIP 2008): var = gain * (mean -
offset) + read^2, then clipped at both ends. Of every block two things are measured that do not know of each other:
its noise, by the residual of Immerkaer's mask (*Fast noise variance estimation*, CVIU 1996), and its structure, by
what is left of it after smoothing. Noise is read from the blocks with the least structure at each intensity.

The mask is also spread to every second, third, ... pixel: white noise looks the same at every spread, correlated
noise grows until the spread is its correlation length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, median_filter, uniform_filter

from masked_denoiser.noise.impulses import find_impulses, find_lone_impulses

Image = NDArray[np.floating]
Values = NDArray[np.float64]

#: Side of a block in pixels.
BLOCK = 16

#: How far the mask is spread, in pixels.
SPREADS = (1, 2, 3, 4, 5, 6, 7, 8, 9)

#: Pixels along the border that are in no block. The widest spreads look beyond, at reflected pixels.
_MARGIN = 6

#: A block with more than this share of clipped pixels tells nothing.
_CLIPPED = 0.5

#: What stands out of its neighbours by this many usual distances from the median, and by this much, is an impulse.
_IMPULSE, _LEAST_IMPULSE = 5.0, 0.06
#: With this share of pixels that stand alone there are impulses.
_CERTAIN = 4e-3


@dataclass(frozen=True)
class Blocks:
    """What was measured on the blocks of one channel; each array has an entry a block.

    Attributes:
        mean: mean intensity.
        structure: variance of the smoothed block.
        residual: [spreads, blocks], variance of the residual at each of `SPREADS`.
        impulses: share of impulses among all pixels.
        height: median distance of impulses from the median of their neighbours; 0 where there are none.
        limits: intensities at which the image is clipped; infinite where it is not.
    """

    mean: Values
    structure: Values
    residual: Values
    impulses: float
    height: float
    limits: tuple[float, float]


def measure_blocks(tiles: Sequence[Image]) -> Blocks:
    """Measures the blocks of some tiles.

    Args:
        tiles: [H, W] each, of one channel, in units of the image's range, [0, 1]; those smaller than a block with
            its margin tell nothing.
    """
    limits = clipping(tiles)
    found = [found for tile in tiles if (found := _measure(np.asarray(tile, np.float64), limits)) is not None]
    if not found:
        empty = np.zeros(0)
        return Blocks(empty, empty, np.zeros((len(SPREADS), 0)), 0.0, 0.0, limits)
    rows = np.concatenate([rows for rows, _, _ in found], axis=1)
    heights = np.concatenate([heights for _, _, heights in found])
    share = float(np.mean([share for _, share, _ in found]))
    return Blocks(rows[0], rows[1], rows[2:], share, float(np.median(heights)) if heights.size else 0.0, limits)


def clipping(tiles: Sequence[Image]) -> tuple[float, float]:
    """Where the image was clipped: at its lowest and highest value, where more than a few pixels have it."""
    low, high = min(float(t.min()) for t in tiles), max(float(t.max()) for t in tiles)
    count = sum(t.size for t in tiles)
    lows = sum(int(np.count_nonzero(t == low)) for t in tiles)
    highs = sum(int(np.count_nonzero(t == high)) for t in tiles)
    return (low if lows > 1e-3 * count else -np.inf), (high if highs > 1e-3 * count else np.inf)


def _measure(tile: Values, limits: tuple[float, float]) -> tuple[Values, float, Values] | None:
    """[2 + spreads, blocks]: mean, structure and residuals; the share of impulses, and how far off each of them is."""
    margin = _MARGIN
    if min(tile.shape) < BLOCK + 2 * margin:
        return None
    median = median_filter(tile, 3)
    impulses, share = _impulses(tile, median)
    heights = np.abs(tile - median)[impulses]
    tile = np.where(impulses, median, tile).astype(np.float64)
    inner = (slice(margin, -margin),) * 2
    clipped = (tile <= limits[0]) | (tile >= limits[1])
    usable = _blocks(clipped[inner].astype(np.float64)).mean(axis=1) <= _CLIPPED
    usable &= _blocks(impulses[inner].astype(np.float64)).mean(axis=1) <= _CLIPPED
    # Impulses are gone with all that the mask makes of them.
    weights = _blocks(1.0 - impulses[inner])
    rows = [_mean(_blocks(tile[inner]), weights), _blocks(uniform_filter(tile, 5)[inner]).var(axis=1)]
    rows += [_mean(_blocks(_residual(tile, spread)[inner] ** 2), weights) for spread in SPREADS]
    return np.stack(rows)[:, usable], share, heights


def _residual(tile: Values, spread: int) -> Values:
    """Immerkaer's mask, spread; of unit norm, so that white noise keeps its variance."""
    weights = np.zeros(2 * spread + 1)
    weights[[0, spread, -1]] = 1.0, -2.0, 1.0
    return np.asarray(correlate1d(correlate1d(tile, weights, axis=0), weights, axis=1)) / 6.0


def _impulses(tile: Values, median: Values) -> tuple[NDArray[np.bool_], float]:
    """Pixels that stand alone, and their share.

    Far from their neighbours is measured by how far pixels are usually from their median in the 15 x 15 pixels around,
    so that noise which grows with the light is no impulse.
    """
    off = np.abs(tile - median)
    usual = np.sqrt(np.maximum(uniform_filter(np.minimum(off, 4 * np.median(off) + 1e-6) ** 2, 15), 0.0))
    far = np.maximum(_IMPULSE * usual, _LEAST_IMPULSE)
    alone = find_lone_impulses(tile, far)
    # What touches is found only where there are impulses for certain: texture has such pairs, too.
    share = float(alone.mean())
    return (find_impulses(tile, far) if share > _CERTAIN else alone), share


def _blocks(image: NDArray[Any]) -> Values:
    """[blocks, BLOCK * BLOCK]."""
    rows, cols = (side // BLOCK for side in image.shape)
    cut = image[: rows * BLOCK, : cols * BLOCK].reshape(rows, BLOCK, cols, BLOCK)
    return cut.swapaxes(1, 2).reshape(rows * cols, BLOCK * BLOCK)


def _mean(values: Values, weights: Values) -> Values:
    return np.asarray((values * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9))
