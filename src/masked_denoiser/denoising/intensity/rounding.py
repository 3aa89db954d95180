"""Rounding to integers that keeps local means, for images whose noise is hardly stronger than their rounding.

At two photons per pixel, rounding to the nearest integer shifts a uniform region by up to a quarter of its intensity.
Here the threshold above which a pixel is rounded up is chosen for its surroundings so that their mean is kept. If the
surrounding intensities vary by more than an integer, the threshold is one half, as usual.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from masked_denoiser.denoising.intensity.missing_pixels import positional_uniform

#: Half side in pixels of the square whose mean is kept.
REACH = 16

#: Standard deviation of the noise, in integers, up to which it is hardly stronger than rounding.
COARSE_NOISE_SIGMA = 3.0

#: Amplitude of the dither that distinguishes pixels of equal intensity.
_DITHER = 0.25

#: Distance between the thresholds that are compared, and largest change of a threshold per refinement.
_STEP = 0.125

#: Number of times that a threshold is refined.
_REFINEMENTS = 4

#: Least density of pixels at the threshold, as a share per integer, that is used in a refinement.
_MIN_DENSITY = 0.5

#: Factor of the density: where all intensities are similar it is underestimated, and refinements would overshoot.
_DAMPING = 1.5


def round_keeping_means(values: NDArray[np.float64], origin: tuple[int, int]) -> NDArray[np.float64]:
    """Return integers whose means over 33 x 33 pixels are those of the values.

    Args:
        values: [C, H, W].
        origin: row and column of the first pixel in the image, because the dither depends on the position.
    """
    whole = np.floor(values)
    fraction = values - whole
    wanted = _local_mean(fraction)
    dithered = fraction + _DITHER * (positional_uniform(values.shape[1:], origin) - 0.5)
    threshold, density = _initial_threshold(dithered, wanted)
    for _ in range(_REFINEMENTS):
        error = _local_mean((dithered > threshold).astype(np.float64)) - wanted
        threshold = threshold + np.clip(error / np.maximum(_DAMPING * density, _MIN_DENSITY), -_STEP, _STEP)
    return np.asarray(whole + (dithered > threshold))


def _initial_threshold(
    fraction: NDArray[np.float64], wanted: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for each pixel the threshold exceeded by the wanted share of its surroundings, and their density there."""
    low, high = -_DITHER / 2, 1.0 + _DITHER / 2
    previous, threshold, density = np.ones_like(fraction), np.full_like(fraction, high), np.ones_like(fraction)
    found = np.zeros(fraction.shape, np.bool_)
    for left in np.arange(low, high, _STEP):
        share = _local_mean((fraction > left + _STEP).astype(np.float64))
        here = ~found & (share <= wanted)
        inside = np.maximum(previous - share, 1e-9)
        threshold = np.where(here, left + np.clip((previous - wanted) / inside, 0.0, 1.0) * _STEP, threshold)
        density = np.where(here, inside / _STEP, density)
        found |= here
        previous = share
    return threshold, density


def _local_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(uniform_filter(values, (1, 2 * REACH + 1, 2 * REACH + 1), mode="reflect"))
