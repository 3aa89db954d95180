"""Faint objects in a correction: what is too extended to be chance, although no single pixel of it is.

The limits of single pixels and of large squares do not notice a spot of a few pixels that the network takes for noise.
A mean over the size of such a spot does: it averages the noise, but not the spot. This is the matched filter of
detection theory, with squares of several sizes in place of the unknown point spread function.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from masked_denoiser.denoising.correction.box_mean import box_mean

#: Sides of squares whose means are taken twice, which smooths about as Gaussians of 1.2, 2 and 2.8 pixels do.
_SIDES = (3, 5, 7)

#: Side of the square over which the chance of smoothed corrections is measured, as the noise may be correlated.
_LOCAL_SIDE = 33

#: Standard deviations of a smoothed correction up to which it may be chance, and from which on it is put back.
_MAY_BE_CHANCE, _IS_OBJECT = 4.0, 4.6

#: Distance in pixels up to which pixels contribute.
FAINT_OBJECT_REACH = _LOCAL_SIDE // 2 + 2 * (_SIDES[-1] - 1) + 3 * _SIDES[-1] // 2 + _SIDES[-1] // 2


def faint_objects(removed: Tensor, width: float, photon: Tensor) -> Tensor | None:
    """Return the part of a correction that is an object and not noise; None if there is none.

    Args:
        removed: [B, C, H, W], the correction in standard deviations of the noise.
        width: of the blur that explains the correlation of the noise, in pixels; 0 for white noise.
        photon: [B or 1, C, 1 or H, 1 or W], intensity of a photon in standard deviations of the noise, as photon noise
            extends farther upwards than normal noise; 0 for other noise, negative for inverted images.
    """
    objects: Tensor | None = None
    for side in _SIDES:
        smooth, expected = box_mean(box_mean(removed, side), side), _chance_of_mean(side, width)
        # By the expansion of Cornish and Fisher (1938) for a mean with Gaussian weights: twice as far for detectors
        # that multiply photons by a random factor, and twice again, as its further terms matter for few photons.
        farther = photon * (2.0 * (_MAY_BE_CHANCE**2 - 1.0) / (9.0 * math.pi * _variance(side)))
        beyond = torch.maximum(smooth - farther.clamp(min=0.0), farther.clamp(max=0.0) - smooth)
        if beyond.max() <= _MAY_BE_CHANCE * expected:
            continue
        # From absolute values, which objects affect less than squares.
        chance = box_mean(smooth.abs(), _LOCAL_SIDE).mul_(math.sqrt(math.pi / 2.0)).clamp_(min=expected)
        certainty = beyond.div_(chance).sub_(_MAY_BE_CHANCE).div_(_IS_OBJECT - _MAY_BE_CHANCE).clamp_(0.0, 1.0)
        if not certainty.any():
            continue
        near = box_mean(_maximum_around(certainty, 3 * side // 2), side)
        part = smooth.mul_(near)
        part += box_mean(box_mean(removed - part, side), side).mul_(near)  # as smoothing has spread it
        objects = part if objects is None else torch.where(part.abs() > objects.abs(), part, objects)
    return objects


def _maximum_around(images: Tensor, radius: int) -> Tensor:
    """Return the largest value within a square around each pixel."""
    size = 2 * radius + 1
    rows = torch.nn.functional.max_pool2d(images, (size, 1), 1, (radius, 0))
    return torch.nn.functional.max_pool2d(rows, (1, size), 1, (0, radius))


def _variance(side: int) -> float:
    """Return the variance of the weights of two means over squares of a side, along one axis, in square pixels."""
    return (side**2 - 1) / 6.0


def _chance_of_mean(side: int, width: float) -> float:
    """Return the standard deviation of the smoothed noise, in standard deviations of the noise."""
    blur = width**2 + 1.0 / (4.0 * math.pi)  # a pixel is as a blur of this variance
    return math.sqrt(blur / (blur + _variance(side)))
