"""Downsampling: each pyramid level as means of 2 x 2 pixels of the next finer level as stored, file by file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise, product
from math import prod
from typing import Any

import numpy as np

from masked_denoiser.images.writers.base import ProgressCallback, no_progress

Pixels = np.ndarray[Any, Any]
Region = tuple[slice, ...]


class PixelProgress:
    """A counter of finished pixels that reports progress."""

    def __init__(self, progress: ProgressCallback, levels: Sequence[Any]) -> None:
        """Start at zero of all pixels of some arrays."""
        self._progress, self._done, self._total = progress, 0, sum(prod(level.shape) for level in levels)

    def track(self, blocks: Iterable[Pixels]) -> Iterator[Pixels]:
        """Yield blocks and count each."""
        for block in blocks:
            self.add(block)
            yield block

    def add(self, pixels: Pixels) -> None:
        """Count the pixels of an array."""
        self._done += pixels.size
        self._progress(self._done / self._total)


def build_pyramid(
    levels: Sequence[Any],
    axes: str,
    progress: ProgressCallback = no_progress,
    on_write: Callable[[int, Region], object] = lambda number, region: None,
    fill_values: Sequence[float] = (),
) -> None:
    """Fill every level but the first from the next finer one.

    Each file, a chunk or a shard, is written once and whole. At most one file and four chunks are in memory, and the
    result depends on the first level alone.

    Args:
        levels: zarr arrays, full resolution first, y and x halved (rounding up) from one to the next.
        axes: one letter per dimension, including "Y" and "X".
        progress: receives the fraction that is done every few chunks; an exception raised by it stops the work.
        on_write: called with the number of a level and the region of it that was just written.
        fill_values: as for `halve`.
    """
    yx = axes.index("Y"), axes.index("X")

    def halve_block(pixels: Pixels) -> Pixels:
        return halve(pixels, *yx, fill_values)

    done = PixelProgress(progress, levels[1:])
    for number, (fine, coarse) in enumerate(pairwise(levels), start=1):
        for region in regions(coarse.shape, coarse.shards or coarse.chunks):
            coarse[region] = _fill_region(fine, coarse, region, yx, halve_block, done)
            on_write(number, region)


def regions(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[Region]:
    """Yield the chunks of an array as slices clipped to its shape, the last axis varying fastest."""
    steps = (
        [slice(i, min(i + chunk, side)) for i in range(0, side, chunk)]
        for side, chunk in zip(shape, chunks, strict=True)
    )
    return product(*steps)


def halve(pixels: Pixels, y_axis: int, x_axis: int, fill_values: Sequence[float] = ()) -> Pixels:
    """Return means of 2 x 2 pixels in the dtype of `pixels`; at an odd border, means of the pixels that exist.

    Integers are rounded half up. NaN propagates to the mean.

    Args:
        pixels: an array of any shape.
        y_axis, x_axis: its dimensions that are halved.
        fill_values: values of missing pixels, which are left out of means; where all four are missing, so is the mean.
    """
    if pixels.dtype == np.bool_:
        return halve(pixels.view(np.uint8), y_axis, x_axis).astype(np.bool_)
    quarters = _quarters(_pad_to_even(pixels, y_axis, x_axis), y_axis, x_axis)
    means = _mean_integers(quarters) if pixels.dtype.kind in "iu" else _mean_floats(quarters)
    return _without_missing(means, quarters, fill_values) if fill_values else means


def _without_missing(means: Pixels, quarters: list[Pixels], fill_values: Sequence[float]) -> Pixels:
    """Return means of the pixels that are not missing, where some are."""
    values = np.stack(quarters)
    missing = np.isin(values, np.array(fill_values).astype(means.dtype))
    found = 4 - missing.sum(axis=0)
    total = np.where(missing, 0, values).sum(axis=0, dtype=np.float64)
    rest = total / np.maximum(found, 1)
    rest = np.floor(rest + 0.5) if means.dtype.kind in "iu" else rest
    partly = np.where(found == 0, quarters[0], rest.astype(means.dtype))
    return np.asarray(np.where(found == 4, means, partly), dtype=means.dtype)


def _fill_region(
    fine: Any,
    coarse: Any,
    region: Region,
    yx: tuple[int, int],
    halve_block: Callable[[Pixels], Pixels],
    done: PixelProgress,
) -> Pixels:
    """Return a region of the coarse level, computed chunk by chunk."""
    corner = [s.start for s in region]
    pixels: Pixels = np.empty([s.stop - s.start for s in region], coarse.dtype)
    for inner in regions(pixels.shape, coarse.chunks):
        absolute = tuple(slice(at + s.start, at + s.stop) for at, s in zip(corner, inner, strict=True))
        pixels[inner] = halve_block(fine[_finer_region(absolute, yx)])
        done.add(pixels[inner])
    return pixels


def _finer_region(region: Region, yx: tuple[int, int]) -> Region:
    """Return the region of the finer level under a region; its slices may end beyond the border."""
    return tuple(slice(2 * s.start, 2 * s.stop) if i in yx else s for i, s in enumerate(region))


def _pad_to_even(pixels: Pixels, *axes: int) -> Pixels:
    """Repeat the last row or column of odd sides, which keeps the mean of the pixels that exist."""
    padding = [(0, side % 2 if axis in axes else 0) for axis, side in enumerate(pixels.shape)]
    return np.pad(pixels, padding, mode="edge")


def _quarters(pixels: Pixels, y_axis: int, x_axis: int) -> list[Pixels]:
    key = [slice(None)] * pixels.ndim
    keys = []
    for y, x in product((0, 1), repeat=2):
        key[y_axis], key[x_axis] = slice(y, None, 2), slice(x, None, 2)
        keys.append(tuple(key))
    return [pixels[k] for k in keys]


def _mean_integers(quarters: list[Pixels]) -> Pixels:
    # a = 4 * (a >> 2) + (a & 3), so neither sum can overflow, not even with 64 bits.
    total = sum((q >> 2 for q in quarters[1:]), quarters[0] >> 2)
    remainder = sum((q & 3 for q in quarters[1:]), quarters[0] & 3)
    mean: Pixels = total + ((remainder + 2) >> 2)
    return mean


def _mean_floats(quarters: list[Pixels]) -> Pixels:
    dtype = quarters[0].dtype
    # Compute float16 in float32, and scale before the sum: no overflow.
    scaled = [q.astype(np.result_type(dtype, np.float32)) * np.float32(0.25) for q in quarters]
    return ((scaled[0] + scaled[1]) + (scaled[2] + scaled[3])).astype(dtype)
