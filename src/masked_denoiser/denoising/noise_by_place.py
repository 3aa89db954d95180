"""Noise that is stronger in some places than in others, whatever the intensity, as in computed tomography.

Rays through the middle of a body, or along a shoulder, meet more matter than others: their noise is stronger, and stays
where they pass. What is measured over the whole image is its mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, median_filter

from masked_denoiser.inference.runner import Batch
from masked_denoiser.noise.blocks import DILATIONS

#: Side in pixels of the blocks in which noise is measured, on a grid that begins at the origin of the image.
_SIDE = 16

#: Smallest and largest factor of the noise of a place. Structure raises it, too: with 1.3 instead of 1.15, a phantom
#: gains 0.2 dB, and a slice of a patient loses 0.2 dB.
_LIMITS = (0.6, 1.15)

#: Distance in pixels of the surroundings on which a factor depends: three blocks, and the distance of neighbours.
PLACE_REACH = 3 * _SIDE + max(DILATIONS)

#: Standard deviation of normal noise over the median of its magnitude.
_FROM_MEDIAN = 1.4826


def place_factors(tiles: Batch, sigma: Batch | np.float32, width: float, origins: tuple[tuple[int, int], ...]) -> Batch:
    """Return the factors of the noise of each place against that of the image, [B, 1, H, W] float32.

    The noise of a block is the median magnitude of the difference of pixels and their neighbours at a distance at which
    noise is independent; the median over 3 x 3 blocks ignores edges. Between the centres of blocks it is interpolated.

    Args:
        tiles: [B, C, H, W] in units of their range.
        sigma: standard deviation of the noise of the image at their intensities, [B, 1, H, W].
        width: of the blur that explains the correlation of the noise, in pixels; 0 for white noise.
        origins: of each tile in the image.
    """
    distance = next((each for each in DILATIONS if each >= 4 * width), max(DILATIONS)) if width else 1
    expected = np.broadcast_to(sigma, (len(tiles), 1, *tiles.shape[2:]))
    factors = [
        _interpolated(_block_factors(tile, of_tile[0], distance, origin), origin, tile.shape[1:])
        for tile, of_tile, origin in zip(tiles, expected, origins, strict=True)
    ]
    return np.stack(factors)[:, None].astype(np.float32)


def _block_factors(
    tile: NDArray[np.float32], sigma: NDArray[np.float32], distance: int, origin: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the factor of each block that a tile [C, H, W] overlaps, [rows, columns]."""
    padded = np.pad(tile, ((0, 0), (distance, distance), (distance, distance)), mode="reflect")
    middle = slice(distance, -distance)
    neighbours = (
        padded[:, 2 * distance :, middle]
        + padded[:, : -2 * distance, middle]
        + padded[:, middle, 2 * distance :]
        + padded[:, middle, : -2 * distance]
    )
    deviation = np.abs(tile - neighbours / 4) / np.maximum(sigma, np.finfo(np.float32).tiny) / np.sqrt(1.25)
    before = [start % _SIDE for start in origin]
    after = [-(start + side) % _SIDE for start, side in zip(before, tile.shape[1:], strict=True)]
    whole = np.pad(deviation, [(0, 0), *zip(before, after, strict=True)], mode="symmetric")
    rows, columns = (side // _SIDE for side in whole.shape[1:])
    blocks = whole.reshape(-1, rows, _SIDE, columns, _SIDE).transpose(1, 3, 0, 2, 4).reshape(rows, columns, -1)
    medians = np.median(blocks, axis=-1) * _FROM_MEDIAN
    return np.asarray(np.clip(median_filter(medians, 3, mode="nearest"), *_LIMITS))


def _interpolated(factors: NDArray[np.float64], origin: tuple[int, int], size: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the factors of the pixels of a tile from those of its blocks."""
    rows, columns = (
        (np.arange(side) + start % _SIDE + 0.5) / _SIDE - 0.5 for side, start in zip(size, origin, strict=True)
    )
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(map_coordinates(factors, grid, order=1, mode="nearest"))
