"""Sink for a region of a job, in memory."""

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
    """Sink that collects the result of a region in an array.

    Attributes:
        array: array with the axes of the source: as long as the region along Y and X, as the image along the axes of
            colours and `Region.full_axes`, and 1 along others.
    """

    def __init__(self, source: Source, region: Region, planes: Iterable[Plane], dtype: Any = None) -> None:
        """Allocate the array for a region, which must consist of whole tiles."""
        self._axes, self._region = source.axes, region
        channel_axis = next((plane.channel_axis for plane in planes if region.contains(plane)), "")
        sides = {"Y": len(region.rows), "X": len(region.columns)}
        sides |= {letter: side for letter, side in source.sizes.items() if letter in region.kept_axes}
        if channel_axis:
            sides[channel_axis] = source.sizes[channel_axis]
        shape = tuple(sides.get(letter, 1) for letter in source.axes)
        self.array: np.ndarray[Any, Any] = np.zeros(shape, np.dtype(dtype or source.dtype).newbyteorder("="))

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Write [channels, height, width] with its top left pixel at (y, x) of the image."""
        kept = self._region.kept_axes
        target = replace(plane, index=tuple((letter, at if letter in kept else 0) for letter, at in plane.index))
        top, left = y - self._region.rows.start, x - self._region.columns.start
        ys, xs = slice(top, top + pixels.shape[1]), slice(left, left + pixels.shape[2])
        self.array[plane_index(self._axes, target, ys, xs)] = from_channels_first(pixels, self._axes, target)

    def finish(self, progress: ProgressCallback = no_progress) -> None:
        """Do nothing: `array` is the result."""

    def close(self) -> None:
        """Do nothing: no file is open."""
