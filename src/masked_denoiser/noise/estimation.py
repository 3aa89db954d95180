"""What noise an image has, measured on small flat blocks of it.

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

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, maximum_filter, median_filter, minimum_filter, uniform_filter
from scipy.optimize import least_squares
from scipy.special import ndtr

Image = NDArray[np.floating]
Values = NDArray[np.float64]

#: Side of a block in pixels.
BLOCK = 16

#: How far the mask is spread, in pixels.
SPREADS = (1, 2, 3, 4, 5, 6)

#: Of the blocks of one intensity the noise is read from this share, those with the least structure.
_FLAT = 0.25

#: Blocks in a group of like intensity, and groups at most.
_GROUP, _GROUPS = 24, 24

#: A block with more than this share of clipped pixels tells nothing.
_CLIPPED = 0.5

#: What stands out of its neighbours by this many usual distances from the median, and by this much, is an impulse.
_IMPULSE, _LEAST_IMPULSE = 5.0, 0.06
_RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


@dataclass(frozen=True)
class Blocks:
    """What was measured on the blocks of one channel; each array has an entry a block.

    Attributes:
        mean: mean intensity.
        structure: variance of the smoothed block.
        residual: [spreads, blocks], variance of the residual at each of `SPREADS`.
        impulses: share of impulses among all pixels.
        limits: intensities at which the image is clipped; infinite where it is not.
    """

    mean: Values
    structure: Values
    residual: Values
    impulses: float
    limits: tuple[float, float]


def measure_blocks(tiles: Sequence[Image]) -> Blocks:
    """Measures the blocks of some tiles.

    Args:
        tiles: [H, W] each, of one channel, in units of the image's range, [0, 1]; those smaller than a block with its margin tell nothing.
    """
    limits = clipping(tiles)
    found = [found for tile in tiles if (found := _measure(np.asarray(tile, np.float64), limits)) is not None]
    if not found:
        empty = np.zeros(0)
        return Blocks(empty, empty, np.zeros((len(SPREADS), 0)), 0.0, limits)
    rows = np.concatenate([rows for rows, _ in found], axis=1)
    return Blocks(rows[0], rows[1], rows[2:], float(np.mean([share for _, share in found])), limits)


def clipping(tiles: Sequence[Image]) -> tuple[float, float]:
    """Where the image was clipped: at its lowest and highest value, where more than a few pixels have it."""
    low, high = min(float(t.min()) for t in tiles), max(float(t.max()) for t in tiles)
    count = sum(t.size for t in tiles)
    lows = sum(int(np.count_nonzero(t == low)) for t in tiles)
    highs = sum(int(np.count_nonzero(t == high)) for t in tiles)
    return (low if lows > 1e-3 * count else -np.inf), (high if highs > 1e-3 * count else np.inf)


def _measure(tile: Values, limits: tuple[float, float]) -> tuple[Values, float] | None:
    """[2 + spreads, blocks]: mean, structure and residuals; and the share of impulses."""
    margin = max(SPREADS)
    if min(tile.shape) < BLOCK + 2 * margin:
        return None
    median = median_filter(tile, 3)
    impulses = _impulses(tile, median)
    tile = np.where(impulses, median, tile)
    inner = (slice(margin, -margin),) * 2
    clipped = (tile <= limits[0]) | (tile >= limits[1])
    usable = _blocks(clipped[inner].astype(np.float64)).mean(axis=1) <= _CLIPPED
    usable &= _blocks(impulses[inner].astype(np.float64)).mean(axis=1) <= _CLIPPED
    # Impulses are gone with all that the mask makes of them.
    weights = _blocks(1.0 - impulses[inner])
    rows = [_mean(_blocks(tile[inner]), weights), _blocks(uniform_filter(tile, 5)[inner]).var(axis=1)]
    rows += [_mean(_blocks(_residual(tile, spread)[inner] ** 2), weights) for spread in SPREADS]
    return np.stack(rows)[:, usable], float(impulses.mean())


def _residual(tile: Values, spread: int) -> Values:
    """Immerkaer's mask, spread; of unit norm, so that white noise keeps its variance."""
    weights = np.zeros(2 * spread + 1)
    weights[[0, spread, -1]] = 1.0, -2.0, 1.0
    return np.asarray(correlate1d(correlate1d(tile, weights, axis=0), weights, axis=1)) / 6.0


def _impulses(tile: Values, median: Values) -> NDArray[np.bool_]:
    """Pixels that stand alone: far above all eight neighbours, or far below.

    Far is measured by how far pixels are usually from their median in the 15 x 15 pixels around, so that noise which
    grows with the light is no impulse; and lines and corners have a neighbour that is like them.
    """
    off = np.abs(tile - median)
    usual = np.sqrt(uniform_filter(np.minimum(off, 4 * np.median(off) + 1e-6) ** 2, 15))
    far = np.maximum(_IMPULSE * usual, _LEAST_IMPULSE)
    above = tile - maximum_filter(tile, footprint=_RING)
    below = minimum_filter(tile, footprint=_RING) - tile
    return np.asarray(np.maximum(above, below) > far)


