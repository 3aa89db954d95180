"""A result that is watched while it grows: its levels, the lower ones filled from each tile as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.denoising.events import TileDone
from masked_denoiser.images.layout import Layout
from masked_denoiser.images.pyramid import build_pyramid, halve
from masked_denoiser.images.source import Lazy, Source
from masked_denoiser.plugin.reordered import reordered

#: Side of a chunk of the lower levels in memory.
_CHUNK = 256


class Live:
    """The levels of a growing result.

    The lower levels of an output on disk are filled ahead of time: its sink builds them anew at the end, and to the
    same bytes. All writing is done by the thread that runs the job.
    """

    def __init__(self, levels: Sequence[Any], layout: Layout) -> None:
        """Takes arrays in the layout's axes, full resolution first, all but the first writable."""
        self._levels, self._layout = list(levels), layout

    def seen(self, axes: str) -> tuple[Lazy, ...]:
        """The levels with the axes of the layer that shows them."""
        return tuple(reordered(level, self._layout.axes, axes) for level in self._levels)

    def add(self, tile: TileDone) -> None:
        """Puts a tile that the sink has written into the lower levels."""
        pixels = tile.pixels
        for number, level in enumerate(self._levels[1:], start=1):
            pixels = halve(pixels, 1, 2)
            key, block = self._layout.place(tile.plane, tile.y >> number, tile.x >> number, pixels)
            level[key] = block

    def settle(self) -> None:
        """Fills the lower levels of a result in memory exactly."""
        build_pyramid(self._levels, self._layout.axes)


def live_in_memory(array: np.ndarray[Any, Any], source: Source, pyramid: bool) -> Live:
    """The levels of a result in memory; the lower ones are compressed."""
    from masked_denoiser.images.layout import same_layout

    layout = replace(same_layout(source), chunk=_CHUNK)
    if not pyramid:
        return Live([array], layout)
    import zarr

    lower = [
        zarr.create_array(zarr.storage.MemoryStore(), shape=level.shape, chunks=level.chunks, dtype=layout.dtype)
        for level in layout.levels[1:]
    ]
    return Live([array, *lower], layout)


def pyramid_of(array: np.ndarray[Any, Any], axes: str) -> tuple[Lazy, ...]:
    """A finished result in memory and its lower levels; alone, where it is too small to have any."""
    live = live_in_memory(array, Source(array, axes), pyramid=True)
    live.settle()
    return live.seen(axes)


def live_on_disk(output: Path, source: Source, pyramid: bool) -> Live | None:
    """The levels of an output that is being written; None for a TIFF that was complete already."""
    import zarr

    from masked_denoiser.images.disk import is_tiff, working_folder
    from masked_denoiser.images.layout import tiff_layout, zarr_layout

    folder = working_folder(output) if is_tiff(output) else output
    if not folder.exists():
        return None
    layout = (tiff_layout if is_tiff(output) else zarr_layout)(source, _CHUNK)
    group = zarr.open_group(folder, mode="r+")
    count = len(layout.levels) if pyramid else 1
    return Live([group[str(number)] for number in range(count)], layout)
