"""Noise and structure of small blocks of an image.

White noise that grows with intensity is modelled as in Foi, Trimeche, Katkovnik and Egiazarian, *Practical
Poissonian-Gaussian noise modeling and fitting for single-image raw-data* (IEEE TIP 2008): var = gain * (mean -
offset) + read^2, then clipped at both ends. Two quantities of every block are measured independently: its noise, by
the residual of Immerkaer's mask (*Fast noise variance estimation*, CVIU 1996), and its structure, by the variance
that remains after smoothing. Noise is measured on the blocks with the least structure at each intensity.

The mask is also dilated: the residual of white noise is equal at all dilations, that of correlated noise grows up to a
dilation of its correlation length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, correlate1d, uniform_filter

from masked_denoiser.noise.flat_regions.filled_areas import filled_masks
from masked_denoiser.noise.impulses import ImpulseNoise, point_mask, repair
from masked_denoiser.noise.threads import map_in_threads

Image = NDArray[np.floating]
Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Side of a block in pixels.
BLOCK = 16

#: Tiles with a side below this have a narrow margin, to have more blocks.
_SMALL_TILE, _SMALL_MARGIN = 96, 2

#: Blocks overlap by half if there would otherwise be fewer than this number, which several intensities need.
_MIN_BLOCKS, _OVERLAPPING_STEP = 100, BLOCK // 2

#: Dilations of the mask, in pixels.
DILATIONS = (1, 2, 3, 4, 5, 6, 7, 8, 9)

#: Width in pixels of the border that is in no block; larger dilations use reflected pixels.
MARGIN = 6

#: Limits of the shares of clipped and of valid pixels in a block, beyond which it is excluded.
_MAX_CLIPPED_SHARE, _MIN_VALID_SHARE = 0.5, 0.25

#: Largest part of the residual of a block that can be noise, as a multiple of the median residual.
_MAX_RESIDUAL_RATIO = 3.0

#: Missing pixels are scattered if they and their neighbours are more than this many times their number.
_MAX_DILATED_RATIO = 2.0

#: Range of block means, in units of the intensity range, beyond which blocks are rare bright objects.
_BULK_RANGE = (-1.0, 3.0)

#: Largest range of intensities, in quantization steps, that is taken for photon counts.
_MAX_COUNT_STEPS = 40

#: Smallest share of pixels of photon counts that have the lowest value.
_MIN_BLACK_SHARE = 1e-3


@dataclass(frozen=True)
class Blocks:
    """Measurements on the blocks of one channel; each array has one entry for each block.

    Attributes:
        mean: mean intensity.
        structure: variance of the smoothed block, less the share of white noise.
        residual: [dilations, blocks], variance of the residual at each of `DILATIONS`.
        kurtosis: kurtosis of the residual at the second dilation, 3 for normal noise.
        coherence: coherence of the structure tensor of that residual, from 0 without direction, as in noise, to 1 with
            a single one, as in fibres and edges (Bigun and Granlund, ICCV 1987).
        limits: lowest and highest intensity if the image is clipped there, else infinite.
        counts: whether the intensities span so few quantization steps that each step may be a photon.
    """

    mean: Values
    structure: Values
    residual: Values
    kurtosis: Values
    coherence: Values
    limits: tuple[float, float]
    counts: bool = False


def measure_blocks(
    tiles: Sequence[Image],
    missing: Sequence[Mask | None] | None = None,
    impulses: ImpulseNoise | None = None,
    step: float = 0.0,
    noisy: Sequence[Image] | None = None,
) -> Blocks:
    """Measure the blocks of tiles.

    Args:
        tiles: [H, W] each, of one channel; those smaller than a block with its margin are excluded.
        missing: mask of the pixels of each tile without an intensity, or None; `tiles` are interpolated there.
        impulses: impulses of the channel, which count as missing.
        step: quantization step of the intensities; 0 if there is none.
        noisy: [H, W] each, images on which the residual is measured; the tiles by default.
    """
    pairs = zip(missing or [None] * len(tiles), filled_masks(tiles), strict=True)
    masks = [_union(mask, filled) for mask, filled in pairs]
    limits = clipping_limits(tiles, masks, step)
    found = impulses or ImpulseNoise()
    block_step = BLOCK if sum(_block_count(tile.shape) for tile in tiles) >= _MIN_BLOCKS else _OVERLAPPING_STEP

    def measure(images: tuple[Image, Image, Mask | None]) -> Values | None:
        tile, noisy_tile, mask = images
        pixels = np.asarray(tile, np.float64), np.asarray(noisy_tile, np.float64)
        return _measure_tile(*pixels, mask, limits, found, block_step)

    rows_of_tiles = map_in_threads(measure, list(zip(tiles, noisy or tiles, masks, strict=True)))
    measured = [rows for rows in rows_of_tiles if rows is not None]
    if not measured:
        return Blocks(np.zeros(0), np.zeros(0), np.zeros((len(DILATIONS), 0)), np.zeros(0), np.zeros(0), limits)
    rows = np.concatenate(measured, axis=1)
    counts = are_photon_counts(np.concatenate([np.asarray(tile, np.float64).ravel() for tile in tiles]), step)
    residuals = rows[2 : 2 + len(DILATIONS)]
    fourth, coherence = rows[-2:]
    kurtosis = fourth / np.maximum(residuals[1] ** 2, 1e-300)
    # Photon noise differs between blocks, but a single bright pixel is not noise and must not make its block look flat.
    noise = np.minimum(residuals[0], _MAX_RESIDUAL_RATIO * np.median(residuals[0])) if rows.size else residuals[0]
    return Blocks(rows[0], rows[1] - noise / 25.0, residuals, kurtosis, coherence, limits, counts)


def _union(first: Mask | None, second: Mask | None) -> Mask | None:
    return second if first is None else first if second is None else first | second


def bulk_blocks(blocks: Blocks) -> Blocks:
    """Return the blocks without those of rare bright objects."""
    inside = (blocks.mean >= _BULK_RANGE[0]) & (blocks.mean <= _BULK_RANGE[1])
    return replace(
        blocks,
        mean=blocks.mean[inside],
        structure=blocks.structure[inside],
        residual=blocks.residual[:, inside],
        kurtosis=blocks.kurtosis[inside],
        coherence=blocks.coherence[inside],
    )


def median_contrast(blocks: Blocks) -> float:
    """Return the median standard deviation of blocks after smoothing, without the share of white noise."""
    return float(np.sqrt(np.median(np.maximum(blocks.structure, 0.0))))


def clipping_limits(tiles: Sequence[Image], missing: Sequence[Mask | None], step: float = 0.0) -> tuple[float, float]:
    """Return the lowest and highest intensity, each infinite unless enough pixels have it to indicate clipping.

    The lowest value of photon counts is not a limit but the absence of photons.
    """
    valid = [
        np.asarray(tile)[~mask] if mask is not None else np.asarray(tile).ravel()
        for tile, mask in zip(tiles, missing, strict=True)
    ]
    pooled = np.concatenate([*valid, np.zeros(0)])
    if not pooled.size or are_photon_counts(pooled, step):
        return -np.inf, np.inf
    low, high = float(pooled.min()), float(pooled.max())
    at_low, at_high = (int(np.count_nonzero(pooled == end)) for end in (low, high))
    min_count = 1e-3 * pooled.size
    return (low if at_low > min_count else -np.inf), (high if at_high > min_count else np.inf)


def are_photon_counts(values: Values, step: float) -> bool:
    """Return whether intensities span so few quantization steps that each step may be a photon, and some are black.

    The lowest value of other noise in a narrow range is rare, as in a flat field.
    """
    lowest = float(values.min())
    if step <= 0 or float(np.percentile(values, 99)) - lowest > _MAX_COUNT_STEPS * step:
        return False
    return float(np.mean(values < lowest + step / 2)) >= _MIN_BLACK_SHARE


def _margin(shape: tuple[int, ...]) -> int:
    """Return the width of the border of a tile that is in no block."""
    return _SMALL_MARGIN if min(shape) < _SMALL_TILE else MARGIN


def _block_count(shape: tuple[int, ...]) -> int:
    """Return the number of blocks of a tile that do not overlap."""
    rows, columns = (max(0, side - 2 * _margin(shape)) // BLOCK for side in shape)
    return rows * columns


def _measure_tile(
    tile: Values, noisy: Values, missing: Mask | None, limits: tuple[float, float], impulses: ImpulseNoise, step: int
) -> Values | None:
    """Return mean, variance after smoothing, residuals, fourth moment and coherence, [4 + dilations, blocks]."""
    margin = _margin(tile.shape)
    if min(tile.shape) < BLOCK + 2 * margin:
        return None
    to_blocks = partial(blocks_of, step=step)
    invalid = impulses.mask(tile)
    if impulses.points:
        invalid = invalid | binary_dilation(point_mask(tile), np.ones((3, 3)))
    tile, noisy = repair(tile, invalid), repair(noisy, invalid)
    invalid = invalid if missing is None else invalid | missing
    # The residual next to invalid pixels is excluded, too.
    excluded = binary_dilation(invalid, np.ones((3, 3))) if invalid.any() else invalid
    if excluded.mean() > _MAX_DILATED_RATIO * max(float(invalid.mean()), 1e-12) and excluded.mean() > 0.5:
        excluded = invalid  # scattered so densely that too few pixels would remain
    inner = (slice(margin, -margin),) * 2
    clipped = (tile <= limits[0]) | (tile >= limits[1])
    weights = to_blocks(1.0 - excluded[inner])
    usable = to_blocks(clipped[inner].astype(np.float64)).mean(axis=1) <= _MAX_CLIPPED_SHARE
    usable &= weights.mean(axis=1) >= _MIN_VALID_SHARE
    rows = [_mean(to_blocks(tile[inner]), weights), to_blocks(uniform_filter(tile, 5)[inner]).var(axis=1)]
    rows += [_mean(to_blocks(residual(noisy, dilation)[inner] ** 2), weights) for dilation in DILATIONS]
    second = residual(noisy, DILATIONS[1])
    rows += [_mean(to_blocks(second[inner] ** 4), weights), _coherence(second, inner, weights, step)]
    return np.stack(rows)[:, usable]


def _coherence(response: Values, inner: tuple[slice, slice], weights: Values, step: int) -> Values:
    """Return the coherence of the structure tensor of each block of a residual [H, W]."""
    down, right = np.gradient(response, axis=0), np.gradient(response, axis=1)
    products = (down * down, right * right, down * right)
    yy, xx, yx = (_mean(blocks_of(product[inner], step), weights) for product in products)
    return np.asarray(np.sqrt((yy - xx) ** 2 + 4.0 * yx**2) / np.maximum(yy + xx, 1e-300))


def residual(tile: NDArray[Any], dilation: int) -> Values:
    """Return the response [..., H, W] of Immerkaer's dilated mask of unit norm, which preserves white noise."""
    weights = np.zeros(2 * dilation + 1)
    weights[[0, dilation, -1]] = 1.0, -2.0, 1.0
    return np.asarray(correlate1d(correlate1d(tile, weights, axis=-2), weights, axis=-1)) / 6.0


def blocks_of(image: NDArray[Any], step: int = BLOCK) -> Values:
    """Return the blocks of an image, [blocks, BLOCK * BLOCK], without the remainder at the bottom and the right.

    Args:
        image: [H, W], at least one block.
        step: distance between blocks in pixels; they overlap if it is less than their side.
    """
    windows = sliding_window_view(image, (BLOCK, BLOCK))[::step, ::step]
    return windows.reshape(-1, BLOCK * BLOCK)


def _mean(values: Values, weights: Values) -> Values:
    return np.asarray((values * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9))
