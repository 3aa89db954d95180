"""Pyramid: each level as 2 x 2 means of the level above it, as that was written, a file at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise, product
from math import prod
from typing import Any

import numpy as np

from masked_denoiser.images.writers.base import ProgressCallback, no_progress

Pixels = np.ndarray[Any, Any]


class Counted:
    """Counts pixels that are done, and tells a follower."""

    def __init__(self, follow: ProgressCallback, levels: Sequence[Any]) -> None:
        """Begins at none of those of some arrays."""
        self._follow, self._done, self._total = follow, 0, sum(prod(level.shape) for level in levels)

    def each(self, pieces: Iterable[Pixels]) -> Iterator[Pixels]:
        """Hands pieces on, and counts them."""
        for piece in pieces:
            self.add(piece)
            yield piece

    def add(self, pixels: Pixels) -> None:
        """Counts an array."""
        self._done += pixels.size
        self._follow(self._done / self._total)


def build_pyramid(
    levels: Sequence[Any],
    axes: str,
    follow: ProgressCallback = no_progress,
    written: Callable[[int, tuple[slice, ...]], object] = lambda number, region: None,
) -> None:
    """Fills every level but the first from the one before it.

    Each file, a chunk or a shard, is written once and whole. It and four chunks are in memory at once at most, and
    the result depends on the first level alone.

    Args:
        levels: zarr arrays, full resolution first, y and x halved (rounding up) from one to the next.
        axes: their letters, "Y" and "X" among them.
        follow: told the share that is done, a few chunks at a time; what it raises ends the work between two.
        written: told the number of a level and what of it has just been written.
    """
    spatial = axes.index("Y"), axes.index("X")
    counted = Counted(follow, levels[1:])
    for number, (fine, coarse) in enumerate(pairwise(levels), start=1):
        for region in regions(coarse.shape, coarse.shards or coarse.chunks):
            coarse[region] = _halved(fine, coarse, region, spatial, counted)
            written(number, region)


def regions(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """The chunks of an array as slices cut at its border, the last axis running fastest."""
    steps = (
        [slice(i, min(i + chunk, side)) for i in range(0, side, chunk)]
        for side, chunk in zip(shape, chunks, strict=True)
    )
    return product(*steps)


def halve(pixels: Pixels, y_axis: int, x_axis: int) -> Pixels:
    """Means of 2 x 2 pixels, in the dtype of `pixels`; at an odd border, means of those that exist.

    Integers are rounded, halves up. NaN spreads to the mean.
    """
    if pixels.dtype == np.bool_:
        return halve(pixels.view(np.uint8), y_axis, x_axis).astype(np.bool_)
    quarters = _quarters(_even(pixels, y_axis, x_axis), y_axis, x_axis)
    return _mean_integers(quarters) if pixels.dtype.kind in "iu" else _mean_floats(quarters)


def _halved(fine: Any, coarse: Any, region: tuple[slice, ...], spatial: tuple[int, int], counted: Counted) -> Pixels:
    """A region of the coarse level, read chunk by chunk."""
    corner = [s.start for s in region]
    pixels: Pixels = np.empty([s.stop - s.start for s in region], coarse.dtype)
    for inner in regions(pixels.shape, coarse.chunks):
        here = tuple(slice(at + s.start, at + s.stop) for at, s in zip(corner, inner, strict=True))
        pixels[inner] = halve(fine[_doubled(here, spatial)], *spatial)
        counted.add(pixels[inner])
    return pixels


def _doubled(region: tuple[slice, ...], spatial: tuple[int, int]) -> tuple[slice, ...]:
    """The finer level's pixels under a region; a slice may end beyond the border, which cuts it."""
    return tuple(slice(2 * s.start, 2 * s.stop) if i in spatial else s for i, s in enumerate(region))


def _even(pixels: Pixels, *axes: int) -> Pixels:
    """Repeats the last row or column of an odd side, which leaves the mean of those that exist."""
    odd = [(0, side % 2 if axis in axes else 0) for axis, side in enumerate(pixels.shape)]
    return np.pad(pixels, odd, mode="edge")


def _quarters(pixels: Pixels, y_axis: int, x_axis: int) -> list[Pixels]:
    whole = [slice(None)] * pixels.ndim
    keys = []
    for y, x in product((0, 1), repeat=2):
        whole[y_axis], whole[x_axis] = slice(y, None, 2), slice(x, None, 2)
        keys.append(tuple(whole))
    return [pixels[key] for key in keys]


def _mean_integers(quarters: list[Pixels]) -> Pixels:
    # a = 4 * (a >> 2) + (a & 3), so neither sum can leave the dtype, not even for 64 bits.
    total = sum((q >> 2 for q in quarters[1:]), quarters[0] >> 2)
    rest = sum((q & 3 for q in quarters[1:]), quarters[0] & 3)
    mean: Pixels = total + ((rest + 2) >> 2)
    return mean


def _mean_floats(quarters: list[Pixels]) -> Pixels:
    dtype = quarters[0].dtype
    # float16 in float32, and each quarter scaled before the sum: no overflow.
    scaled = [q.astype(np.result_type(dtype, np.float32)) * np.float32(0.25) for q in quarters]
    return ((scaled[0] + scaled[1]) + (scaled[2] + scaled[3])).astype(dtype)
