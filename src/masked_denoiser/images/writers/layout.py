"""Layout: how an output is stored: its axes, shape, chunks and pyramid levels. Pure, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, lcm
from typing import Any, Literal

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.planes import Plane, from_channels_first, plane_index
from masked_denoiser.images.source import Source

#: Versions of OME-Zarr that can be written.
OmeZarr = Literal["0.4", "0.5"]

#: A pyramid ends with the first level whose sides are both no longer than this.
SMALLEST_LEVEL = 256

#: An output level of more chunks than this is stored in shards, or it would be that many files.
MANY_CHUNKS = 4096

#: Chunks along each side of a shard, at least.
_CHUNKS_A_SIDE = 4


@dataclass(frozen=True)
class Level:
    """One resolution of a pyramid.

    Attributes:
        shape: sides in the order of the layout's axes.
        chunks: sides of a chunk, none longer than `shape`.
        shards: sides of a shard, multiples of those of a chunk; None where each chunk is a file.
        factors: how many full-resolution pixels one pixel covers along each axis.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    factors: tuple[int, ...]
    shards: tuple[int, ...] | None = None

    @property
    def files(self) -> tuple[int, ...]:
        """Sides of what one file holds, which no two writers may write at once."""
        return self.shards or self.chunks


@dataclass(frozen=True)
class Layout:
    """How an output is stored.

    Attributes:
        axes: letters in the stored order.
        shape: full-resolution sides in the order of `axes`.
        dtype: of a stored sample, in native byte order.
        chunk: side of a chunk in y and x; 1 along other axes, 3 along `colour`.
        shard: side of a shard in y and x, a multiple of `chunk`; 0 for none. Along other axes it is one chunk.
        colour: the axis of red, green, blue (and alpha), or "".
        renamed: axis of the source to the letter it is stored under, where they differ.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: int
    colour: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)
    shard: int = 0

    @property
    def sizes(self) -> dict[str, int]:
        """Stored axis letter to length."""
        return dict(zip(self.axes, self.shape, strict=True))

    @property
    def levels(self) -> tuple[Level, ...]:
        """Full resolution first; y and x are halved, rounding up, until both fit `SMALLEST_LEVEL`."""
        levels = [self._level(self.shape, (1,) * len(self.axes))]
        while self._long_side(levels[-1]) > SMALLEST_LEVEL:
            levels.append(self._halved(levels[-1]))
        return tuple(levels)

    def place(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> tuple[tuple[int | slice, ...], Any]:
        """Where [channels, height, width] of a source's plane belong, as (index, block) of the stored array.

        Raises:
            ValueError: if `pixels` are not of the layout's dtype, which an assignment would cast silently.
        """
        if pixels.dtype.newbyteorder("=") != self.dtype:
            raise ValueError(f"pixels of {pixels.dtype} for an output of {self.dtype}")
        stored = self._stored(plane)
        height, width = pixels.shape[-2:]
        key = plane_index(self.axes, stored, slice(y, y + height), slice(x, x + width))
        return key, from_channels_first(pixels, self.axes, stored)

    def _stored(self, plane: Plane) -> Plane:
        letters = self.renamed
        index = tuple((letters.get(axis, axis), position) for axis, position in plane.index)
        return replace(plane, index=index, across=letters.get(plane.across, plane.across))

    def _level(self, shape: tuple[int, ...], factors: tuple[int, ...]) -> Level:
        # Colour is cut as 3 + 1: alpha is written apart from RGB, and no chunk should have two writers.
        wanted = [self.chunk if a in "YX" else 3 if a == self.colour else 1 for a in self.axes]
        chunks = tuple(min(c, s) for c, s in zip(wanted, shape, strict=True))
        return Level(shape, chunks, factors, self._shards(shape, chunks) if self.shard else None)

    def _shards(self, shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
        """Whole chunks up to the side of a shard, or up to the level's own where that is shorter."""
        sides = zip(self.axes, shape, chunks, strict=True)
        return tuple(c * ceil(min(self.shard, side) / c) if a in "YX" else c for a, side, c in sides)

    def _long_side(self, level: Level) -> int:
        return max(level.shape[self.axes.index("Y")], level.shape[self.axes.index("X")])

    def _halved(self, level: Level) -> Level:
        # A side of 1 stays 1, and its pixel covers no more than before.
        steps = [2 if a in "YX" and side > 1 else 1 for a, side in zip(self.axes, level.shape, strict=True)]
        shape = tuple(-(-side // step) for side, step in zip(level.shape, steps, strict=True))
        return self._level(shape, tuple(f * step for f, step in zip(level.factors, steps, strict=True)))


def same_layout(source: Source, dtype: Any = None) -> Layout:
    """The source's own axes, in one chunk."""
    return _layout(source, source.axes, {}, max(source.size_yx), dtype)


def shard_side(size_yx: tuple[int, int], tile: int, chunk: int, planes: int = 1) -> int:
    """Side of the shards of an output, in pixels: 0 for none, where chunks of its full resolution are few.

    Args:
        size_yx: height and width of the image.
        tile: side of what is written at once.
        chunk: side of a chunk.
        planes: how many planes are stored.

    Returns:
        The least common multiple of tile and chunk that is at least 4 chunks, if there are more than `MANY_CHUNKS`
        chunks and a shard would hold several; else 0.
    """
    chunks = planes * ceil(size_yx[0] / chunk) * ceil(size_yx[1] / chunk)
    if chunks <= MANY_CHUNKS or max(size_yx) <= chunk:
        return 0
    least = lcm(tile, chunk)
    return least * ceil(_CHUNKS_A_SIDE * chunk / least)


def zarr_layout(source: Source, chunk: int, dtype: Any = None, shard: int = 0) -> Layout:
    """Axes in the order TCZYX that OME-Zarr wants, with samples stored as channels.

    Raises:
        ImageError: if the source has both channels and samples.
        ValueError: if `shard` is no multiple of `chunk`.
    """
    if {"C", "S"} <= set(source.axes):
        raise ImageError(
            f"axes {source.axes} have both channels (C) and samples (S), and OME-Zarr has room for one of them: "
            "write to .ome.tif"
        )
    return _layout(source, "TCZYX", {"S": "C"}, chunk, dtype, shard)


def tiff_layout(source: Source, chunk: int, dtype: Any = None, shard: int = 0) -> Layout:
    """Axes in the order TCZYXS, with colour stored as samples; a single sample is none, as in every TIFF.

    Raises:
        ValueError: if `shard` is no multiple of `chunk`.
    """
    colour_in_c = source.rgb and "S" not in source.axes and source.sizes.get("C") in (3, 4)
    order = "TCZYX" if source.sizes.get("S") == 1 else "TCZYXS"
    return _layout(source, order, {"C": "S"} if colour_in_c else {}, chunk, dtype, shard)


def working_chunk(chunk: int) -> int:
    """Side of the working folder's chunks: that of a tile if it divides the job's chunk, else the job's chunk.

    With chunks as large as tiles each is read once; if tiles divide the job's chunks, no two writers share one.
    """
    side = tile_side(chunk)
    return side if chunk % side == 0 else chunk


def tile_side(chunk: int) -> int:
    """A tile's side: at most 256, a multiple of 16 (TIFF 6.0, section 15), a divisor of `chunk` if one is near."""
    near = (side for side in range(256, 127, -16) if chunk % side == 0)
    return next(near, min(256, max(16, chunk // 16 * 16)))


def _layout(source: Source, order: str, renamed: Mapping[str, str], chunk: int, dtype: Any, shard: int = 0) -> Layout:
    if shard % chunk:
        raise ValueError(f"shards of {shard} pixels are not made of whole chunks of {chunk}")
    sizes = {renamed.get(axis, axis): side for axis, side in source.sizes.items()}
    axes = "".join(axis for axis in order if axis in sizes)
    colour = next((a for a in "SC" if source.rgb and sizes.get(a) in (3, 4)), "")
    kept = np.dtype(source.dtype if dtype is None else dtype).newbyteorder("=")
    return Layout(axes, tuple(sizes[a] for a in axes), kept, chunk, colour, renamed, shard)
