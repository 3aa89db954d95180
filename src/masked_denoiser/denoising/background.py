"""Which tiles hold nothing but background, so that a job may copy them as they are.

A tile is background if every mean over 16 x 16 pixels of the tile with its halo, in every channel, is within 4 grey
levels of 255 of the background: the most frequent of such means in a seeded sample of the whole image, fixed for the
job (the paper of a stained slide, the black of a fluorescence image).

Where the image has a pyramid, its level nearest to a sixteenth of the full resolution is looked at first, and is what
previews show. That level only excludes tiles: its writer may have subsampled instead of averaged, and have lost a
single bright cell. So a tile that passes is looked at in full resolution, too, when it is read to be copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.ranges import IntensityRange, sample_rectangles
from masked_denoiser.errors import ImageError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.tiling.plan import Span, Tile

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


#: Levels between these fractions of the full resolution are looked at; strips of rows that are kept.
_FINEST, _COARSEST, _STRIPS = 4.0, 32.0, 2


@dataclass
class LowResolution:
    """A level of a pyramid, asked about tiles of the full resolution.

    Attributes:
        source: the level as an image of its own.
        factors: full-resolution rows and columns for each of its own.
    """

    source: Source
    factors: tuple[float, float]
    _strips: dict[tuple[Plane, int, int], NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False)

    @property
    def square(self) -> int:
        """Side of the squares that are averaged, in pixels of the level."""
        return max(1, round(SQUARE / max(self.factors)))

    def is_background(self, plane: Plane, tile: Tile, scale: IntensityRange, levels: Levels) -> bool:
        """Whether a tile with its halo passes the filter. Asked row by row, each row of tiles is read once."""
        return is_background(self.pixels(plane, tile.read, scale), levels, self.square)

    def pixels(self, plane: Plane, spans: tuple[Span, Span], scale: IntensityRange) -> NDArray[np.float32]:
        """The pixels that hold any part of rows and columns of the full resolution, [C, h, w] in [0, 1].

        Raises:
            ImageError: if the level is damaged there.
        """
        rows, columns = map(_on, spans, self.factors, self.source.size_yx)
        key = (plane, rows.start, rows.stop)
        if key not in self._strips:
            while len(self._strips) >= _STRIPS:
                self._strips.pop(next(iter(self._strips)))
            self._strips[key] = scale.to_unit(self._read(plane, rows))
        return self._strips[key][..., columns]

    def _read(self, plane: Plane, rows: slice) -> NDArray[Any]:
        """Whole rows of the level."""
        height, width = self.source.size_yx
        try:
            return self.source.read(plane, rows, slice(0, width))
        except ImageError as error:
            raise ImageError(
                f"{error} (this is the level of {height} x {width} pixels; without --skip-background it is not read)"
            ) from error


def low_resolution(source: Source) -> LowResolution | None:
    """The level of a pyramid that backgrounds are looked for on, or None where there is none that fits."""
    fitting = []
    for data in source.levels[1:]:
        sides = dict(zip(source.axes, map(int, data.shape), strict=True))
        factors = (source.sizes["Y"] / sides["Y"], source.sizes["X"] / sides["X"])
        same = all(sides[axis] == size for axis, size in source.sizes.items() if axis not in "YX")
        if same and np.dtype(data.dtype) == source.dtype and all(_FINEST <= f <= _COARSEST for f in factors):
            fitting.append((abs(log2(max(factors) / SQUARE)), factors, data))
    if not fitting:
        return None
    _, factors, data = min(fitting, key=lambda level: level[0])
    return LowResolution(replace(source, data=data, levels=(data,), closer=None), factors)


def _on(span: Span, factor: float, side: int) -> slice:
    """The pixels of a level that hold any part of a span of the full resolution."""
    start = min(int(span.start / factor), side - 1)
    return slice(start, max(start + 1, min(side, int(np.ceil(span.stop / factor)))))
