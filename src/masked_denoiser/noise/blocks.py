"""Noise and structure of small blocks of an image.

White noise that grows with the light is modelled as in Foi, Trimeche, Katkovnik and Egiazarian, *Practical
Poissonian-Gaussian noise modeling and fitting for single-image raw-data* (IEEE TIP 2008): var = gain * (mean -
offset) + read^2, then clipped at both ends. Of every block two things are measured independently of each other:
its noise, by the residual of Immerkaer's mask (*Fast noise variance estimation*, CVIU 1996), and its structure, by
what is left of it after smoothing. Noise is read from the blocks with the least structure at each intensity.

The mask is also spread to every second, third, ... pixel: white noise looks the same at every spread, correlated
noise grows until the spread is its correlation length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, correlate1d, uniform_filter

from masked_denoiser.noise.impulses import ImpulseNoise, point_mask, repair

Image = NDArray[np.floating]
Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Side of a block in pixels.
BLOCK = 16

#: Tiles with a side below this have overlapping blocks, up to their edges: there would be too few others.
_SMALL_TILE, _SMALL_STEP, _SMALL_MARGIN = 96, 8, 2

#: How far the mask is spread, in pixels.
SPREADS = (1, 2, 3, 4, 5, 6, 7, 8, 9)

#: Pixels along the border that are in no block. The widest spreads look beyond, at reflected pixels.
MARGIN = 6

#: A block with more than this share of clipped pixels, or less than this share of valid ones, is left out.
_CLIPPED, _VALID = 0.5, 0.25

#: Of the residual of a block up to so many times the median can be noise.
_USUAL = 3.0

#: Missing pixels are scattered where they and their neighbours are so many times more than they.
_SCATTERED = 2.0

#: Intensities of up to so many quantization steps are counts.
_COUNTS = 40


@dataclass(frozen=True)
class Blocks:
    """What was measured on the blocks of one channel; each array has one entry for each block.

    Attributes:
        mean: mean intensity.
        structure: variance of the smoothed block, less what white noise leaves there.
        residual: [spreads, blocks], variance of the residual at each of `SPREADS`.
        kurtosis: of the residual at the second spread: 3 for normal noise.
        coherence: of the gradients of that residual, 0 for none to 1 for one direction, as of a structure tensor:
            noise has no direction, fibres and edges have (Bigun and Granlund, ICCV 1987).
        limits: intensities at which the image is clipped; infinite where it is not.
        counts: whether the intensities are so few quantization steps that each may be a photon.
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
    """Measure the blocks of some tiles.

    Args:
        tiles: [H, W] each, of one channel; those smaller than a block with its margin are left out.
        missing: of each tile, which pixels hold no intensity; None for none. They are continued smoothly in `tiles`.
        impulses: of the channel; they count as missing.
        step: quantization step of the intensities; 0 for none.
        noisy: [H, W] of each tile, whose residual is that of the noise: the tiles themselves by default.
    """
    gone = missing or [None] * len(tiles)
    limits = clipping(tiles, gone, step)
    found = []
    for tile, mask, seen in zip(tiles, gone, noisy or tiles, strict=True):
        pair = np.asarray(tile, np.float64), np.asarray(seen, np.float64)
        rows = _measure(*pair, mask, limits, impulses or ImpulseNoise())
        if rows is not None:
            found.append(rows)
    if not found:
        return Blocks(np.zeros(0), np.zeros(0), np.zeros((len(SPREADS), 0)), np.zeros(0), np.zeros(0), limits)
    rows = np.concatenate(found, axis=1)
    counts = are_counts(np.concatenate([np.asarray(tile, np.float64).ravel() for tile in tiles]), step)
    residuals = rows[2 : 2 + len(SPREADS)]
    fourth, coherence = rows[-2:]
    kurtosis = fourth / np.maximum(residuals[1] ** 2, 1e-300)
    # Photon noise differs from block to block; a lone bright pixel is no noise, and must not make its block look flat.
    noise = np.minimum(residuals[0], _USUAL * np.median(residuals[0])) if rows.size else residuals[0]
    return Blocks(rows[0], rows[1] - noise / 25.0, residuals, kurtosis, coherence, limits, counts)


