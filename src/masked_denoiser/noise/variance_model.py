"""How strong noise is at each intensity: a straight line or a parabola of variance, seen through clipping."""

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


#: Intensities closer together than this share of the noise do not tell how it grows with the light.
_NARROW = 0.5

#: Ratio of the variances of structure in the residuals of the finest spread and the next, where it cannot be measured;
#: its limits; and from how many intensities it is measured.
_STRUCTURE_RATIO, _RATIOS, _FEW_RATIOS = 0.25, (0.03, 0.5), 3

#: Quantiles of blocks with little and with more structure, and how much more it must be.
_COMPARED, _MORE = ((0.0, 0.25), (0.4, 0.75)), 0.5

#: Blocks whose variance is above so many times the median are left out of a mean.
_OUTLIERS = 2.5

#: A fit without clipping is taken if its error is less than this share of that with it; so is a parabola against a
#: line, but only where the mean error of the line, in logarithms of the variance, is not good anyway.
_CLEARLY, _GOOD = 0.6, 0.1

#: Of fewer groups of like intensity a parabola may fit better by chance.
_FEW_GROUPS = 8


@dataclass(frozen=True)
class NoiseVariance:
    """How strong noise is: its variance at mean intensity m is quadratic * m^2 + gain * m + variance, before clipping.

    Attributes:
        gain: variance that each unit of intensity adds, as photons do.
        variance: at intensity zero; negative where an offset was added to the counts.
        floor: least variance at any intensity: what was seen in the darkest regions.
        quadratic: variance that each unit of squared intensity adds, as speckle does and unequal pixels do.
    """

    gain: float
    variance: float
    floor: float = 0.0
    quadratic: float = 0.0

    def sigma(self, mean: NDArray[np.float64] | float) -> Values:
        """Return the standard deviation at mean intensities."""
        mean = np.asarray(mean)
        variance = (self.quadratic * mean + self.gain) * mean + self.variance
        return np.asarray(np.sqrt(np.maximum(variance, self.floor)), np.float64)

    def scaled(self, factor: float) -> NoiseVariance:
        """Return noise of so many times the standard deviation."""
        square = factor**2
        return NoiseVariance(self.gain * square, self.variance * square, self.floor * square, self.quadratic * square)

    def in_units(self, ratio: float, shift: float) -> NoiseVariance:
        """Return the same noise in units that are intensity * ratio + shift."""
        gain = self.gain * ratio - 2.0 * self.quadratic * shift
        variance = self.variance * ratio**2 - self.gain * ratio * shift + self.quadratic * shift**2
        return NoiseVariance(gain, variance, self.floor * ratio**2, self.quadratic)


@dataclass(frozen=True, eq=False)
class VarianceBins:
    """Flat blocks of like intensity: mean intensity and variance of each group, and how many blocks it has."""

    mean: Values
    variance: Values
    count: Values


def flat_blocks(blocks: Blocks) -> list[NDArray[np.intp]]:
    """Return the numbers of the flattest blocks of each intensity, from dark to bright."""
    return [
        group[np.argsort(blocks.structure[group], kind="stable")[: max(6, int(_FLAT * len(group)))]]
        for group in intensity_groups(blocks)
    ]


