"""Noise variance as a function of intensity: a line or a parabola, with clipping of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr

from masked_denoiser.noise.blocks import Blocks, Values
from masked_denoiser.noise.modalities.prior import Growth

#: Share of the blocks of an intensity, those with the least structure, on which noise is measured.
_FLAT_SHARE = 0.25

#: Minimum number of blocks in a group of similar intensity, and maximum number of groups.
_BLOCKS_PER_GROUP, _MAX_GROUPS = 24, 24

#: Smallest range of intensities, in standard deviations of the noise, at which its growth can be measured.
_MIN_RANGE_SIGMAS = 0.5

#: Ratio of the variances of structure in the residuals at the first and second dilation: its default if it cannot be
#: measured, its limits, and the minimum number of intensities to measure it on.
_DEFAULT_RATIO, _RATIO_LIMITS, _MIN_RATIOS = 0.25, (0.03, 0.5), 3

#: Largest variance of white noise, as a multiple of the least variance of residuals at larger dilations.
_MAX_OTHERS = 1.25

#: Largest growth of the variance of the residual from the first to the second dilation of white noise on flat regions.
_MAX_GROWTH_OF_WHITE = 1.25

#: Quantiles of blocks with little and with more structure, and the minimum excess of structure in the latter.
_COMPARED_QUANTILES, _MIN_EXCESS = ((0.0, 0.25), (0.4, 0.75)), 0.5

#: Largest variance of blocks in a robust mean, as a multiple of the median.
_MAX_MEDIAN_RATIO = 2.5

#: A fit without clipping is chosen if its error is less than this share of that with clipping, and likewise a parabola
#: instead of a line, but only if the mean error of the line, in logarithms of the variance, exceeds the second value.
_BETTER_FIT_SHARE, _GOOD_FIT_ERROR = 0.6, 0.1

#: Minimum number of groups for a parabola, which fits fewer better by chance.
_MIN_PARABOLA_GROUPS = 8


@dataclass(frozen=True)
class NoiseVariance:
    """Noise model: the variance at mean intensity m is quadratic * m^2 + gain * m + variance, before clipping.

    Attributes:
        gain: variance that each unit of intensity adds, as in photon noise.
        variance: variance at intensity zero; negative if an offset was added to the counts.
        floor: lower limit of the variance at any intensity, from the darkest regions.
        quadratic: variance that each unit of squared intensity adds, as in speckle or unequal pixel gains.
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
        """Return noise of `factor` times the standard deviation."""
        square = factor**2
        return NoiseVariance(self.gain * square, self.variance * square, self.floor * square, self.quadratic * square)

    def in_units(self, ratio: float, shift: float) -> NoiseVariance:
        """Return the same noise in units that are intensity * ratio + shift."""
        gain = self.gain * ratio - 2.0 * self.quadratic * shift
        variance = self.variance * ratio**2 - self.gain * ratio * shift + self.quadratic * shift**2
        return NoiseVariance(gain, variance, self.floor * ratio**2, self.quadratic)


@dataclass(frozen=True, eq=False)
class VarianceBins:
    """Groups of flat blocks of similar intensity: mean intensity, variance and number of blocks of each."""

    mean: Values
    variance: Values
    count: Values


def flat_blocks(blocks: Blocks) -> list[NDArray[np.intp]]:
    """Return the indices of the flattest blocks of each group of intensities, from dark to bright."""
    return [
        group[np.argsort(blocks.structure[group], kind="stable")[: max(6, int(_FLAT_SHARE * len(group)))]]
        for group in intensity_groups(blocks)
    ]


