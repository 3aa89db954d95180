"""Replacement of impulses and hot pixels before the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.noise_treatment import NoiseTreatment
from masked_denoiser.inference.runner import Batch
from masked_denoiser.noise.impulses import find_impulses, repair

#: Rows and columns of pixels, or of the first pixels of tiles.
Positions = tuple[tuple[int, int], ...]

#: Tolerance of the limit of impulses, in units of the range or, if it is beyond 1, of itself: it has six digits.
_IMPULSE_TOLERANCE = 2e-5


def replace_impulses(tiles: Batch, treatment: NoiseTreatment, origins: Positions = ()) -> Batch:
    """Return tiles [B, C, H, W] without the impulses and hot pixels of a treatment.

    Args:
        tiles: in units of their range.
        treatment: of the tiles.
        origins: of each tile in the image; without them hot pixels are kept.
    """
    if treatment.hot_pixels and origins:
        tiles = repair(tiles, _hot_pixel_mask(tiles.shape, treatment.hot_pixels, origins))
    if not treatment.impulse_height:
        return tiles
    return repair(tiles, extreme_pixels(tiles, treatment) & find_impulses(tiles, treatment.impulse_height))


def extreme_pixels(tiles: Batch, treatment: NoiseTreatment) -> NDArray[np.bool_]:
    """Return a mask of the pixels with the extreme intensities of impulses, whether isolated or not."""
    extreme = np.zeros(tiles.shape, np.bool_)
    if treatment.impulse_low is not None:
        extreme |= tiles <= treatment.impulse_low + _tolerance(treatment.impulse_low)
    if treatment.impulse_high is not None:
        extreme |= tiles >= treatment.impulse_high - _tolerance(treatment.impulse_high)
    return extreme


def _tolerance(limit: float) -> float:
    return _IMPULSE_TOLERANCE * max(1.0, abs(limit))


def _hot_pixel_mask(shape: tuple[int, ...], positions: Positions, origins: Positions) -> NDArray[np.bool_]:
    mask = np.zeros(shape, np.bool_)
    for tile, origin in zip(mask, origins, strict=True):
        rows, columns = np.subtract(positions, origin).T
        inside = (rows >= 0) & (rows < shape[2]) & (columns >= 0) & (columns < shape[3])
        tile[:, rows[inside], columns[inside]] = True
    return mask
