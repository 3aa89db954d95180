"""Background detection: tiles that hold nothing but background, which a job may copy unchanged.

A tile is background if every mean over 16 x 16 pixels of the tile with its halo, in every channel, is within 4 grey
levels of 255 of the background: the most frequent of such means in a seeded sample of the whole image, fixed for the
job (the paper of a stained slide, the black of a fluorescence image).

Where the image has a pyramid, the level nearest to a sixteenth of the full resolution is checked first, and is what
previews show. That level can only rule out a tile as background, because a writer that subsampled instead of averaging
may have lost a single bright cell. So a tile that passes is checked again at full resolution when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log2
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.intensity.rectangles import group_planes, sample_rectangles
from masked_denoiser.errors import ImageError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.tiling.plan import Span, Tile

#: Side in pixels of the squares whose means are compared, and their largest distance from the background.
SQUARE, TOLERANCE = 16, 4.0 / 255

#: Bins of the histogram from which the most frequent mean is read, for one channel and for each of several.
_BINS, _BINS_PER_CHANNEL = 64, 32

#: Ratios of the full resolution to that of a suitable pyramid level, smallest and largest.
_MIN_FACTOR, _LARGEST_FACTOR = 4.0, 32.0

#: Number of strips of rows of a pyramid level that are cached.
_CACHED_STRIPS = 2

#: Background intensity of each channel, in units of the range.
Background = tuple[float, ...]


def is_background(unit: NDArray[np.floating], background: Background, square: int = SQUARE) -> bool:
    """Return whether a tile is nothing but background.

    Args:
        unit: [C, H, W] in [0, 1].
        background: of each channel.
        square: side of the squares whose means are compared.
    """
    return all(
        bool((np.abs(_square_means(channel, square) - intensity) <= TOLERANCE).all())
        for channel, intensity in zip(unit, background, strict=True)
    )


def measure_background(
    source: Source, planes: Sequence[Plane], ranges: Mapping[int, IntensityRange], seed: int
) -> dict[int, Background]:
    """Return the background of each channel group, by `Plane.range_key`.

    Args:
        source: the image, of which a sample is read.
        planes: those that are denoised.
        ranges: of the planes.
        seed: of the sample.
    """
    return {
        key: _most_frequent(source, group, ranges[key], seed)
        for key, group in group_planes(planes, "range_key").items()
    }


def _most_frequent(source: Source, planes: list[Plane], unit_range: IntensityRange, seed: int) -> Background:
    tiles = [np.clip(unit_range.to_unit(tile), 0.0, 1.0) for tile in sample_rectangles(source, planes, seed)]
    means = np.concatenate([np.stack([_square_means(channel).ravel() for channel in tile]) for tile in tiles], axis=1)
    bins = _BINS if len(means) == 1 else _BINS_PER_CHANNEL
    counts, edges = np.histogramdd(means.T, bins=bins, range=[(0, 1)] * len(means))
    fullest = np.unravel_index(int(counts.argmax()), counts.shape)
    ends = [(axis[at], axis[at + 1]) for axis, at in zip(edges, fullest, strict=True)]
    inside = np.all([(row >= low) & (row <= high) for row, (low, high) in zip(means, ends, strict=True)], axis=0)
    return tuple(round(float(np.median(row[inside])), 6) for row in means)


def _square_means(channel: NDArray[Any], square: int = SQUARE) -> NDArray[Any]:
    """Return the means over squares, which are cut off at the bottom and right edges."""
    rows, columns = (np.arange(0, side, square) for side in channel.shape)
    sums = np.add.reduceat(np.add.reduceat(channel, rows, axis=0, dtype=np.float64), columns, axis=1)
    heights, widths = (np.diff([*starts, side]) for starts, side in zip((rows, columns), channel.shape, strict=True))
    return np.asarray(sums / (heights[:, None] * widths[None, :]))


@dataclass
class LowResolutionLevel:
    """A pyramid level that is addressed in full-resolution coordinates.

    Attributes:
        source: the level as a separate image.
        factors: full-resolution rows and columns per row and column of the level.
    """

    source: Source
    factors: tuple[float, float]
    _strips: dict[tuple[Plane, int, int], NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    @property
    def square(self) -> int:
        """Side of the squares that are averaged, in pixels of the level."""
        return max(1, round(SQUARE / max(self.factors)))

    def is_background(self, plane: Plane, tile: Tile, unit_range: IntensityRange, background: Background) -> bool:
        """Return whether a tile with its halo may be background; each row of tiles is read once if asked in order."""
        return is_background(self.read_unit(plane, tile.read, unit_range), background, self.square)

    def read_unit(self, plane: Plane, spans: tuple[Span, Span], unit_range: IntensityRange) -> NDArray[np.float32]:
        """Return the pixels that overlap rows and columns of the full resolution, [C, h, w] in units of the range.

        Raises:
            ImageError: if the level is damaged there.
        """
        rows, columns = map(_to_level, spans, self.factors, self.source.size_yx)
        key = (plane, rows.start, rows.stop)
        with self._lock:  # blocks of lazy images are read by several threads
            strip = self._strips.get(key)
            if strip is None:
                while len(self._strips) >= _CACHED_STRIPS:
                    self._strips.pop(next(iter(self._strips)))
                strip = self._strips[key] = unit_range.to_unit(self._read_rows(plane, rows))
        return strip[..., columns]

    def _read_rows(self, plane: Plane, rows: slice) -> NDArray[Any]:
        height, width = self.source.size_yx
        try:
            return self.source.read(plane, rows, slice(0, width))
        except ImageError as error:
            raise ImageError(
                f"{error} (this is the level of {height} x {width} pixels; without --skip-background it is not read)"
            ) from error


def find_low_resolution(source: Source) -> LowResolutionLevel | None:
    """Return the pyramid level on which background is detected, or None if no level is suitable."""
    suitable = []
    for data in source.levels[1:]:
        sides = dict(zip(source.axes, map(int, data.shape), strict=True))
        factors = (source.sizes["Y"] / sides["Y"], source.sizes["X"] / sides["X"])
        same = all(sides[axis] == size for axis, size in source.sizes.items() if axis not in "YX")
        fits = same and np.dtype(data.dtype) == source.dtype
        if fits and all(_MIN_FACTOR <= f <= _LARGEST_FACTOR for f in factors):
            suitable.append((abs(log2(max(factors) / SQUARE)), factors, data))
    if not suitable:
        return None
    _, factors, data = min(suitable, key=lambda level: level[0])
    return LowResolutionLevel(replace(source, data=data, levels=(data,), closer=None), factors)


def _to_level(span: Span, factor: float, side: int) -> slice:
    """Return the pixels of a level that overlap a span of the full resolution."""
    start = min(int(span.start / factor), side - 1)
    return slice(start, max(start + 1, min(side, int(np.ceil(span.stop / factor)))))
