"""Results that are displayed while they grow: full resolution, and lower levels updated with each tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.images.lazy_arrays import CroppedArray, reorder_axes
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.readers.chunk_cache import cache_blocks
from masked_denoiser.images.source import LazyArray, Source
from masked_denoiser.images.writers.downsample import build_pyramid, halve
from masked_denoiser.images.writers.layout import Layout
from masked_denoiser.jobs.pipeline.events import TileDone
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.plugin.layers.lazy_pyramid import halved_levels
from masked_denoiser.plugin.layers.merged_array import DoneTiles, MergedArray, NearestArray

#: Chunk side of the lower levels in memory.
_CHUNK = 256

#: Most pixels of a plane that are read at once to show the input at lower resolution.
_MAX_READ_PIXELS = 2**24

#: Finest lower level that is updated with each tile if the output has shards.
_FINEST_SHARDED_LEVEL = 3


class LiveResult:
    """Levels of a growing result.

    The lower levels of an output on disk are provisional: its sink writes them again at the end, with the same bytes.
    Only the thread of the job writes to the levels.
    """

    def __init__(
        self,
        levels: Sequence[Any],
        layout: Layout,
        background: LiveBackground | None = None,
        numbers: Sequence[int] | None = None,
    ) -> None:
        """Create a growing result.

        Args:
            levels: arrays with the layout's axes, full resolution first, all but the first writable.
            layout: layout of the result.
            background: what is shown where nothing has been written; None for black.
            numbers: the level numbers of `levels` in the layout; None for the first ones.
        """
        self._levels, self._layout = list(levels), layout
        self._numbers = tuple(numbers or range(len(levels)))
        self._done = DoneTiles(layout.axes, layout.shape, background.tile) if background is not None else None
        self._shown = self._levels if background is None else self._merge(background)
        self._smallest = copy_smallest_level(self._shown, layout.axes)

    def layer_levels(self, axes: str) -> tuple[LazyArray, ...]:
        """Return the levels as views with the axes of a layer."""
        levels = self._shown if self._smallest is None else [*self._shown[:-1], self._smallest]
        return tuple(reorder_axes(level, self._layout.axes, axes) for level in levels)

    def mark_done(self, plane: Plane, y: int, x: int, size: tuple[int, int]) -> None:
        """Record that a rectangle of the first level has been written, such as by an earlier run."""
        if self._done is not None:
            self._done.add(self._layout.stored_plane(plane), y, x, size)

    def add(self, tile: TileDone) -> None:
        """Write a tile to the lower levels, after the sink has written it."""
        pixels, levels = tile.pixels, dict(zip(self._numbers, self._levels, strict=True))
        for number in range(1, self._numbers[-1] + 1):
            pixels = halve(pixels, 1, 2)
            if number not in levels:
                continue
            key, block = self._layout.place(tile.plane, tile.y >> number, tile.x >> number, pixels)
            levels[number][key] = block
            if self._smallest is not None and number == self._numbers[-1]:
                self._smallest[key] = block
        self.mark_done(tile.plane, tile.y, tile.x, (tile.pixels.shape[1], tile.pixels.shape[2]))

    def finalize(self) -> None:
        """Compute the exact lower levels of a result in memory."""
        build_pyramid(self._levels, self._layout.axes)
        if self._smallest is not None:
            self._smallest[...] = self._levels[-1][...]

    def finished_levels(self, axes: str) -> tuple[LazyArray, ...]:
        """Return the levels of the finished result, without the input behind them."""
        return tuple(reorder_axes(level, self._layout.axes, axes) for level in self._levels)

    def _merge(self, background: LiveBackground) -> list[Any]:
        """Return each level with the input where nothing has been written."""
        assert self._done is not None
        axes = self._layout.axes
        return [
            MergedArray(level, background.level(level.shape, axes), axes, self._done, factor=2**number)
            for number, level in zip(self._numbers, self._levels, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class LiveBackground:
    """Input of a job, as it is shown behind a growing result.

    Attributes:
        source: the input.
        levels: levels of the layer, if the input is all of a pyramid.
        tile: side of a tile of the job in pixels; 0 without a job.
    """

    source: Source
    levels: tuple[LazyArray, ...] = ()
    tile: int = 0

    def level(self, shape: tuple[int, ...], axes: str) -> LazyArray:
        """Return the input in this shape and with these axes; what is read to reduce it is cached."""
        y, height = self.source.axes.index("Y"), shape[axes.index("Y")]
        large_enough = [array for array in (self.source.data, *self.levels) if array.shape[y] + 1 >= height]
        best = min(large_enough, key=lambda array: int(array.shape[y]))
        reordered = reorder_axes(best, self.source.axes, axes)
        if tuple(reordered.shape) == tuple(shape):
            return reordered
        nearest = NearestArray(reordered, tuple(shape))
        return (
            nearest if isinstance(best, np.ndarray) else cache_blocks(nearest, _bands(nearest, reordered.shape, axes))
        )


def _bands(array: LazyArray, stored: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """Return blocks of whole rows of a reduced array, for each of which at most `_MAX_READ_PIXELS` are read."""
    y, x = axes.index("Y"), axes.index("X")
    factor = max(1, stored[y] // array.shape[y])
    rows = max(1, min(array.shape[y], _MAX_READ_PIXELS // (stored[x] * factor)))
    sides = {"Y": rows, "X": array.shape[x]}
    return tuple(sides.get(letter, 1) for letter in axes)


class LiveRegion:
    """Growing result that is cropped from whole tiles. Its lower levels are computed when they are read."""

    def __init__(self, array: np.ndarray[Any, Any], source: Source, region: Region, tile: int, pyramid: bool) -> None:
        """Create a growing result.

        Args:
            array: view of the sink's array.
            source: the input, which is shown where nothing has been written.
            region: the part of the input that the array is.
            tile: side of a tile in pixels.
            pyramid: whether to add lower levels.
        """
        self._axes, self._array = source.axes, array
        self._corner = (region.rows.start, region.columns.start)
        self._done = DoneTiles(source.axes, array.shape, tile, source.size_yx)
        position = dict(region.position) | dict(zip("YX", self._corner, strict=True))
        sides = zip(source.axes, array.shape, source.shape, strict=True)
        starts = [position.get(letter, 0) if side < whole else 0 for letter, side, whole in sides]
        spans = tuple((start, start + side) for start, side in zip(starts, array.shape, strict=True))
        merged = MergedArray(array, CroppedArray(source.data, spans), source.axes, self._done, self._corner)
        self._levels: tuple[LazyArray, ...] = halved_levels(merged, source.axes) if pyramid else (merged,)
        self._smallest = copy_smallest_level(self._levels, self._axes)

    def layer_levels(self, _axes: str) -> tuple[LazyArray, ...]:
        """Return the levels, which have the axes of the layer already."""
        return self._levels if self._smallest is None else (*self._levels[:-1], self._smallest)

    def finished_levels(self, _axes: str) -> tuple[LazyArray, ...]:
        """Return the finished result, without the input behind it."""
        return (self._array,)

    def add(self, tile: TileDone) -> None:
        """Show a tile, after the sink has written it."""
        self._done.add(tile.plane, tile.y, tile.x, (tile.pixels.shape[1], tile.pixels.shape[2]))
        if self._smallest is None:
            return
        factor = 2 ** (len(self._levels) - 1)
        axes = zip("YX", (tile.y, tile.x), self._corner, tile.pixels.shape[1:], strict=True)
        starts = {letter: (start - corner, side) for letter, start, corner, side in axes}
        spans = {a: slice(max(0, start) // factor, -(-(start + side) // factor)) for a, (start, side) in starts.items()}
        key = tuple(spans.get(letter, slice(None)) for letter in self._axes)
        self._smallest[key] = self._levels[-1][key]

    def finalize(self) -> None:
        """Do nothing: `build_memory_pyramid` computes the final levels."""


def copy_smallest_level(levels: Sequence[Any], axes: str) -> np.ndarray[Any, Any] | None:
    """Return a NumPy copy of the smallest level of a two-dimensional pyramid, or None if napari needs no copy.

    napari 0.9 converts the smallest level of a two-dimensional pyramid to a NumPy array once and never reads the level
    again. It uses a NumPy array without copying it, so that updates of this array are displayed.
    """
    return np.asarray(levels[-1][...]) if len(levels) > 1 and set(axes) <= set("CYXS") else None


def live_in_memory(
    array: np.ndarray[Any, Any], source: Source, pyramid: bool, background: LiveBackground | None = None
) -> LiveResult:
    """Return a growing result in memory; its lower levels are compressed."""
    from masked_denoiser.images.writers.layout import same_layout

    layout = replace(same_layout(source, array.dtype), chunk=_CHUNK)
    return LiveResult([array, *_empty_levels(layout, 1)] if pyramid else [array], layout, background)


def _empty_levels(layout: Layout, first: int) -> list[Any]:
    """Return empty, compressed arrays in memory for the levels from number `first` on."""
    import zarr

    return [
        zarr.create_array(zarr.storage.MemoryStore(), shape=level.shape, chunks=level.chunks, dtype=layout.dtype)
        for level in layout.levels[first:]
    ]


def build_memory_pyramid(array: np.ndarray[Any, Any], axes: str) -> tuple[LazyArray, ...]:
    """Return a finished result in memory and its lower levels, if it is large enough to have any."""
    live = live_in_memory(array, Source(array, axes), pyramid=True)
    live.finalize()
    return live.layer_levels(axes)


def live_on_disk(
    output: Path, source: Source, pyramid: bool, background: LiveBackground | None = None
) -> LiveResult | None:
    """Return the growing result of an output on disk; None for a file that is complete already."""
    import zarr

    from masked_denoiser.images.writers.create import output_layout
    from masked_denoiser.images.writers.output_path import is_assembled, working_folder

    folder = working_folder(output) if is_assembled(output) else output
    if not folder.exists():
        return None
    group = zarr.open_group(folder, mode="r+")
    first: Any = group["0"]
    layout = output_layout(output, source, _CHUNK, first.dtype)
    count = len(layout.levels) if pyramid else 1
    if first.shards is not None and count > _FINEST_SHARDED_LEVEL:
        # Each tile would rewrite whole shards of all levels: until the end, show coarse levels in memory instead.
        numbers = (0, *range(_FINEST_SHARDED_LEVEL, count))
        return LiveResult([first, *_empty_levels(layout, _FINEST_SHARDED_LEVEL)], layout, background, numbers)
    return LiveResult([group[str(number)] for number in range(count)], layout, background)
