"""Epochs: runs of successive planes with separate intensity ranges, for images whose planes differ.

A series that bleaches, a stack that decays with depth and frames with different exposure times do not fit one range:
the contrast of the first plane would be darkness in the last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from masked_denoiser.denoising.intensity.fill_values import find_fill_values
from masked_denoiser.denoising.intensity.rectangles import group_planes
from masked_denoiser.images.planes import Plane, position_count
from masked_denoiser.images.source import Source

#: Largest number of planes of a channel that are examined, and largest number of epochs.
_MAX_EPOCHS = 128

#: Side in pixels of the square that is read in the middle of a plane.
_SIDE = 256

#: Planes differ if their contrasts differ by more than this factor.
_CONTRAST_RATIO = 1.4

#: Planes differ if their medians differ by more than this share of the contrast.
_MEDIAN_SHIFT = 0.2


def count_epochs(source: Source, planes: Sequence[Plane]) -> int:
    """Return the number of epochs, which is 1 if the planes are similar.

    Args:
        source: the image; the middle of up to 128 planes of each channel is read.
        planes: those that are denoised, listed with one epoch.
    """
    positions = position_count(source.sizes)
    if positions < 2 or not any(_differ(source, group) for group in group_planes(planes, "channel").values()):
        return 1
    return min(positions, _MAX_EPOCHS)


def _differ(source: Source, planes: list[Plane]) -> bool:
    chosen = [planes[i] for i in np.unique(np.linspace(0, len(planes) - 1, _MAX_EPOCHS).round().astype(int))]
    percentiles = np.array([row for plane in chosen if (row := _percentiles(source, plane)) is not None])
    if len(percentiles) < 2:
        return False
    contrast, medians = percentiles[:, 2] - percentiles[:, 0], percentiles[:, 1]
    has_contrast = contrast > 0
    if not has_contrast.any():
        return bool(np.ptp(medians) > 0)
    if not has_contrast.all():
        return True
    ratio = contrast[has_contrast].max() / contrast[has_contrast].min()
    return bool(ratio > _CONTRAST_RATIO or np.ptp(medians) > _MEDIAN_SHIFT * np.median(contrast[has_contrast]))


def _percentiles(source: Source, plane: Plane) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """Return the 2nd, 50th and 98th percentile of the middle of a plane; None if no pixel is valid."""
    ys, xs = (slice(max(0, (side - _SIDE) // 2), (side + _SIDE) // 2) for side in source.size_yx)
    pixels = source.read(plane, ys, xs)
    values = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels.ravel()
    fill_values = find_fill_values(list(pixels), source.fill_values)
    values = values[~np.isin(values, fill_values)] if fill_values else values
    return np.percentile(values.astype(np.float64), (2, 50, 98)) if values.size else None
