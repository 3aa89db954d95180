"""The faint pattern that denoising on every second (third, ...) pixel leaves, found and taken away.

The images that a stride cuts a tile into are denoised one by one, and each may come out a little brighter or darker
than its neighbours: together they show a pattern with the period of the stride. It is the local mean of each of these
images against that of all, so that no other detail is touched; and it is faint, so that a grating of the same period
is no pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, uniform_filter

Batch = NDArray[np.float32]

#: Side of the square, in pixels of one of the images, over which its mean is taken.
_SIDE = 9

#: A pattern has up to this share of the standard deviation of the noise; what has more is structure.
_FAINT = 0.15


def pattern_reach(strides: Sequence[int]) -> int:
    """Return the distance in pixels from which the pattern of some strides is taken away."""
    return sum(stride * (_SIDE // 2) + (stride + 1) // 2 for stride in set(strides))


def remove_pattern(images: Batch, strides: Sequence[int], sigma: NDArray[Any]) -> Batch:
    """Return images without the pattern of the strides that they were denoised with.

    Args:
        images: [B, C, H, W].
        strides: that may have left a pattern.
        sigma: standard deviation of the noise that was removed, in the shape of the images or one that fits it.
    """
    for stride in sorted(set(strides)):
        images = images - np.clip(_pattern(images, stride), -_FAINT * sigma, _FAINT * sigma)
    return np.asarray(images, np.float32)


def _pattern(images: Batch, stride: int) -> Batch:
    # As many of each image: of an even number of pixels the outer two count half.
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
