"""Noise variance as a function of intensity: a line or a parabola, with clipping of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr

from masked_denoiser.noise.blocks import Values
from masked_denoiser.noise.flat_regions.variance_bins import VarianceBins
from masked_denoiser.noise.modalities.prior import Growth

#: Smallest range of intensities, in standard deviations of the noise, at which its growth can be measured.
_MIN_RANGE_SIGMAS = 0.5

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
