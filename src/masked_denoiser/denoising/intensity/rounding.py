"""Rounding to integers that keeps local means, for images whose noise is little more than their rounding.

At two photons a pixel, rounding to the nearest integer moves an even region by up to a quarter of its intensity. Here
the threshold above which a pixel is rounded up is chosen for its surroundings, so that their mean stays. Where the
intensities around vary by more than an integer the threshold is a half, as usual.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from masked_denoiser.denoising.intensity.missing_pixels import positional_uniform

#: Distance in pixels of the surroundings whose mean is kept.
REACH = 16

#: Noise up to so many integers is little more than rounding.
COARSE = 3.0

#: Dither that tells apart pixels of equal intensity, and distance of the thresholds that are compared.
_DITHER, _STEP = 0.25, 0.125

#: How often a threshold is refined, and the least density, in shares an integer, that is believed.
_REFINEMENTS, _LEAST_DENSITY = 4, 0.5

#: Densities are seen too low where all intensities are alike; refinements that believed them would overshoot.
_DAMPING = 1.5


def round_keeping_means(values: NDArray[np.float64], origin: tuple[int, int]) -> NDArray[np.float64]:
    """Return integers whose means over 33 x 33 pixels are those of the values.

    Args:
        values: [C, H, W].
        origin: row and column in the image of the first pixel: the dither depends on the position.
    """
    whole = np.floor(values)
    part = values - whole
    wanted = _local(part)
    dithered = part + _DITHER * (positional_uniform(values.shape[1:], origin) - 0.5)
    threshold, density = _threshold(dithered, wanted)
    for _ in range(_REFINEMENTS):
        off = _local((dithered > threshold).astype(np.float64)) - wanted
        threshold = threshold + np.clip(off / np.maximum(_DAMPING * density, _LEAST_DENSITY), -_STEP, _STEP)
    return np.asarray(whole + (dithered > threshold))


def _threshold(
    part: NDArray[np.float64], wanted: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The threshold of each pixel above which the wanted share of its surroundings lies, and their density there."""
    low, high = -_DITHER / 2, 1.0 + _DITHER / 2
    before, threshold, density = np.ones_like(part), np.full_like(part, high), np.ones_like(part)
    found = np.zeros(part.shape, np.bool_)
    for left in np.arange(low, high, _STEP):
        share = _local((part > left + _STEP).astype(np.float64))
        here = ~found & (share <= wanted)
        inside = np.maximum(before - share, 1e-9)
        threshold = np.where(here, left + np.clip((before - wanted) / inside, 0.0, 1.0) * _STEP, threshold)
        density = np.where(here, inside / _STEP, density)
        found |= here
        before = share
    return threshold, density


def _local(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(uniform_filter(values, (1, 2 * REACH + 1, 2 * REACH + 1), mode="reflect"))