def clipping(tiles: Sequence[Image], missing: Sequence[Mask | None], step: float = 0.0) -> tuple[float, float]:
    """Return where the image was clipped: at its lowest and highest value, where more than a few pixels have it.

    The lowest value of photon counts is no limit but the absence of photons.
    """
    valid = [
        np.asarray(tile)[~mask] if mask is not None else np.asarray(tile).ravel()
        for tile, mask in zip(tiles, missing, strict=True)
    ]
    pooled = np.concatenate([*valid, np.zeros(0)])
    if not pooled.size:
        return -np.inf, np.inf
    low, high = float(pooled.min()), float(pooled.max())
    counts = are_counts(pooled, step)
    lows, highs = (int(np.count_nonzero(pooled == end)) for end in (low, high))
    least = 1e-3 * pooled.size
    return (low if lows > least and not counts else -np.inf), (high if highs > least and not counts else np.inf)


def are_counts(values: Values, step: float) -> bool:
    """Return whether intensities are so few quantization steps that each may be a photon."""
    return step > 0 and float(np.percentile(values, 99) - values.min()) <= _COUNTS * step


def _measure(
    tile: Values, noisy: Values, missing: Mask | None, limits: tuple[float, float], impulses: ImpulseNoise
) -> Values | None:
    """[4 + spreads, blocks]: mean, variance of the smoothed block, residuals, fourth power and coherence of one."""
    small = min(tile.shape) < _SMALL_TILE
    margin, step = (_SMALL_MARGIN, _SMALL_STEP) if small else (MARGIN, BLOCK)
    if min(tile.shape) < BLOCK + 2 * margin:
        return None
    cut = partial(blocks_of, step=step)
    gone = impulses.mask(tile)
    if impulses.points:
        gone = gone | binary_dilation(point_mask(tile), np.ones((3, 3)))
    tile, noisy = repair(tile, gone), repair(noisy, gone)
    gone = gone if missing is None else gone | missing
    # Missing pixels are left out together with what the mask makes of them.
    left_out = binary_dilation(gone, np.ones((3, 3))) if gone.any() else gone
    if left_out.mean() > _SCATTERED * max(float(gone.mean()), 1e-12) and left_out.mean() > 0.5:
        left_out = gone  # scattered so densely that nothing would be left
    inner = (slice(margin, -margin),) * 2
    clipped = (tile <= limits[0]) | (tile >= limits[1])
    weights = cut(1.0 - left_out[inner])
    usable = cut(clipped[inner].astype(np.float64)).mean(axis=1) <= _CLIPPED
    usable &= weights.mean(axis=1) >= _VALID
    rows = [_mean(cut(tile[inner]), weights), cut(uniform_filter(tile, 5)[inner]).var(axis=1)]
    rows += [_mean(cut(residual(noisy, spread)[inner] ** 2), weights) for spread in SPREADS]
    second = residual(noisy, SPREADS[1])
    rows += [_mean(cut(second[inner] ** 4), weights), _coherence(second, inner, weights, step)]
    return np.stack(rows)[:, usable]


def _coherence(response: Values, inner: tuple[slice, slice], weights: Values, step: int) -> Values:
    """Coherence of the structure tensor of each block, from [H, W]."""
    down, right = np.gradient(response, axis=0), np.gradient(response, axis=1)
    products = (down * down, right * right, down * right)
    yy, xx, yx = (_mean(blocks_of(product[inner], step), weights) for product in products)
    return np.asarray(np.sqrt((yy - xx) ** 2 + 4.0 * yx**2) / np.maximum(yy + xx, 1e-300))


def residual(tile: NDArray[Any], spread: int) -> Values:
    """Return the response [..., H, W] of Immerkaer's mask, spread, of unit norm: white noise keeps its variance."""
    weights = np.zeros(2 * spread + 1)
    weights[[0, spread, -1]] = 1.0, -2.0, 1.0
    return np.asarray(correlate1d(correlate1d(tile, weights, axis=-2), weights, axis=-1)) / 6.0


def blocks_of(image: NDArray[Any], step: int = BLOCK) -> Values:
    """Cut [H, W] into [blocks, BLOCK * BLOCK]; what is left over at the bottom and the right is left out.

    Args:
        image: [H, W], at least one block.
        step: distance in pixels between blocks, which overlap if it is less than their side.
    """
    windows = sliding_window_view(image, (BLOCK, BLOCK))[::step, ::step]
    return windows.reshape(-1, BLOCK * BLOCK)


def _mean(values: Values, weights: Values) -> Values:
    return np.asarray((values * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9))
