"""Stride pattern: the faint pattern left by denoising every second (third, ...) pixel separately, and its removal.

The images into which a stride splits a tile are denoised separately, and each may come out slightly brighter or darker
than the others. Together they then show a pattern with the period of the stride: the local mean of each image relative
to that of all of them. Removing it leaves other detail untouched. As the pattern is faint, a grating of the same period
is not mistaken for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, uniform_filter

Batch = NDArray[np.float32]

#: Side of the square over which an image of a stride is averaged, in pixels of that image.
_SIDE = 9

#: Largest amplitude of a pattern in standard deviations of the noise; anything stronger is structure.
_MAX_AMPLITUDE = 0.15


def pattern_reach(strides: Sequence[int]) -> int:
    """Return the distance in pixels up to which pixels affect the removal of a pattern."""
    return sum(stride * (_SIDE // 2) + (stride + 1) // 2 for stride in set(strides))


def remove_pattern(images: Batch, strides: Sequence[int], sigma: NDArray[Any]) -> Batch:
    """Return images without the pattern of the strides with which they were denoised.

    Args:
        images: [B, C, H, W].
        strides: that may have left a pattern.
        sigma: standard deviation of the removed noise, in a shape that broadcasts to that of the images.
    """
    for stride in sorted(set(strides)):
        images = images - np.clip(_pattern(images, stride), -_MAX_AMPLITUDE * sigma, _MAX_AMPLITUDE * sigma)
    return np.asarray(images, np.float32)


def _pattern(images: Batch, stride: int) -> Batch:
    # Each image of the stride has the same weight: with an even stride the two outer pixels count half.
    weights = np.ones(stride | 1)
    weights[[0, -1]] = 1.0 if stride % 2 else 0.5
    smooth = correlate1d(correlate1d(images, weights / stride, axis=2), weights / stride, axis=3)
    detail = images - smooth
    pattern = np.empty_like(images)
    for row in range(stride):
        for column in range(stride):
            part = np.s_[..., row::stride, column::stride]
            pattern[part] = uniform_filter(detail[part], (1, 1, _SIDE, _SIDE), mode="reflect")
    return pattern
