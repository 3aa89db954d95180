"""Limits of a correction: no more is removed than the measured noise can be, and local means are kept.

A blind network guesses the noise by itself, and now and then takes fine structure for it, or erases a bead as if it
were an impulse. But how strong the noise is has been measured, so that what cannot be noise is put back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from masked_denoiser.noise.variance_model import NoiseVariance, clipped_moments

Batch = NDArray[np.float32]

#: Distance in pixels that a pixel's local mean reaches.
MEAN_REACH = 16

#: Corrections of up to the first number of standard deviations are taken, from the second on none: no noise is so far.
_SURELY, _NEVER = 4.5, 6.5

#: Corrections above this share of a soft limit are all alike.
_SATURATED = 0.9999

#: The variance of noise is at least this share of that at the local mean: dark pixels are not known to be so dark.
_DIM = 0.25

#: Side of the square over which the intensity is smoothed that noise depends on.
_SMOOTHED = 7

#: Standard deviations that a single pixel counts at most in a local mean.
_OUTWEIGHS = 8.0

#: Over 33 x 33 pixels this many times the measured standard deviation may be removed: measurements have errors.
_MARGIN = 1.3

#: Up to so many photons a pixel local means are kept whole; from so many on only what cannot be chance.
_FEW, _MANY = 20.0, 50.0

#: Local means of the correction that are within so many of their standard deviations are chance.
_CHANCE = 2.0


@dataclass(frozen=True, eq=False)
class _Variance:
    """Variance against intensity of each channel, [C, 1, 1] each."""

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
    meant: Batch | None = None,
) -> Batch:
    """Return a result from which nothing is missing that cannot be noise.

    Three limits, one after the other: of each pixel, of the energy over 33 x 33 pixels, and of the mean over them.

    Args:
        denoised, tiles: [B, C, H, W] in the same units.
        noise: of each channel; one for all of them.
        width: of the blur that explains the correlation of the noise, in pixels; 0 for white noise.
        clipped: lowest and highest intensity, where the image was clipped after the noise; else infinite.
        meant: [B, C, H, W], what the network would have given without a soft limit of its own: a bead that it takes
            for noise of 100 standard deviations is kept, and not made darker by 4. None where it has no such limit.
    """
    meant = denoised if meant is None else meant
    level = _Variance(*(_per_channel(noise, name) for name in ("gain", "variance", "floor", "quadratic")))
    removed = tiles - denoised
    local = _local(tiles)
    removed = removed * _plausible(tiles - meant, meant, local, level)
    strength = np.sqrt(np.maximum(_local(removed**2), 0.0))
    allowed = _MARGIN * np.sqrt(level.at(local))
    removed = removed * np.minimum(1.0, allowed / np.maximum(strength, 1e-12))
    return np.asarray(tiles - (removed - _bias(removed, tiles - removed, local, level, width, clipped)), np.float32)


def undo_soft_limit(limited: Batch, seen: Batch, limit: Batch) -> Batch:
    """Return what a network would have given whose corrections are limited as `limit * tanh(correction / limit)`.

    Args:
        limited: [B, C, H, W], what it gave.
        seen: [B, C, H, W], what it was given.
        limit: [B, 1, H, W] in the same units, zero where there is no noise.
    """
    share = (limited - seen) / np.maximum(limit, 1e-12)
    return np.asarray(seen + limit * np.arctanh(np.clip(share, -_SATURATED, _SATURATED)), np.float32)


def _plausible(removed: Batch, denoised: Batch, local: Batch, level: _Variance) -> Batch:
    """Share of each correction that noise can be: 1 near the mean, 0 far from it.

    Photon noise reaches farther up than down: by the expansion of Cornish and Fisher (1938) its quantile at z standard
    deviations lies (z^2 - 1) / 6 photons above that of normal noise, and twice as far where a detector multiplies each
    photon by a random factor, as EMCCDs and photomultipliers do (gamma noise): which of them it is, is not known.
    """
    sigma = np.sqrt(np.maximum(level.at(denoised), _DIM * level.at(local)))
    skew = (_SURELY**2 - 1.0) / 3.0 * level.gain
    distance = np.where(removed > 0, np.maximum(removed - skew, 0.0), -removed) / sigma
    return np.asarray(np.clip((_NEVER - distance) / (_NEVER - _SURELY), 0.0, 1.0), np.float32)


def _bias(
    removed: Batch, kept: Batch, local: Batch, level: _Variance, width: float, clipped: tuple[float, float]
) -> Batch:
    """What a correction takes from, or adds to, local means, beyond chance.

    The mean of noise over a thousand pixels is next to nothing, so what is left is the fault of the network, which
    gives medians for means. It is measured in units of the noise, so that bright regions do not spread into dim ones.
    """
    # Smoothed a little, since what was removed from a pixel is not independent of what is kept of it.
    sigma = np.sqrt(np.maximum(level.at(_mean(kept, _SMOOTHED)), _DIM * level.at(local)))
    # Where the measurement is too low no pixel may outweigh its neighbourhood.
    mean = _local(np.clip(removed / sigma, -_OUTWEIGHS, _OUTWEIGHS).astype(np.float32))
    if np.isfinite(clipped).any():
        expected = _local(_mean_of_clipped(kept, sigma, clipped))
        mean -= np.clip(mean, np.minimum(expected, 0.0), np.maximum(expected, 0.0))
    chance = _CHANCE * np.sqrt(4.0 * np.pi * width**2 + 1.0) / (2 * MEAN_REACH + 1)
    certain = np.sign(mean) * np.maximum(np.abs(mean) - chance, 0.0)
    photons = (kept + level.variance / np.maximum(level.gain, 1e-12)) / np.maximum(level.gain, 1e-12)
    few = np.where(level.gain > 0, np.clip((_MANY - photons) / (_MANY - _FEW), 0.0, 1.0), 0.0)
    return np.asarray(sigma * (few * mean + (1.0 - few) * certain), np.float32)


def _mean_of_clipped(kept: Batch, sigma: Batch, clipped: tuple[float, float]) -> Batch:
    """Mean of normal noise after clipping, in standard deviations: less than 0 near white, more than 0 near black."""
    mean, _ = clipped_moments(kept.astype(np.float64), sigma.astype(np.float64), clipped)
    return np.asarray((mean - kept) / sigma, np.float32)


def _per_channel(noise: Sequence[NoiseVariance], name: str) -> Batch:
    return np.array([getattr(one, name) for one in noise], np.float32)[:, None, None]


def _local(batch: Batch) -> Batch:
    return _mean(batch, 2 * MEAN_REACH + 1)


def _mean(batch: Batch, side: int) -> Batch:
    return np.asarray(uniform_filter(batch, size=(1, 1, side, side), mode="reflect"), np.float32)
