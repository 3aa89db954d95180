"""Missing pixels in the network input: filled from their surroundings, with noise of the same strength.

A blind network infers the noise from its input. A smooth patch in place of missing pixels would suggest that there is
no noise in a large area around it. The added noise is a function of the position in the image alone, so that tiles
agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from masked_denoiser.noise.variance_model import NoiseVariance

#: Sides of the squares whose valid pixels fill missing pixels; the smallest square with a valid pixel is used.
_FILL_SIDES = (31, 15, 7, 3)


def fill_missing(unit: NDArray[np.float64], missing: NDArray[np.bool_], typical: float) -> NDArray[np.float64]:
    """Return [C, H, W] with missing pixels replaced by the mean of nearby valid ones, or else by a typical value."""
    valid = (~missing).astype(np.float64)
    known = np.where(missing, 0.0, unit)
    filled = np.full_like(unit, typical)
    for side in _FILL_SIDES:
        valid_share = uniform_filter(valid, (1, side, side), mode="constant")
        mean = uniform_filter(known, (1, side, side), mode="constant") / np.maximum(valid_share, 1e-12)
        filled = np.where(valid_share > 0.5 / side**2, mean, filled)
    return np.where(missing, filled, unit)


def add_noise_to_missing(
    unit: NDArray[np.float32], missing: NDArray[np.bool_], noise: Sequence[NoiseVariance], origin: tuple[int, int]
) -> NDArray[np.float32]:
    """Return a tile [C, H, W] with noise added to its missing pixels.

    Args:
        unit: the tile in units of its range, with missing pixels filled.
        missing: mask of the same shape.
        noise: of each channel, or one item for all of them.
        origin: row and column of the first pixel in the image.
    """
    models = [*noise] if len(noise) == len(unit) else [noise[0]] * len(unit)
    out = unit.copy()
    for number, (channel, mask, model) in enumerate(zip(unit, missing, models, strict=True)):
        if mask.any():
            normal = positional_noise(channel.shape, origin, number)
            out[number] = np.where(mask, channel + model.sigma(channel.astype(np.float64)) * normal, channel)
    return out


def positional_noise(shape: tuple[int, ...], origin: tuple[int, int], seed: int = 0) -> NDArray[np.float64]:
    """Return normal noise [H, W] of unit variance that depends on the position of each pixel alone."""
    first, second = (positional_uniform(shape, origin, 2 * seed + half) for half in (0, 1))
    return np.asarray(np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second))


def positional_uniform(shape: tuple[int, ...], origin: tuple[int, int], seed: int = 0) -> NDArray[np.float64]:
    """Return uniform numbers [H, W] in (0, 1] that depend on the position of each pixel alone.

    They are computed by the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    """
    rows = np.arange(origin[0], origin[0] + shape[0], dtype=np.uint64)[:, None]
    columns = np.arange(origin[1], origin[1] + shape[1], dtype=np.uint64)[None, :]
    x = (rows << np.uint64(34)) ^ (columns << np.uint64(4)) ^ np.uint64(seed)
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return ((x >> np.uint64(11)).astype(np.float64) + 1.0) / 2.0**53
