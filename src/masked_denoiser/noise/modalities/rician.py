"""Measurement of Rician noise, that of the magnitude of a complex signal, as in MRI.

Where there is no signal, magnitudes have the Rayleigh distribution with the standard deviation sigma of the real part
as its only parameter: a mean of 1.25 sigma, a variance of 0.43 sigma^2 (Sijbers et al., *Automatic estimation of the
noise variance from the histogram of a magnetic resonance image*, Phys. Med. Biol. 2007; Aja-Fernandez et al., *Noise
and signal estimation in magnitude MRI and Rician distributed images*, IEEE TIP 2008). The background is found by its
blocks, whose mean and power agree with that distribution and which all have the same power. Where there is none,
because it was set to zero or cut off, the variance of the noise in the signal is corrected (Koay and Basser,
*Analytically exact correction scheme for signal extraction from noisy magnitude MR signals*, J. Magn. Reson. 2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import ive

from masked_denoiser.noise.blocks import BLOCK, Image, Mask, Values, blocks_of
from masked_denoiser.noise.flat_regions.variance_bins import VarianceBins

#: Ratio of the squared mean to the power of Rayleigh noise, and the largest deviation of a block of the background.
_RAYLEIGH_RATIO, _RATIO_TOLERANCE = np.pi / 4.0, 0.07

#: Largest distance between the logarithms of the power of a block and of the background.
_POWER_TOLERANCE = 0.25

#: Smallest number of blocks of the background, and smallest share of all blocks.
_MIN_BLOCKS, _MIN_SHARE = 24, 0.01

#: Magnitudes in standard deviations up to which the distribution is fitted: little signal lies below.
_FITTED_SIGMAS = 2.0

#: Number of bins up to there, unless the quantization gives them, and largest number of refinements of the limit.
_BINS, _REFINEMENTS = 64, 12

#: Least number of bins of quantized magnitudes.
_MIN_BINS = 4

#: Largest distance between the distribution of the background and Rayleigh's, as a difference of probabilities.
_MAX_DISTANCE = 0.05

#: Standard deviation in quantization steps below which the distribution of magnitudes cannot be recognised.
_MIN_STEPS = 0.8

#: Share of zeros above which a block is excluded: programs set the background to zero.
_MAX_ZEROS = 0.3


@dataclass(frozen=True)
class RicianNoise:
    """Rician noise of a channel.

    Attributes:
        sigma: standard deviation of the real and of the imaginary part, in units of the image.
        background: share of the blocks that contain no signal, on which it was measured; 0 if it was measured
            elsewhere.
        distance: largest difference of the distributions of the background and of Rayleigh.
    """

    sigma: float
    background: float = 0.0
    distance: float = 0.0


def measure_background(tiles: Sequence[Image], missing: Sequence[Mask | None], step: float) -> RicianNoise | None:
    """Return the Rician noise of the background; None if there is no background with the distribution of Rayleigh.

    Args:
        tiles: [H, W] each, of one channel, magnitudes in units of the image.
        missing: mask of the pixels of each tile without an intensity, or None.
        step: quantization step of the magnitudes; 0 if there is none.
    """
    blocks = _complete_blocks(tiles, missing)
    power, mean = np.mean(blocks**2, axis=1), blocks.mean(axis=1)
    zeros = np.mean(blocks == 0, axis=1)
    usable = (power > 0) & (zeros <= _MAX_ZEROS)
    ratio = mean**2 / np.maximum(power, 1e-300)
    candidates = np.flatnonzero(usable & (np.abs(ratio - _RAYLEIGH_RATIO) < _RATIO_TOLERANCE))
    if candidates.size < _MIN_BLOCKS:
        return None
    log_power = np.log(power[candidates])
    alike = candidates[np.abs(log_power - _mode(log_power)) < _POWER_TOLERANCE]
    if alike.size < max(_MIN_BLOCKS, _MIN_SHARE * len(blocks)):
        return None
    background = blocks[alike].ravel()
    sigma = fit_rayleigh(background, step)
    distance = rayleigh_distance(background, sigma, step)
    if sigma < _MIN_STEPS * step or distance > _MAX_DISTANCE:
        return None
    return RicianNoise(sigma, alike.size / len(blocks), distance)


def _complete_blocks(tiles: Sequence[Image], missing: Sequence[Mask | None]) -> Values:
    """Return the blocks without missing pixels, [blocks, pixels]."""
    rows = [np.zeros((0, BLOCK * BLOCK))]
    for tile, mask in zip(tiles, missing, strict=True):
        if min(tile.shape) >= BLOCK:
            blocks = blocks_of(np.asarray(tile, np.float64))
            rows.append(blocks if mask is None else blocks[~blocks_of(mask).any(axis=1)])
    return np.concatenate(rows)


def _mode(values: Values) -> float:
    """Return the median of the values in the interval of width `_POWER_TOLERANCE` that contains the most."""
    ordered = np.sort(values)
    ends = np.searchsorted(ordered, ordered + _POWER_TOLERANCE, side="right")
    first = int(np.argmax(ends - np.arange(ordered.size)))
    return float(np.median(ordered[first : ends[first]]))


def fit_rayleigh(magnitudes: Values, step: float = 0.0) -> float:
    """Return the parameter of Rayleigh's distribution by maximum likelihood, from the magnitudes below 2 sigma.

    Args:
        magnitudes: of noise, with little signal among them.
        step: quantization step; 0 if there is none.
    """
    sigma = float(np.median(magnitudes) / np.sqrt(2.0 * np.log(2.0)))
    for _ in range(_REFINEMENTS):
        if sigma <= 0:
            return 0.0
        edges = _bin_edges(_FITTED_SIGMAS * sigma, step)
        counts, _ = np.histogram(magnitudes, edges)
        sigma, previous = _fit_counts(counts, edges, sigma), sigma
        if abs(sigma - previous) < 1e-4 * sigma:
            break
    return sigma


def _bin_edges(limit: float, step: float) -> Values:
    """Return the edges of bins from 0 to a limit; those of quantized magnitudes lie half-way between two."""
    if step <= 0:
        return np.linspace(0.0, limit, _BINS + 1)
    return np.concatenate([[0.0], (np.arange(max(_MIN_BINS, round(limit / step))) + 0.5) * step])


def _fit_counts(counts: NDArray[np.int64], edges: Values, sigma: float) -> float:
    """Return the parameter of the Rayleigh distribution, cut off at the last edge, that best explains counts."""

    def cost(log_sigma: float) -> float:
        survival = np.exp(-0.5 * (edges / np.exp(log_sigma)) ** 2)
        shares = np.maximum(-np.diff(survival), 1e-300) / max(1.0 - survival[-1], 1e-300)
        return -float(counts @ np.log(shares))

    start = np.log(sigma)
    return float(np.exp(minimize_scalar(cost, bounds=(start - 1.0, start + 1.0), method="bounded").x))


def rayleigh_distance(magnitudes: Values, sigma: float, step: float = 0.0) -> float:
    """Return the largest difference between the distribution of magnitudes and that of Rayleigh (Kolmogorov).

    Args:
        magnitudes: of noise.
        sigma: parameter of the distribution.
        step: quantization step; distributions are compared half-way between steps.
    """
    if sigma <= 0:
        return 1.0
    ordered = np.sort(magnitudes)
    at = ordered if step <= 0 else (np.arange(0.0, np.ceil(ordered[-1] / step) + 1) + 0.5) * step
    measured = np.searchsorted(ordered, at, side="right") / ordered.size
    return float(np.abs(measured - (1.0 - np.exp(-0.5 * (at / sigma) ** 2))).max())


def sigma_of_variances(bins: VarianceBins) -> float:
    """Return the standard deviation of the Rician noise whose variances in the signal were measured; 0 for none.

    Args:
        bins: mean magnitude and variance of the noise of regions, of which the median counts.
    """
    usable = (bins.variance > 0) & (bins.mean > 0)
    if not usable.any():
        return 0.0
    sigmas = correct_sigma(bins.mean[usable], np.sqrt(bins.variance[usable]))
    order = np.argsort(sigmas)
    cumulative = np.cumsum(bins.count[usable][order])
    return float(sigmas[order][np.searchsorted(cumulative, 0.5 * cumulative[-1])])


def correct_sigma(mean: NDArray[np.float64], std: NDArray[np.float64]) -> Values:
    """Return the standard deviation of the real part of noise from mean and standard deviation of its magnitude.

    The fixed point of Koay and Basser (2006, eq. A5 to A8); without signal below a ratio of 1.91.

    Args:
        mean, std: of the magnitude, of equal shape; positive.
    """
    ratio = 1.0 + (mean / std) ** 2
    snr = np.sqrt(np.maximum(ratio - 2.0, 0.0))
    for _ in range(100):
        snr = np.sqrt(np.maximum(_variance_share(snr) * ratio - 2.0, 0.0))
    return np.asarray(std / np.sqrt(_variance_share(snr)))


def _variance_share(snr: Values) -> Values:
    """Return the variance of a magnitude over that of its real part, for a signal of `snr` standard deviations.

    Koay and Basser (2006), eq. A4; Bessel functions are scaled by the exponential to remain finite.
    """
    x = snr**2 / 4.0
    bessel = (2.0 + snr**2) * ive(0, x) + snr**2 * ive(1, x)
    return np.asarray(2.0 + snr**2 - np.pi / 8.0 * bessel**2)
