"""Means over squares around each pixel, by torch on any device."""

from __future__ import annotations

import torch
from torch import Tensor


def box_mean(images: Tensor, side: int) -> Tensor:
    """Return the mean over side x side pixels around each pixel; images are mirrored at their edges.

    Each sum is made of partial sums over 1, 2, 4, ... neighbours, always in the same order. So it depends neither on
    the position in a tile, as a running sum does, nor on bright pixels outside of the square.

    Args:
        images: [..., H, W], of a floating dtype.
        side: odd number of pixels.
    """
    for axis in (-2, -1):
        images = _sum_neighbours(_mirror(images, side // 2, axis), side, axis)
    return images / side**2


def _sum_neighbours(padded: Tensor, count: int, axis: int) -> Tensor:
    """Return the sums of `count` successive values along an axis, which becomes shorter by `count - 1`."""
    length = padded.shape[axis] - count + 1
    total, start, width, sums = None, 0, 1, padded  # sums of `width` successive values
    while True:
        if count & width:
            part = sums.narrow(axis, start, length)
            total = part if total is None else total + part
            start += width
        if 2 * width > count:
            assert total is not None
            return total
        shorter = sums.shape[axis] - width
        sums = sums.narrow(axis, 0, shorter) + sums.narrow(axis, width, shorter)
        width *= 2


def _mirror(images: Tensor, width: int, axis: int) -> Tensor:
    """Return images extended along an axis by their mirror images; the first and the last pixel are repeated."""
    while width > (size := images.shape[axis]):  # narrower than the mirror image that is needed
        images, width = _mirror(images, size, axis), width - size
    first, last = images.narrow(axis, 0, width), images.narrow(axis, size - width, width)
    return torch.cat([first.flip(axis), images, last.flip(axis)], axis)
