"""Limits of a correction: no more is removed than the measured noise can explain, and local means are kept.

A blind network infers the noise from the image. Sometimes it mistakes fine structure for noise, or erases a bead as if
it were an impulse. As the strength of the noise has been measured, what cannot be noise is restored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from masked_denoiser.noise.variance_model import NoiseVariance, clipped_moments

Batch = NDArray[np.float32]

#: Distance in pixels up to which pixels contribute to a local mean.
MEAN_REACH = 16

#: Corrections up to the first number of standard deviations are applied fully, from the second on not at all, because
#: noise does not reach that far.
_FULL_CORRECTION_SIGMAS, _NO_CORRECTION_SIGMAS = 4.5, 6.5

#: Share of a soft limit above which the original correction cannot be recovered.
_SATURATED = 0.9999

#: Least variance of the noise, as a share of that at the local mean: a dark pixel may owe its low value to noise.
_MIN_VARIANCE_SHARE = 0.25

#: Side in pixels of the square over which the intensity that determines the noise is smoothed.
_INTENSITY_SIDE = 7

#: Largest weight of a single pixel in a local mean, in standard deviations.
_MAX_SIGMAS_OF_PIXEL = 8.0

#: Largest ratio of the removed to the measured standard deviation over 33 x 33 pixels, as measurements have errors.
_MEASUREMENT_MARGIN = 1.3

#: Photons per pixel up to which local means are kept entirely, and from which on changes within chance are allowed.
_FEW_PHOTONS, _MANY_PHOTONS = 20.0, 50.0

#: Standard deviations of the local mean of a correction within which it counts as chance.
_CHANCE_SIGMAS = 2.0


@dataclass(frozen=True, eq=False)
class _VarianceModel:
    """Variance as a function of intensity for each channel; coefficients [C, 1, 1]."""

    gain: Batch
    variance: Batch
    floor: Batch
    quadratic: Batch

    def at(self, intensity: Batch) -> Batch:
        variance = (self.quadratic * intensity + self.gain) * intensity + self.variance
        return np.asarray(np.maximum(variance, np.maximum(self.floor, 1e-12)), np.float32)


def limit_correction(
    denoised: Batch,
    tiles: Batch,
    noise: Sequence[NoiseVariance],
    width: float = 0.0,
    clipped: tuple[float, float] = (-np.inf, np.inf),
    unlimited: Batch | None = None,
) -> Batch:
    """Return a result with everything restored that cannot be noise.

    Three limits apply in turn: to each pixel, to the energy over 33 x 33 pixels, and to the mean over them.

    Args:
        denoised, tiles: [B, C, H, W] in the same units.
        noise: of each channel, or one item for all of them.
        width: of the blur that explains the correlation of the noise, in pixels; 0 for white noise.
        clipped: lowest and highest intensity, where the image was clipped after the noise; otherwise infinite.
        unlimited: [B, C, H, W], what the network would return without its soft limit, so that a bead that it
            takes for noise of 100 standard deviations is kept, and not darkened by 4. None if it has no soft limit.
    """
    unlimited = denoised if unlimited is None else unlimited
    model = _VarianceModel(*(_per_channel(noise, name) for name in ("gain", "variance", "floor", "quadratic")))
    removed = tiles - denoised
    local_mean = _local_mean(tiles)
    removed = removed * _plausible_share(tiles - unlimited, unlimited, local_mean, model)
    strength = np.sqrt(np.maximum(_local_mean(removed**2), 0.0))
    allowed = _MEASUREMENT_MARGIN * np.sqrt(model.at(local_mean))
    removed = removed * np.minimum(1.0, allowed / np.maximum(strength, 1e-12))
    removed = removed - _bias(removed, tiles - removed, local_mean, model, width, clipped)
    return np.asarray(tiles - removed, np.float32)


def undo_soft_limit(limited: Batch, network_input: Batch, limit: Batch) -> Batch:
    """Return the output that a network would have without the soft limit `limit * tanh(correction / limit)`.

    Args:
        limited: [B, C, H, W], output of the network.
        network_input: [B, C, H, W].
        limit: [B, 1, H, W] in the same units, zero where there is no noise.
    """
    share = (limited - network_input) / np.maximum(limit, 1e-12)
    return np.asarray(network_input + limit * np.arctanh(np.clip(share, -_SATURATED, _SATURATED)), np.float32)


def _plausible_share(removed: Batch, denoised: Batch, local_mean: Batch, model: _VarianceModel) -> Batch:
    """Return the share of each correction that can be noise: 1 for small corrections, 0 for large ones.

    Photon noise extends farther upwards than downwards: by the expansion of Cornish and Fisher (1938) its quantile at z
    standard deviations lies (z^2 - 1) / 6 photons above that of normal noise, and twice as far where a detector
    multiplies each photon by a random factor, as EMCCDs and photomultipliers do (gamma noise). As the detector is not
    known, the larger of the two is allowed.
    """
    sigma = np.sqrt(np.maximum(model.at(denoised), _MIN_VARIANCE_SHARE * model.at(local_mean)))
    skew = (_FULL_CORRECTION_SIGMAS**2 - 1.0) / 3.0 * model.gain
    distance = np.where(removed > 0, np.maximum(removed - skew, 0.0), -removed) / sigma
    share = (_NO_CORRECTION_SIGMAS - distance) / (_NO_CORRECTION_SIGMAS - _FULL_CORRECTION_SIGMAS)
    return np.asarray(np.clip(share, 0.0, 1.0), np.float32)


def _bias(
    removed: Batch, kept: Batch, local_mean: Batch, model: _VarianceModel, width: float, clipped: tuple[float, float]
) -> Batch:
    """Return what a correction removes from local means beyond chance; negative where it adds to them.

    The mean of noise over a thousand pixels is close to zero, so the rest is an error of the network, which returns
    medians instead of means. It is measured in units of the noise, so that bright regions do not affect dim ones.
    """
    # The intensity is smoothed because what was removed from a pixel is not independent of what is kept of it.
    smoothed = _box_mean(kept, _INTENSITY_SIDE)
    sigma = np.sqrt(np.maximum(model.at(smoothed), _MIN_VARIANCE_SHARE * model.at(local_mean)))
    # Where the measured noise is too low, no pixel may outweigh its neighbourhood.
    mean = _local_mean(np.clip(removed / sigma, -_MAX_SIGMAS_OF_PIXEL, _MAX_SIGMAS_OF_PIXEL).astype(np.float32))
    if np.isfinite(clipped).any():
        expected = _local_mean(_mean_after_clipping(kept, sigma, clipped))
        mean -= np.clip(mean, np.minimum(expected, 0.0), np.maximum(expected, 0.0))
    chance = _CHANCE_SIGMAS * np.sqrt(4.0 * np.pi * width**2 + 1.0) / (2 * MEAN_REACH + 1)
    significant = np.sign(mean) * np.maximum(np.abs(mean) - chance, 0.0)
    photons = (kept + model.variance / np.maximum(model.gain, 1e-12)) / np.maximum(model.gain, 1e-12)
    few = np.where(model.gain > 0, np.clip((_MANY_PHOTONS - photons) / (_MANY_PHOTONS - _FEW_PHOTONS), 0.0, 1.0), 0.0)
    return np.asarray(sigma * (few * mean + (1.0 - few) * significant), np.float32)


def _mean_after_clipping(kept: Batch, sigma: Batch, clipped: tuple[float, float]) -> Batch:
    """Return the mean of clipped normal noise, in standard deviations: below 0 near white, above 0 near black."""
    mean, _ = clipped_moments(kept.astype(np.float64), sigma.astype(np.float64), clipped)
    return np.asarray((mean - kept) / sigma, np.float32)


def _per_channel(noise: Sequence[NoiseVariance], name: str) -> Batch:
    return np.array([getattr(variance, name) for variance in noise], np.float32)[:, None, None]


def _local_mean(batch: Batch) -> Batch:
    return _box_mean(batch, 2 * MEAN_REACH + 1)


def _box_mean(batch: Batch, side: int) -> Batch:
    return np.asarray(uniform_filter(batch, size=(1, 1, side, side), mode="reflect"), np.float32)
