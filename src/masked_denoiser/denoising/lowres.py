"""Where an image is background, seen on its pyramid: the first filter of `--skip-background`, and what previews show.

A tile passes the filter if, on the level that is nearest to a sixteenth of the full resolution, every mean over squares
of about 16 x 16 pixels of the tile with its halo is within `background.TOLERANCE` of the background. Images without
such a level are looked at in full resolution alone.

The level only keeps tiles from being skipped: its writer may have left pixels out in place of taking means, or wiped a
single bright cell away. So a tile that passes is looked at in full resolution, too, when it is read, as it must be to
be copied; that costs next to nothing, and what is skipped never exceeds what a preview showed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.background import SQUARE, Levels, is_background
from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import ImageError, Source
from masked_denoiser.tiling.plan import Span, Tile

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
