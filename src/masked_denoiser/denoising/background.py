"""Tiles that hold nothing but background, which a job may pass through as they are.

The criterion: of a tile with its halo, every mean over 16 x 16 pixels, in every channel, is within 4 grey levels of 255
of the background; where the image has a pyramid, on a low level of it (`lowres`) and in full resolution. The background
is the most frequent of such means in a seeded sample of the whole image, and is fixed for the job: the paper of a
stained slide, the black of a fluorescence image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.ranges import IntensityRange, sample_rectangles
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source

#: Side of the squares whose means are looked at, and how far they may be from the background.
SQUARE, TOLERANCE = 16, 4.0 / 255

#: Bins of the histogram that the most frequent mean is read from.
_BINS = 64

Levels = tuple[float, ...]


def is_background(unit: NDArray[np.floating], levels: Levels, square: int = SQUARE) -> bool:
    """Whether a tile is nothing but background.

    Args:
        unit: [C, H, W] in [0, 1].
        levels: of the background, one for each channel.
        square: side of the squares whose means are looked at.
    """
    return all(
        bool((np.abs(_means(channel, square) - level) <= TOLERANCE).all())
        for channel, level in zip(unit, levels, strict=True)
    )


def measure_background(
    source: Source, planes: Sequence[Plane], ranges: Mapping[int, IntensityRange], seed: int
) -> dict[int, Levels]:
    """The background of each channel group, by `Plane.range_key`.

    Args:
        source: the image; a sample of it is read.
        planes: those that are denoised.
        ranges: of the planes.
        seed: of the sample.
    """
    by_key: dict[int, list[Plane]] = {}
    for plane in planes:
        if not plane.copied:
            by_key.setdefault(plane.range_key, []).append(plane)
    return {key: _most_frequent(source, group, ranges[key], seed) for key, group in by_key.items()}


def _most_frequent(source: Source, planes: list[Plane], scale: IntensityRange, seed: int) -> Levels:
    tiles = [np.clip(scale.to_unit(tile), 0.0, 1.0) for tile in sample_rectangles(source, planes, seed)]
    means = np.concatenate([np.stack([_means(channel).ravel() for channel in tile]) for tile in tiles], axis=1)
    counts, edges = np.histogramdd(means.T, bins=_BINS if len(means) == 1 else 32, range=[(0, 1)] * len(means))
    fullest = np.unravel_index(int(counts.argmax()), counts.shape)
    ends = [(axis[at], axis[at + 1]) for axis, at in zip(edges, fullest, strict=True)]
    inside = np.all([(row >= low) & (row <= high) for row, (low, high) in zip(means, ends, strict=True)], axis=0)
    return tuple(round(float(np.median(row[inside])), 6) for row in means)


def _means(channel: NDArray[Any], square: int = SQUARE) -> NDArray[Any]:
    """Means over squares; those at the bottom and the right are as large as the image lets them be."""
    rows, columns = (np.arange(0, side, square) for side in channel.shape)
    sums = np.add.reduceat(np.add.reduceat(channel, rows, axis=0, dtype=np.float64), columns, axis=1)
    heights, widths = (np.diff([*starts, side]) for starts, side in zip((rows, columns), channel.shape, strict=True))
    return np.asarray(sums / (heights[:, None] * widths[None, :]))
