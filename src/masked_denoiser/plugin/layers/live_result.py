"""A result that is watched while it grows: its levels, the lower ones filled from each tile as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.images.source import Lazy, Source
from masked_denoiser.images.writers.downsample import build_pyramid, halve
from masked_denoiser.images.writers.layout import Layout
from masked_denoiser.jobs.pipeline.events import TileDone
from masked_denoiser.plugin.layers.lazy_pyramid import halved_levels
from masked_denoiser.plugin.layers.lazy_view import reordered_view

#: Side of a chunk of the lower levels in memory.
_CHUNK = 256

#: The finest lower level that is filled ahead of time where the output has shards.
_COARSE = 3


class LiveResult:
    """The levels of a growing result.

    The lower levels of an output on disk are filled ahead of time: its sink builds them anew at the end, and to the
    same bytes. All writing is done by the thread that runs the job.
    """

    def __init__(self, levels: Sequence[Any], layout: Layout, numbers: Sequence[int] | None = None) -> None:
        """Takes levels.

        Args:
            levels: arrays in the layout's axes, full resolution first, all but the first writable.
            layout: of the result.
            numbers: which levels of the layout they are; all from the first on if left out.
        """
        self._levels, self._layout = list(levels), layout
        self._numbers = tuple(numbers or range(len(levels)))
        self._smallest = napari_keeps(self._levels, layout.axes)

    def seen(self, axes: str) -> tuple[Lazy, ...]:
        """The levels with the axes of the layer that shows them."""
        levels = self._levels if self._smallest is None else [*self._levels[:-1], self._smallest]
        return tuple(reordered_view(level, self._layout.axes, axes) for level in levels)

    def add(self, tile: TileDone) -> None:
        """Puts a tile that the sink has written into the lower levels."""
        pixels, wanted = tile.pixels, dict(zip(self._numbers, self._levels, strict=True))
        for number in range(1, self._numbers[-1] + 1):
            pixels = halve(pixels, 1, 2)
            if number not in wanted:
                continue
            key, block = self._layout.place(tile.plane, tile.y >> number, tile.x >> number, pixels)
            wanted[number][key] = block
            if self._smallest is not None and number == self._numbers[-1]:
                self._smallest[key] = block

    def settle(self) -> None:
        """Fills the lower levels of a result in memory exactly."""
        build_pyramid(self._levels, self._layout.axes)
        if self._smallest is not None:
            self._smallest[...] = self._levels[-1][...]


class LiveRegion:
    """A growing result that is cut out of whole tiles. Its lower levels are made when they are looked at."""

    def __init__(self, array: np.ndarray[Any, Any], axes: str, corner: tuple[int, int], pyramid: bool) -> None:
        """Takes a view of what grows, its axes, and the row and the column of the image where it begins."""
        self._axes, self._corner = axes, corner
        self._levels = halved_levels(array, axes) if pyramid else (array,)
        self._smallest = napari_keeps(self._levels, axes)

    def seen(self, _axes: str) -> tuple[Lazy, ...]:
        """The levels."""
        return self._levels if self._smallest is None else (*self._levels[:-1], self._smallest)

    def add(self, tile: TileDone) -> None:
        """Puts a tile that the sink has written into the smallest level."""
        if self._smallest is None:
            return
        factor = 2 ** (len(self._levels) - 1)
        places = zip("YX", (tile.y, tile.x), self._corner, tile.pixels.shape[1:], strict=True)
        spans = {a: slice(max(0, at - c) // factor, -(-(at - c + side) // factor)) for a, at, c, side in places}
        key = tuple(spans.get(letter, slice(None)) for letter in self._axes)
        self._smallest[key] = self._levels[-1][key]

    def settle(self) -> None:
        """Nothing is left to do: `pyramid_of` makes the levels that stay."""


def napari_keeps(levels: Sequence[Any], axes: str) -> np.ndarray[Any, Any] | None:
    """The smallest level of a plane as an array to show in its place, None where that is not needed.

    napari 0.9 keeps the smallest level of a two-dimensional pyramid as a NumPy array and never looks again at what it
    was made of. An array that is NumPy's already it takes as it is, and so it sees it grow.
    """
    return np.asarray(levels[-1][...]) if len(levels) > 1 and set(axes) <= set("CYXS") else None


def live_in_memory(array: np.ndarray[Any, Any], source: Source, pyramid: bool) -> LiveResult:
    """The levels of a result in memory; the lower ones are compressed."""
    from masked_denoiser.images.writers.layout import same_layout

    layout = replace(same_layout(source, array.dtype), chunk=_CHUNK)
    return LiveResult([array, *_in_memory(layout, 1)] if pyramid else [array], layout)


def _in_memory(layout: Layout, first: int) -> list[Any]:
    """Empty, compressed levels from this one on."""
    import zarr

    return [
        zarr.create_array(zarr.storage.MemoryStore(), shape=level.shape, chunks=level.chunks, dtype=layout.dtype)
        for level in layout.levels[first:]
    ]


def pyramid_of(array: np.ndarray[Any, Any], axes: str) -> tuple[Lazy, ...]:
    """A finished result in memory and its lower levels; alone, where it is too small to have any."""
    live = live_in_memory(array, Source(array, axes), pyramid=True)
    live.settle()
    return live.seen(axes)


def live_on_disk(output: Path, source: Source, pyramid: bool) -> LiveResult | None:
    """The levels of an output that is being written; None for a TIFF that was complete already."""
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
    if first.shards is not None and count > _COARSE:
        # Each tile would write whole shards of all levels anew: coarse ones in memory will do until the end.
        return LiveResult([first, *_in_memory(layout, _COARSE)], layout, (0, *range(_COARSE, count)))
    return LiveResult([group[str(number)] for number in range(count)], layout)
