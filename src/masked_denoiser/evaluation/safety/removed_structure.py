"""Estimate of the share of structure in what a denoiser removed, without the truth.

It checks two properties that noise has and structure lacks. Noise cannot be predicted from pixels beyond its
correlation distance, and at equal intensity it is as strong in detailed regions as in flat ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from math import hypot
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import nnls

from masked_denoiser.evaluation.safety.removal import Removal, split_into_blocks

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Side in pixels of the blocks whose variances are compared.
_BLOCK_SIDE = 16

#: Width in pixels of the ring of neighbours that predict a pixel.
_RING_WIDTH = 3

#: Number of blocks of similar intensity that are compared with each other.
_BLOCKS_PER_GROUP = 16

#: Smallest number of blocks for a comparison.
_MIN_BLOCKS = 32

#: Blur in pixels before the detail of a block is measured, which suppresses residual noise.
_DETAIL_BLUR = 2.0

#: Smallest number of pixels per neighbour to fit a prediction on.
_MIN_PIXELS_PER_NEIGHBOUR = 20


def structure_share(removals: Iterable[Removal]) -> float | None:
    """Return the share of structure in the removed variance of all channels, 0 to 1.

    The share of a channel is the larger of `predictable_share` and `detail_share`, weighted by its removed variance.
    Channels that cannot be judged are left out.

    Returns:
        0 if nothing was removed; None if something was, but no channel has enough pixels to judge it.
    """
    removed = [(removal, weight) for removal in removals if (weight := float((removal.removed**2).sum()))]
    judged = [(share, weight) for removal, weight in removed if (share := _channel_share(removal)) is not None]
    if not judged:
        return None if removed else 0.0
    return sum(share * weight for share, weight in judged) / sum(weight for _, weight in judged)


def _channel_share(removal: Removal) -> float | None:
    """Return the share of a channel; None if it has too few pixels for a prediction, without which all looks random."""
    predictable = predictable_share(removal)
    return None if predictable is None else max(predictable, detail_share(removal) or 0.0)


def predictable_share(removal: Removal) -> float | None:
    """Return the share of the removed variance that the surrounding input predicts.

    The removed values are fitted by least squares to input pixels in a ring around each pixel, from d to d + 3 pixels
    away with d = `independence_distance`; opposite pixels are added. Noise at the pixel is independent of all of them.

    Returns:
        Share of variance, 0 to 1, adjusted for the number of parameters; None if there are too few pixels.
    """
    margin = removal.independence_distance + _RING_WIDTH
    if min(removal.before.shape) <= 2 * margin:
        return None
    valid = _shifted(removal.valid, 0, 0, margin)
    target = _shifted(removal.removed, 0, 0, margin)[valid]
    neighbours = [
        (_shifted(removal.before, dy, dx, margin) + _shifted(removal.before, -dy, -dx, margin))[valid]
        for dy, dx in _ring_offsets(removal.independence_distance)
    ]
    if target.size < _MIN_PIXELS_PER_NEIGHBOUR * len(neighbours):
        return None
    design = np.stack(neighbours, axis=1)
    return _adjusted_r_squared(target - target.mean(), design - design.mean(axis=0))


def detail_share(removal: Removal) -> float | None:
    """Return the share of the removed variance by which detailed blocks exceed flat blocks of the same intensity.

    A parabola over intensity with non-negative coefficients is fitted to the removed variance of blocks of 16 x 16
    pixels, in the flatter half of the blocks of similar intensity. The excess of the other half is structure.

    Returns:
        Share of variance, 0 to 1; None if there are too few blocks.
    """
    valid_blocks = _blocks(removal.valid).all(axis=1)
    if np.count_nonzero(valid_blocks) < _MIN_BLOCKS:
        return None
    variance = _blocks(removal.removed)[valid_blocks].var(axis=1)
    intensity = _blocks(removal.after)[valid_blocks].mean(axis=1)
    detail = _blocks(gaussian_filter(removal.after, _DETAIL_BLUR))[valid_blocks].var(axis=1)
    flat = np.zeros(len(variance), np.bool_)
    order = np.argsort(intensity, kind="stable")
    for group in np.array_split(order, max(1, len(order) // _BLOCKS_PER_GROUP)):
        flat[group[np.argsort(detail[group], kind="stable")[: len(group) // 2]]] = True
    excess = float((variance - _fit_variance(intensity, variance, flat))[~flat].sum())
    return float(np.clip(excess / max(float(variance.sum()), 1e-300), 0.0, 1.0))


def _fit_variance(intensity: Values, variance: Values, flat: Mask) -> Values:
    """Fit the variance of the flat blocks by a parabola over intensity; return its value for each block."""
    position = (intensity - intensity.min()) / max(float(np.ptp(intensity)), 1e-300)
    powers = np.stack([np.ones_like(position), position, position**2], axis=1)
    weight = 1.0 / (variance[flat] + np.median(variance) + 1e-300)
    unit = float(variance.max()) or 1.0
    coefficients, _ = nnls(powers[flat] * (weight * unit)[:, None], variance[flat] * weight)
    return np.asarray(powers @ coefficients * unit, np.float64)


def _adjusted_r_squared(target: Values, design: Values) -> float:
    """Return the adjusted coefficient of determination, at least 0."""
    total = float((target**2).sum())
    scale = design.std(axis=0)
    if total == 0.0 or not scale.any():
        return 0.0
    design = design[:, scale > 0] / scale[scale > 0]
    coefficients = np.linalg.lstsq(design, target, rcond=1e-6)[0]
    residual = float(((target - design @ coefficients) ** 2).sum()) / total
    count, parameters = design.shape
    return max(0.0, 1.0 - residual * float((count - 1) / (count - parameters - 1)))


def _ring_offsets(reach: int) -> list[tuple[int, int]]:
    """Return the offset (dy, dx) of one pixel of each pair of opposite pixels in the ring."""
    outer = reach + _RING_WIDTH
    offsets = product(range(outer + 1), range(-outer, outer + 1))
    return [(dy, dx) for dy, dx in offsets if (dy > 0 or dx > 0) and reach <= hypot(dy, dx) < outer]


def _shifted(image: NDArray[Any], dy: int, dx: int, margin: int) -> NDArray[Any]:
    """Return [H, W] without its margin, shifted by an offset."""
    height, width = image.shape
    return image[margin + dy : height - margin + dy, margin + dx : width - margin + dx]


def _blocks(image: NDArray[Any]) -> NDArray[Any]:
    """Split [H, W] into blocks [blocks, pixels]."""
    return split_into_blocks(image, _BLOCK_SIDE)
