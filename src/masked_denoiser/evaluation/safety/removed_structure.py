"""How much of what a denoiser removed is structure, judged without the truth.

Two properties of noise are checked, and structure lacks both of them. Noise cannot be predicted from pixels beyond the
distance at which it is correlated. And at equal intensity it is as strong in detailed regions as in flat ones.
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

from masked_denoiser.evaluation.safety.removal import Removal, in_blocks

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Side in pixels of the blocks whose variances are compared.
_BLOCK = 16

#: Width in pixels of the ring of neighbours that predict a pixel.
_RING = 3

#: Blocks of similar intensity that are compared with each other, and the fewest blocks that a comparison needs.
_ALIKE, _FEW_BLOCKS = 16, 32

#: Blur in pixels before the detail of a block is measured, so that noise that was left counts little.
_DETAIL_BLUR = 2.0

#: The fewest pixels for each neighbour that a prediction is fitted on.
_PIXELS_PER_NEIGHBOUR = 20


def structure_share(removals: Iterable[Removal]) -> float:
    """Return the share of the variance of what was removed that is structure, over all channels, 0 to 1.

    Of each channel the larger one of `predictable_share` and `detail_share` counts, by the variance removed there.
    """
    shares = [(_channel_share(removal), float((removal.removed**2).sum())) for removal in removals]
    total = sum(weight for _, weight in shares)
    return sum(share * weight for share, weight in shares) / total if total else 0.0


def _channel_share(removal: Removal) -> float:
    return max(predictable_share(removal), detail_share(removal)) if removal.removed.any() else 0.0


def predictable_share(removal: Removal) -> float:
    """Return the share of what was removed that the input around each pixel predicts.

    What was removed is fitted by least squares to the pixels of the input in a ring around each pixel, from `reach` to
    `reach` + 3 pixels away, the two pixels opposite each other added. Noise at the pixel is independent of all of them.

    Returns:
        Share of variance, 0 to 1, corrected for the number of fitted figures; 0 where there are too few pixels.
    """
    margin = removal.reach + _RING
    if min(removal.before.shape) <= 2 * margin:
        return 0.0
    inner = _shifted(removal.valid, 0, 0, margin)
    target = _shifted(removal.removed, 0, 0, margin)[inner]
    neighbours = [
        (_shifted(removal.before, dy, dx, margin) + _shifted(removal.before, -dy, -dx, margin))[inner]
        for dy, dx in _ring(removal.reach)
    ]
    if target.size < _PIXELS_PER_NEIGHBOUR * len(neighbours):
        return 0.0
    design = np.stack(neighbours, axis=1)
    return _explained(target - target.mean(), design - design.mean(axis=0))


def detail_share(removal: Removal) -> float:
    """Return the share of what was removed that detailed blocks lost beyond flat blocks of the same intensity.

    Variances of what was removed in 16 x 16 pixels are fitted in the flatter half of the blocks of similar intensity,
    by a parabola over intensity with no negative coefficient. What the other half has beyond it is structure.

    Returns:
        Share of variance, 0 to 1; 0 where there are too few blocks.
    """
    whole = _blocks(removal.valid).all(axis=1)
    if np.count_nonzero(whole) < _FEW_BLOCKS:
        return 0.0
    variance = _blocks(removal.removed)[whole].var(axis=1)
    intensity = _blocks(removal.after)[whole].mean(axis=1)
    detail = _blocks(gaussian_filter(removal.after, _DETAIL_BLUR))[whole].var(axis=1)
    flat = np.zeros(len(variance), np.bool_)
    order = np.argsort(intensity, kind="stable")
    for alike in np.array_split(order, max(1, len(order) // _ALIKE)):
        flat[alike[np.argsort(detail[alike], kind="stable")[: len(alike) // 2]]] = True
    excess = float((variance - _parabola(intensity, variance, flat))[~flat].sum())
    return float(np.clip(excess / max(float(variance.sum()), 1e-300), 0.0, 1.0))


def _parabola(intensity: Values, variance: Values, flat: Mask) -> Values:
    """Return the variance that the flat blocks let expect at each intensity."""
    place = (intensity - intensity.min()) / max(float(np.ptp(intensity)), 1e-300)
    powers = np.stack([np.ones_like(place), place, place**2], axis=1)
    weight = 1.0 / (variance[flat] + np.median(variance) + 1e-300)
    unit = float(variance.max()) or 1.0
    coefficients, _ = nnls(powers[flat] * (weight * unit)[:, None], variance[flat] * weight)
    return np.asarray(powers @ coefficients * unit, np.float64)


def _explained(target: Values, design: Values) -> float:
    """Return the adjusted coefficient of determination, at least 0."""
    total = float((target**2).sum())
    scale = design.std(axis=0)
    if total == 0.0 or not scale.any():
        return 0.0
    design = design[:, scale > 0] / scale[scale > 0]
    coefficients = np.linalg.lstsq(design, target, rcond=1e-6)[0]
    left = float(((target - design @ coefficients) ** 2).sum()) / total
    count, figures = design.shape
    return max(0.0, 1.0 - left * float((count - 1) / (count - figures - 1)))


def _ring(reach: int) -> list[tuple[int, int]]:
    """Return the offsets (dy, dx) of one pixel of each opposite pair in the ring."""
    outer = reach + _RING
    offsets = product(range(outer + 1), range(-outer, outer + 1))
    return [(dy, dx) for dy, dx in offsets if (dy > 0 or dx > 0) and reach <= hypot(dy, dx) < outer]


def _shifted(image: NDArray[Any], dy: int, dx: int, margin: int) -> NDArray[Any]:
    """Return the inner part of [H, W], moved by an offset."""
    height, width = image.shape
    return image[margin + dy : height - margin + dy, margin + dx : width - margin + dx]


def _blocks(image: NDArray[Any]) -> NDArray[Any]:
    """Return the whole blocks of [H, W] as [blocks, pixels]."""
    return in_blocks(image, _BLOCK)