def _blocks(image: Values) -> Values:
    """[blocks, BLOCK * BLOCK]."""
    rows, cols = (side // BLOCK for side in image.shape)
    cut = image[: rows * BLOCK, : cols * BLOCK].reshape(rows, BLOCK, cols, BLOCK)
    return cut.swapaxes(1, 2).reshape(rows * cols, BLOCK * BLOCK)


def _mean(values: Values, weights: Values) -> Values:
    return np.asarray((values * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9))


@dataclass(frozen=True)
class Level:
    """How strong noise is: its variance at mean intensity m is gain * m + variance, before clipping.

    Attributes:
        gain: variance that each unit of intensity adds.
        variance: at intensity zero; negative where an offset was added to the counts.
    """

    gain: float
    variance: float

    def sigma(self, mean: Values) -> Values:
        """Standard deviation at mean intensities."""
        return np.sqrt(np.maximum(self.gain * np.asarray(mean) + self.variance, 0.0))


@dataclass(frozen=True)
class Groups:
    """Flat blocks of like intensity: mean intensity and variance of each group, and how many blocks it has."""

    mean: Values
    variance: Values
    count: Values


def flat_groups(blocks: Blocks, residual: Values) -> Groups:
    """Groups blocks by intensity, and takes the variance of the flattest of each group.

    Args:
        blocks: measured.
        residual: [blocks], a row of `Blocks.residual`.
    """
    order = np.argsort(blocks.mean, kind="stable")
    number = max(1, min(_GROUPS, len(order) // _GROUP))
    rows = []
    for group in np.array_split(order, number):
        flat = group[np.argsort(blocks.structure[group], kind="stable")[: max(6, int(_FLAT * len(group)))]]
        rows.append((float(np.mean(blocks.mean[flat])), float(np.median(residual[flat])), float(len(flat))))
    return Groups(*np.array(rows).T)


def fit_level(groups: Groups, limits: tuple[float, float]) -> Level:
    """The straight line of variance against intensity, seen through clipping.

    The clipped line is compared with the groups in logarithms, as their variances have a relative error; a group that
    is far above the line holds structure, and weighs less.
    """
    usable = groups.variance > 1e-14
    if not usable.any():
        return Level(0.0, 0.0)
    mean, seen, count = groups.mean[usable], groups.variance[usable], groups.count[usable]
    low, high = float(mean.min()), float(max(mean.max(), mean.min() + 1e-6))
    weights = np.sqrt(count / count.max())

    def level(ends: Values) -> Level:
        first, last = np.exp(ends)
        gain = (last - first) / (high - low)
        return Level(gain, first - gain * low)

    def errors(ends: Values, structured: Values) -> Values:
        expected = clipped_variance(level(ends), mean, limits)
        return np.asarray((np.log(seen) - np.log(expected)) * weights * structured)

    best = np.log(np.full(2, float(np.median(seen))))
    structured = np.ones_like(mean)
    for _ in range(6):
        best = least_squares(errors, best, args=(structured,), loss="soft_l1", f_scale=0.1).x
        over = errors(best, np.ones_like(mean))
        structured = 1.0 / (1.0 + (np.maximum(over, 0.0) / 0.2) ** 2)
    return level(best)


def clipped_variance(level: Level, mean: Values, limits: tuple[float, float]) -> Values:
    """Variance that is seen at a mean that is seen, where normal noise was clipped (Foi et al. 2008, section V).

    Args:
        level: of the noise before clipping.
        mean: mean intensities after clipping.
        limits: low and high; infinite for none.
    """
    if not np.isfinite(limits).any():
        return np.maximum(level.sigma(mean) ** 2, 1e-14)
    span = float(np.ptp(mean)) + 1e-3
    true = np.linspace(mean.min() - 2 * span, mean.max() + 2 * span, 2001)
    means, variances = clipped_moments(true, np.maximum(level.sigma(true), 1e-7), limits)
    rising = np.maximum.accumulate(means)
    keep = np.concatenate([[True], np.diff(rising) > 1e-12])
    return np.maximum(np.interp(mean, rising[keep], variances[keep]), 1e-14)


def clipped_moments(mean: Values, sigma: Values, limits: tuple[float, float]) -> tuple[Values, Values]:
    """Mean and variance of normal numbers that are clipped at both ends."""
    low, high = ((np.full_like(mean, limit) - mean) / sigma for limit in limits)
    below, above = ndtr(low), ndtr(-high)
    density_low, density_high = (np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) for x in (low, high))
    inside = 1.0 - below - above
    at_low, at_high = (np.where(np.isfinite(x), x, 0.0) for x in (low, high))
    first = at_low * below + at_high * above + density_low - density_high
    moment = at_low**2 * below + at_high**2 * above + inside + at_low * density_low - at_high * density_high
    return mean + sigma * first, sigma**2 * np.maximum(moment - first**2, 0.0)