def intensity_groups(blocks: Blocks) -> list[NDArray[np.intp]]:
    """Return the numbers of the blocks in groups of like intensity, from dark to bright."""
    order = np.argsort(blocks.mean, kind="stable")
    return np.array_split(order, max(1, min(_GROUPS, len(order) // _GROUP)))


def white_floor(blocks: Blocks, flat: list[NDArray[np.intp]]) -> VarianceBins:
    """Return mean and variance of each group, of that part of the finest residual that structure cannot explain.

    White noise is equally strong at the finest spread and the next, structure is weaker at the finest by a ratio q.
    So of the residuals v1 and v2 of the two, (v1 - q v2) / (1 - q) is white noise.
    """
    fine, next_ = groups_of(blocks, flat, 0), groups_of(blocks, flat, 1)
    ratio = structure_ratio(blocks)
    white = (fine.variance - ratio * next_.variance) / (1.0 - ratio)
    return VarianceBins(fine.mean, np.clip(white, 0.0, fine.variance), fine.count)


def structure_ratio(blocks: Blocks) -> float:
    """Return the ratio of the variances of structure in the residuals of the finest spread and the next.

    Read from blocks of like intensity with little and with more structure, which differ by that and not by the noise.
    """
    ratios = []
    for group in intensity_groups(blocks):
        fine, next_ = blocks.residual[0, group], blocks.residual[1, group]
        order = np.argsort(next_, kind="stable")
        low, high = (order[int(a * len(order)) : max(1, int(b * len(order)))] for a, b in _COMPARED)
        more = float(np.median(next_[high]) - np.median(next_[low]))
        if more > _MORE * float(np.median(next_[low])):
            ratios.append(float(np.median(fine[high]) - np.median(fine[low])) / more)
    return float(np.clip(np.median(ratios), *_RATIOS)) if len(ratios) >= _FEW_RATIOS else _STRUCTURE_RATIO


def groups_of(blocks: Blocks, flat: list[NDArray[np.intp]], spread: int) -> VarianceBins:
    """Return mean and variance of each group, at one of `SPREADS`, by its number."""
    rows = [(blocks.mean[f].mean(), _pooled(blocks.residual[spread, f]), float(len(f))) for f in flat]
    return VarianceBins(*np.array(rows, np.float64).T)


def _pooled(variances: Values) -> float:
    """Mean variance of some blocks, without those far above the median, which hold structure or a lone bright pixel.

    At a few photons a pixel blocks differ much, and their median is far below their mean.
    """
    middle = float(np.median(variances))
    if middle <= 0:
        return float(np.mean(variances))
    return float(np.mean(variances[variances <= _OUTLIERS * middle]))


def fit_variance(groups: VarianceBins, limits: tuple[float, float], *, counts: bool = False) -> NoiseVariance:
    """Fit the variance against intensity, seen through clipping.

    It is a straight line, as that of photons, unless a parabola fits clearly better, as that of speckle: a line would
    be far below it in the bright. The lowest value of an image is a limit at which noise was clipped, or no light at
    all: both are tried, and clipping is believed unless the line without it fits clearly better.

    Args:
        groups: what was measured.
        limits: low and high; infinite for none.
        counts: whether intensities are so few quantization steps that many blocks hold none but the lowest.
    """
    if counts:
        return _fit_linear(groups)
    line, cost = _fit_clipped(groups, limits, power=1)
    if cost < _GOOD or len(groups.mean) < _FEW_GROUPS:
        return line
    parabola, other = _fit_clipped(groups, limits, power=2)
    return parabola if other < _CLEARLY * cost else line


def _fit_clipped(groups: VarianceBins, limits: tuple[float, float], power: int) -> tuple[NoiseVariance, float]:
    """The better of both fits, with clipping in the dark and without it, and how badly it fits."""
    clipped, cost = _fit(groups, limits, power)
    if not np.isfinite(limits[0]):
        return clipped, cost
    free, other = _fit(groups, (-np.inf, limits[1]), power)
    return (free, other) if other < _CLEARLY * cost else (clipped, cost)


def _fit_linear(groups: VarianceBins) -> NoiseVariance:
    """The line by least squares, with errors in proportion to it: variances of 0 count, which have no logarithm."""
    mean, seen = groups.mean, groups.variance
    least = 1e-3 * max(float(seen.max(initial=0.0)), 1e-300)
    if len(mean) < 2 or np.ptp(mean) <= 0:
        return NoiseVariance(0.0, float(np.average(seen, weights=groups.count)))
    expected = np.full_like(seen, max(float(seen.mean()), least))
    gain, variance = 0.0, float(seen.mean())
    for _ in range(8):
        over = np.maximum(seen / expected - 1.0, 0.0)
        weights = np.sqrt(groups.count) / expected / np.sqrt(1.0 + (over / 0.5) ** 2)
        (gain, variance), *_ = np.linalg.lstsq(
            np.stack([mean, np.ones_like(mean)], 1) * weights[:, None], seen * weights
        )
        expected = np.maximum(gain * mean + variance, max(least, 0.1 * float(seen.mean())))
    return NoiseVariance(float(gain), float(variance))


def _fit(groups: VarianceBins, limits: tuple[float, float], power: int) -> tuple[NoiseVariance, float]:
    """A constant plus a multiple of this power of the intensity, 1 or 2, and how badly it fits.

    It is compared with the groups in logarithms, as their variances have a relative error; a group that is far above
    the line holds structure, and weighs less.
    """
    usable = groups.variance > 1e-4 * max(float(groups.variance.max(initial=0.0)), 1e-300)
    if not usable.any():
        return NoiseVariance(0.0, 0.0), 0.0
    mean, seen, count = groups.mean[usable], groups.variance[usable], groups.count[usable]
    low, high = float(mean.min()), float(mean.max())
    weights = np.sqrt(count / count.max())
    alike = high - low < _NARROW * float(np.sqrt(np.median(seen)))

    def variance(ends: Values) -> NoiseVariance:
        first, last = np.exp(ends[[0, -1]])
        growth = 0.0 if alike else (last - first) / (high**power - low**power)
        return NoiseVariance(growth * (power == 1), first - growth * low**power, 0.0, growth * (power == 2))

    def errors(ends: Values, structured: Values) -> Values:
        expected = clipped_variance(variance(ends), mean, limits)
        return np.asarray((np.log(seen) - np.log(expected)) * weights * structured)

    best = np.log(np.full(1 if alike else 2, float(np.median(seen))))
    structured = np.ones_like(mean)
    for _ in range(6):
        best = least_squares(errors, best, args=(structured,), loss="soft_l1", f_scale=0.1).x
        over = errors(best, np.ones_like(mean))
        structured = 1.0 / (1.0 + (np.maximum(over, 0.0) / 0.2) ** 2)
    return variance(best), float(np.mean(np.minimum(np.abs(errors(best, np.ones_like(mean))), 1.0)))


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
