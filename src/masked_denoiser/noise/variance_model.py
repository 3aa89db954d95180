"""How strong noise is at each intensity: a straight line of variance, seen through clipping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr

from masked_denoiser.noise.blocks import Blocks

Values = NDArray[np.float64]

#: Of the blocks of one intensity the noise is read from this share, those with the least structure.
_FLAT = 0.25

#: Blocks in a group of like intensity, and groups at most.
_GROUP, _GROUPS = 24, 24


#: Intensities closer together than this do not tell how noise grows with the light.
_NARROW = 0.02


@dataclass(frozen=True)
class NoiseVariance:
    """How strong noise is: its variance at mean intensity m is gain * m + variance, before clipping.

    Attributes:
        gain: variance that each unit of intensity adds.
        variance: at intensity zero; negative where an offset was added to the counts.
    """

    gain: float
    variance: float

    def sigma(self, mean: NDArray[np.float64] | float) -> Values:
        """Standard deviation at mean intensities."""
        return np.asarray(np.sqrt(np.maximum(self.gain * np.asarray(mean) + self.variance, 0.0)), np.float64)


@dataclass(frozen=True, eq=False)
class Groups:
    """Flat blocks of like intensity: mean intensity and variance of each group, and how many blocks it has."""

    mean: Values
    variance: Values
    count: Values


def flat_blocks(blocks: Blocks) -> list[NDArray[np.intp]]:
    """The numbers of the flattest blocks of each intensity, from dark to bright."""
    order = np.argsort(blocks.mean, kind="stable")
    number = max(1, min(_GROUPS, len(order) // _GROUP))
    return [
        group[np.argsort(blocks.structure[group], kind="stable")[: max(6, int(_FLAT * len(group)))]]
        for group in np.array_split(order, number)
    ]


def groups_of(blocks: Blocks, flat: list[NDArray[np.intp]], spread: int) -> Groups:
    """Mean and variance of each group, at one of `SPREADS`, by its number."""
    rows = [(blocks.mean[f].mean(), np.median(blocks.residual[spread, f]), float(len(f))) for f in flat]
    return Groups(*np.array(rows, np.float64).T)


def fit_level(groups: Groups, limits: tuple[float, float]) -> NoiseVariance:
    """The straight line of variance against intensity, seen through clipping.

    The clipped line is compared with the groups in logarithms, as their variances have a relative error; a group that
    is far above the line holds structure, and weighs less.
    """
    usable = groups.variance > 1e-14
    if not usable.any():
        return NoiseVariance(0.0, 0.0)
    mean, seen, count = groups.mean[usable], groups.variance[usable], groups.count[usable]
    low, high = float(mean.min()), float(max(mean.max(), mean.min() + 1e-6))
    weights = np.sqrt(count / count.max())

    alike = high - low < _NARROW

    def level(ends: Values) -> NoiseVariance:
        first, last = np.exp(ends[[0, -1]])
        gain = (last - first) / (high - low)
        return NoiseVariance(gain, first - gain * low)

    def errors(ends: Values, structured: Values) -> Values:
        expected = clipped_variance(level(ends), mean, limits)
        return np.asarray((np.log(seen) - np.log(expected)) * weights * structured)

    best = np.log(np.full(1 if alike else 2, float(np.median(seen))))
    structured = np.ones_like(mean)
    for _ in range(6):
        best = least_squares(errors, best, args=(structured,), loss="soft_l1", f_scale=0.1).x
        over = errors(best, np.ones_like(mean))
        structured = 1.0 / (1.0 + (np.maximum(over, 0.0) / 0.2) ** 2)
    return level(best)


def clipped_variance(level: NoiseVariance, mean: Values, limits: tuple[float, float]) -> Values:
    """Variance that is seen at a mean that is seen, where normal noise was clipped (Foi et al. 2008, section V).

    Args:
        level: of the noise before clipping.
        mean: mean intensities after clipping.
        limits: low and high; infinite for none.
    """
    if not np.isfinite(limits).any():
        return np.asarray(np.maximum(level.sigma(mean) ** 2, 1e-14), np.float64)
    span = float(np.ptp(mean)) + 1e-3
    true = np.linspace(mean.min() - 2 * span, mean.max() + 2 * span, 2001)
    means, variances = clipped_moments(true, np.maximum(level.sigma(true), 1e-7), limits)
    rising = np.maximum.accumulate(means)
    keep = np.concatenate([[True], np.diff(rising) > 1e-12])
    return np.asarray(np.maximum(np.interp(mean, rising[keep], variances[keep]), 1e-14), np.float64)


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
