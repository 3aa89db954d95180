"""A sink for one region of a job's planes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from masked_denoiser.images.planes import Plane, from_channels_first, plane_index
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress
from masked_denoiser.jobs.spec.region import Region


class RegionSink(Sink):
    """The result of a region in memory.

    Attributes:
        array: the axes of the source; as long as the region in Y and X, as the image along colour and what is whole,
            and 1 elsewhere.
    """

    def __init__(self, source: Source, region: Region, planes: Iterable[Plane], dtype: Any = None) -> None:
        """Makes room for a region, which must consist of whole tiles."""
        self._axes, self._region = source.axes, region
        across = next((plane.across for plane in planes if region.holds(plane)), "")
        sides = {"Y": len(region.rows), "X": len(region.columns)}
        sides |= {letter: side for letter, side in source.sizes.items() if letter in region.kept}
        if across:
            sides[across] = source.sizes[across]
        shape = tuple(sides.get(letter, 1) for letter in source.axes)
        self.array: np.ndarray[Any, Any] = np.zeros(shape, np.dtype(dtype or source.dtype).newbyteorder("="))

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Puts [channels, height, width] at (y, x) of the image."""
        kept = self._region.kept
        here = replace(plane, index=tuple((letter, at if letter in kept else 0) for letter, at in plane.index))
        top, left = y - self._region.rows.start, x - self._region.columns.start
        ys, xs = slice(top, top + pixels.shape[1]), slice(left, left + pixels.shape[2])
        self.array[plane_index(self._axes, here, ys, xs)] = from_channels_first(pixels, self._axes, here)

    def finish(self, follow: ProgressCallback = no_progress) -> None:
        """Nothing is left to do: `array` is the result."""

    def close(self) -> None:
        """Nothing is held open."""
