"""Replacement of impulses and hot pixels before the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.noise_treatment import NoiseTreatment
from masked_denoiser.inference.runner import Batch
from masked_denoiser.noise.impulses import find_impulses, repair

#: Rows and columns of pixels, or of the first pixels of tiles.
Positions = tuple[tuple[int, int], ...]

#: Tolerance of the intensity of an impulse, in units of the range.
_IMPULSE_TOLERANCE = 1e-5


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
    low = -np.inf if treatment.impulse_low is None else treatment.impulse_low + _IMPULSE_TOLERANCE
    high = np.inf if treatment.impulse_high is None else treatment.impulse_high - _IMPULSE_TOLERANCE
    extreme = (tiles <= low) | (tiles >= high)
    return repair(tiles, extreme & find_impulses(tiles, treatment.impulse_height))


def _hot_pixel_mask(shape: tuple[int, ...], positions: Positions, origins: Positions) -> NDArray[np.bool_]:
    mask = np.zeros(shape, np.bool_)
    for tile, origin in zip(mask, origins, strict=True):
        rows, columns = np.subtract(positions, origin).T
        inside = (rows >= 0) & (rows < shape[2]) & (columns >= 0) & (columns < shape[3])
        tile[:, rows[inside], columns[inside]] = True
    return mask
