"""Results that are displayed while they grow: full resolution, and lower levels updated with each tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.images.source import LazyArray, Source
from masked_denoiser.images.writers.downsample import build_pyramid, halve
from masked_denoiser.images.writers.layout import Layout
from masked_denoiser.jobs.pipeline.events import TileDone
from masked_denoiser.plugin.layers.lazy_pyramid import halved_levels
from masked_denoiser.plugin.layers.lazy_view import reorder_axes

#: Chunk side of the lower levels in memory.
_CHUNK = 256

#: Finest lower level that is updated with each tile if the output has shards.
_FINEST_SHARDED_LEVEL = 3


class LiveResult:
    """Levels of a growing result.

    The lower levels of an output on disk are provisional: its sink writes them again at the end, with the same bytes.
    Only the thread of the job writes to the levels.
    """

    def __init__(self, levels: Sequence[Any], layout: Layout, numbers: Sequence[int] | None = None) -> None:
        """Create a growing result.

        Args:
            levels: arrays with the layout's axes, full resolution first, all but the first writable.
            layout: layout of the result.
            numbers: their level numbers in the layout; None for the first ones.
        """
        self._levels, self._layout = list(levels), layout
        self._numbers = tuple(numbers or range(len(levels)))
        self._smallest = copy_smallest_level(self._levels, layout.axes)

    def layer_levels(self, axes: str) -> tuple[LazyArray, ...]:
        """Return the levels as views with the axes of a layer."""
        levels = self._levels if self._smallest is None else [*self._levels[:-1], self._smallest]
        return tuple(reorder_axes(level, self._layout.axes, axes) for level in levels)

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

    def finalize(self) -> None:
        """Compute the exact lower levels of a result in memory."""
        build_pyramid(self._levels, self._layout.axes)
        if self._smallest is not None:
            self._smallest[...] = self._levels[-1][...]


class LiveRegion:
    """Growing result that is cropped from whole tiles. Its lower levels are computed when they are read."""

    def __init__(self, array: np.ndarray[Any, Any], axes: str, corner: tuple[int, int], pyramid: bool) -> None:
        """Create a growing result.

        Args:
            array: view of the sink's array.
            axes: axes of the array.
            corner: first row and column of the array in the image.
            pyramid: whether to add lower levels.
        """
        self._axes, self._corner = axes, corner
        self._levels = halved_levels(array, axes) if pyramid else (array,)
        self._smallest = copy_smallest_level(self._levels, axes)

    def layer_levels(self, _axes: str) -> tuple[LazyArray, ...]:
        """Return the levels, which have the axes of the layer already."""
        return self._levels if self._smallest is None else (*self._levels[:-1], self._smallest)

    def add(self, tile: TileDone) -> None:
        """Update the copy of the smallest level, after the sink has written a tile."""
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


def live_in_memory(array: np.ndarray[Any, Any], source: Source, pyramid: bool) -> LiveResult:
    """Return a growing result in memory; its lower levels are compressed."""
    from masked_denoiser.images.writers.layout import same_layout

    layout = replace(same_layout(source, array.dtype), chunk=_CHUNK)
    return LiveResult([array, *_empty_levels(layout, 1)] if pyramid else [array], layout)


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


def live_on_disk(output: Path, source: Source, pyramid: bool) -> LiveResult | None:
    """Return the growing result of an output on disk; None for a TIFF that is complete already."""
    import zarr

    from masked_denoiser.images.writers.layout import tiff_layout, zarr_layout
    from masked_denoiser.images.writers.output_path import is_tiff, working_folder

    folder = working_folder(output) if is_tiff(output) else output
    if not folder.exists():
        return None
    group = zarr.open_group(folder, mode="r+")
    first: Any = group["0"]
    layout = (tiff_layout if is_tiff(output) else zarr_layout)(source, _CHUNK, first.dtype)
    count = len(layout.levels) if pyramid else 1
    if first.shards is not None and count > _FINEST_SHARDED_LEVEL:
        # Each tile would rewrite whole shards of all levels: until the end, show coarse levels in memory instead.
        numbers = (0, *range(_FINEST_SHARDED_LEVEL, count))
        return LiveResult([first, *_empty_levels(layout, _FINEST_SHARDED_LEVEL)], layout, numbers)
    return LiveResult([group[str(number)] for number in range(count)], layout)
