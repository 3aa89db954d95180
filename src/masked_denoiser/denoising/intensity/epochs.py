"""Epochs: runs of neighbouring planes with an intensity range of their own, where planes differ.

A series that bleaches, a stack that decays with depth and frames with other exposures do not fit one range: what is
contrast in the first plane is darkness in the last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from masked_denoiser.denoising.intensity.fill_values import find_fill_values
from masked_denoiser.images.planes import Plane, position_count
from masked_denoiser.images.source import Source

#: Planes that are looked at, which is also the largest number of epochs; and the side of the square that is read.
_LOOKED_AT, _SIDE = 128, 256

#: Planes differ if their contrast does by this factor, or their median by this share of the contrast.
_CONTRAST, _SHIFT = 1.4, 0.2


def count_epochs(source: Source, planes: Sequence[Plane]) -> int:
    """Return the number of epochs: 1 where planes are alike.

    Args:
        source: the image; the middle of up to 128 planes of each channel is read.
        planes: those that are denoised, listed with one epoch.
    """
    positions = position_count(source.sizes)
    channels: dict[int, list[Plane]] = {}
    for plane in planes:
        if not plane.copied:
            channels.setdefault(plane.channel, []).append(plane)
    if positions < 2 or not any(_differ(source, of_channel) for of_channel in channels.values()):
        return 1
    return min(positions, _LOOKED_AT)


def _differ(source: Source, planes: list[Plane]) -> bool:
    chosen = [planes[i] for i in np.unique(np.linspace(0, len(planes) - 1, _LOOKED_AT).round().astype(int))]
    ends = np.array([row for plane in chosen if (row := _percentiles(source, plane)) is not None])
    if len(ends) < 2:
        return False
    contrast, middle = ends[:, 2] - ends[:, 0], ends[:, 1]
    alive = contrast > 0
    if not alive.any():
        return bool(np.ptp(middle) > 0)
    if not alive.all():
        return True
    ratio = contrast[alive].max() / contrast[alive].min()
    return bool(ratio > _CONTRAST or np.ptp(middle) > _SHIFT * np.median(contrast[alive]))


def _percentiles(source: Source, plane: Plane) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """The 2nd, 50th and 98th percentile of the middle of a plane; None where nothing is valid."""
    ys, xs = (slice(max(0, (side - _SIDE) // 2), (side + _SIDE) // 2) for side in source.size_yx)
    pixels = source.read(plane, ys, xs)
    values = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels.ravel()
    fills = find_fill_values(list(pixels), source.fill_values)
    values = values[~np.isin(values, fills)] if fills else values
    return np.percentile(values.astype(np.float64), (2, 50, 98)) if values.size else None