def intensity_groups(blocks: Blocks) -> list[NDArray[np.intp]]:
    """Return the indices of the blocks in groups of similar intensity, from dark to bright."""
    order = np.argsort(blocks.mean, kind="stable")
    return np.array_split(order, max(1, min(_MAX_GROUPS, len(order) // _BLOCKS_PER_GROUP)))


def white_noise_bins(blocks: Blocks, flat: list[NDArray[np.intp]]) -> VarianceBins:
    """Return mean and white noise variance of each group, from the residuals at the first and second dilation.

    The variance of white noise is equal at both, that of structure is smaller at the first by a ratio q, so that the
    variance of white noise is (v1 - q v2) / (1 - q) for residuals of variance v1 and v2. As white noise is in the
    residuals of all dilations, the others limit it, too: a pattern of alternating pixels is not in all of them.
    """
    fine, coarse, third = (residual_bins(blocks, flat, dilation) for dilation in (0, 1, 2))
    ratio = structure_ratio(blocks)
    white = (fine.variance - ratio * coarse.variance) / (1.0 - ratio)
    others = np.minimum(coarse.variance, third.variance)
    return VarianceBins(fine.mean, np.clip(white, 0.0, np.minimum(fine.variance, _MAX_OTHERS * others)), fine.count)


def is_noise_in_light(blocks: Blocks, flat: list[NDArray[np.intp]]) -> bool:
    """Return whether the residuals of the brighter third of the intensities are those of white noise.

    If they are those of structure, the noise there is uncertain, and usually measured too low.
    """
    fine, coarse = residual_bins(blocks, flat, 0).variance, residual_bins(blocks, flat, 1).variance
    bright = slice(-max(1, len(fine) // 3), None)
    return bool(np.median(coarse[bright] / np.maximum(fine[bright], 1e-300)) < _MAX_GROWTH_OF_WHITE)


def structure_ratio(blocks: Blocks) -> float:
    """Return the ratio of the variances of structure in the residuals at the first and second dilation.

    It is measured on blocks of similar intensity with little and with more structure, whose noise is equal.
    """
    ratios = []
    for group in intensity_groups(blocks):
        fine, coarse = blocks.residual[0, group], blocks.residual[1, group]
        order = np.argsort(coarse, kind="stable")
        low, high = (order[int(a * len(order)) : max(1, int(b * len(order)))] for a, b in _COMPARED_QUANTILES)
        excess = float(np.median(coarse[high]) - np.median(coarse[low]))
        if excess > _MIN_EXCESS * float(np.median(coarse[low])):
            ratios.append(float(np.median(fine[high]) - np.median(fine[low])) / excess)
    return float(np.clip(np.median(ratios), *_RATIO_LIMITS)) if len(ratios) >= _MIN_RATIOS else _DEFAULT_RATIO


def residual_bins(blocks: Blocks, flat: list[NDArray[np.intp]], dilation: int) -> VarianceBins:
    """Return mean and variance of the residual of each group at a dilation, given as an index of `DILATIONS`."""
    rows = [(blocks.mean[f].mean(), _robust_mean(blocks.residual[dilation, f]), float(len(f))) for f in flat]
    return VarianceBins(*np.array(rows, np.float64).T)


def _robust_mean(variances: Values) -> float:
    """Return the mean variance of blocks, except those far above the median with structure or an isolated bright pixel.

    A median would be biased: with few photons per pixel, it is far below the mean.
    """
    median = float(np.median(variances))
    if median <= 0:
        return float(np.mean(variances))
    return float(np.mean(variances[variances <= _MAX_MEDIAN_RATIO * median]))


def fit_variance(
    bins: VarianceBins,
    limits: tuple[float, float],
    *,
    counts: bool = False,
    growth: Growth = "any",
    black: float = 0.0,
) -> NoiseVariance:
    """Fit the noise variance before clipping as a function of intensity.

    The result is a line, as for photon noise, unless a parabola fits clearly better, as for speckle. The lowest value
    of an image is either a limit at which noise was clipped or the absence of light: both are fitted, and clipping is
    assumed unless the fit without it is clearly better.

    Args:
        bins: measured variances.
        limits: lowest and highest intensity at which the image is clipped; infinite if it is not.
        counts: whether intensities are photon counts, of which many blocks may have the lowest value only.
        growth: what is known of the growth with intensity.
        black: intensity at which speckle may vanish, besides 0.
    """
    if growth == "constant":
        return _fit_clipped(bins, limits, power=0)[0]
    if counts:
        return _fit_linear(bins)
    line, cost = _fit_clipped(bins, limits, power=1)
    if growth == "linear" or cost < _GOOD_FIT_ERROR or len(bins.mean) < _MIN_PARABOLA_GROUPS:
        return line
    parabolas = (_fit_clipped(bins, limits, power=2, vertex=vertex) for vertex in dict.fromkeys((0.0, black)))
    parabola, other_cost = min(parabolas, key=lambda fit: fit[1])
    return parabola if other_cost < _BETTER_FIT_SHARE * cost else line


def _fit_clipped(
    bins: VarianceBins, limits: tuple[float, float], power: int, vertex: float = 0.0
) -> tuple[NoiseVariance, float]:
    """Return the better of the fits with and without clipping at the lower limit, and its error."""
    clipped, cost = _fit_power(bins, limits, power, vertex)
    if not np.isfinite(limits[0]):
        return clipped, cost
    unclipped, other_cost = _fit_power(bins, (-np.inf, limits[1]), power, vertex)
    return (unclipped, other_cost) if other_cost < _BETTER_FIT_SHARE * cost else (clipped, cost)


def _fit_linear(bins: VarianceBins) -> NoiseVariance:
    """Return the line of least relative squared error, which includes variances of 0, unlike a fit of logarithms."""
    mean, measured = bins.mean, bins.variance
    min_variance = 1e-3 * max(float(measured.max(initial=0.0)), 1e-300)
    if len(mean) < 2 or np.ptp(mean) <= 0:
        return NoiseVariance(0.0, float(np.average(measured, weights=bins.count)))
    expected = np.full_like(measured, max(float(measured.mean()), min_variance))
    gain, variance = 0.0, float(measured.mean())
    for _ in range(8):
        over = np.maximum(measured / expected - 1.0, 0.0)
        weights = np.sqrt(bins.count) / expected / np.sqrt(1.0 + (over / 0.5) ** 2)
        (gain, variance), *_ = np.linalg.lstsq(
            np.stack([mean, np.ones_like(mean)], 1) * weights[:, None], measured * weights
        )
        expected = np.maximum(gain * mean + variance, max(min_variance, 0.1 * float(measured.mean())))
    return NoiseVariance(float(gain), float(variance))


def _fit_power(
    bins: VarianceBins, limits: tuple[float, float], power: int, vertex: float
) -> tuple[NoiseVariance, float]:
    """Fit a constant plus a multiple of this power of the intensity, 1 or 2; return the fit and its mean error.

    The intensity is counted from `vertex`.

    For a power of 0, only a constant is fitted.

    The error is that of logarithms, as variances have a relative error. Groups far above the fit contain structure and
    have a smaller weight.
    """
    usable = bins.variance > 1e-4 * max(float(bins.variance.max(initial=0.0)), 1e-300)
    if not usable.any():
        return NoiseVariance(0.0, 0.0), 0.0
    mean, measured, count = bins.mean[usable], bins.variance[usable], bins.count[usable]
    low, high = float(mean.min()), float(mean.max())
    weights = np.sqrt(count / count.max())
    is_narrow = not power or high - low < _MIN_RANGE_SIGMAS * float(np.sqrt(np.median(measured)))

    def variance(log_variances: Values) -> NoiseVariance:
        first, last = np.exp(log_variances[[0, -1]])
        growth = 0.0 if is_narrow else (last - first) / ((high - vertex) ** power - (low - vertex) ** power)
        at_vertex = first - growth * (low - vertex) ** power
        if power == 2:
            return NoiseVariance(-2.0 * growth * vertex, at_vertex + growth * vertex**2, 0.0, growth)
        return NoiseVariance(growth, at_vertex - growth * vertex * (power == 1))

    def errors(log_variances: Values, robust_weights: Values) -> Values:
        expected = clipped_variance(variance(log_variances), mean, limits)
        return np.asarray((np.log(measured) - np.log(expected)) * weights * robust_weights)

    solution = np.log(np.full(1 if is_narrow else 2, float(np.median(measured))))
    robust_weights = np.ones_like(mean)
    for _ in range(6):
        solution = least_squares(errors, solution, args=(robust_weights,), loss="soft_l1", f_scale=0.1).x
        over = errors(solution, np.ones_like(mean))
        robust_weights = 1.0 / (1.0 + (np.maximum(over, 0.0) / 0.2) ** 2)
    return variance(solution), float(np.mean(np.minimum(np.abs(errors(solution, np.ones_like(mean))), 1.0)))


def clipped_variance(noise: NoiseVariance, mean: Values, limits: tuple[float, float]) -> Values:
    """Return the variance of clipped normal noise at mean intensities after clipping (Foi et al. 2008, section V).

    Args:
        noise: noise before clipping.
        mean: mean intensities after clipping.
        limits: lowest and highest intensity at which the image is clipped; infinite if it is not.
    """
    if not np.isfinite(limits).any():
        return np.asarray(np.maximum(noise.sigma(mean) ** 2, 1e-14), np.float64)
    span = float(np.ptp(mean)) + 1e-3
    true_means = np.linspace(mean.min() - 2 * span, mean.max() + 2 * span, 2001)
    means, variances = clipped_moments(true_means, np.maximum(noise.sigma(true_means), 1e-7), limits)
    rising = np.maximum.accumulate(means)
    keep = np.concatenate([[True], np.diff(rising) > 1e-12])
    return np.asarray(np.maximum(np.interp(mean, rising[keep], variances[keep]), 1e-14), np.float64)


def clipped_moments(mean: Values, sigma: Values, limits: tuple[float, float]) -> tuple[Values, Values]:
    """Return mean and variance of normal variables after clipping to the limits."""
    low, high = ((np.full_like(mean, limit) - mean) / sigma for limit in limits)
    below, above = ndtr(low), ndtr(-high)
    density_low, density_high = (np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) for x in (low, high))
    inside = 1.0 - below - above
    at_low, at_high = (np.where(np.isfinite(x), x, 0.0) for x in (low, high))
    first = at_low * below + at_high * above + density_low - density_high
    moment = at_low**2 * below + at_high**2 * above + inside + at_low * density_low - at_high * density_high
    return mean + sigma * first, sigma**2 * np.maximum(moment - first**2, 0.0)
