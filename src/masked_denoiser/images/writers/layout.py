"""Storage layout of an output: axes, shape, chunks, shards and pyramid levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, lcm
from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.planes import Plane, from_channels_first, plane_index, to_channels_first
from masked_denoiser.images.source import Source

#: A pyramid ends with the first level whose height and width are at most this.
SMALLEST_LEVEL = 256

#: Outputs of more chunks at full resolution are stored in shards, to limit the number of files.
MAX_UNSHARDED_CHUNKS = 4096

#: Minimum number of chunks along each side of a shard.
_MIN_CHUNKS_PER_SHARD_SIDE = 4


@dataclass(frozen=True)
class Level:
    """One resolution of a pyramid.

    Attributes:
        shape: in the order of the layout's axes.
        chunks: shape of a chunk, clipped to `shape`.
        shards: shape of a shard, a multiple of `chunks`; None if each chunk is a file.
        factors: full-resolution pixels per pixel along each axis.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    factors: tuple[int, ...]
    shards: tuple[int, ...] | None = None

    @property
    def files(self) -> tuple[int, ...]:
        """Shape of the block in one file, which only one writer may write at a time."""
        return self.shards or self.chunks


@dataclass(frozen=True)
class Layout:
    """A storage layout of an output.

    Attributes:
        axes: letters in stored order.
        shape: full-resolution shape in the order of `axes`.
        dtype: of a stored sample, in native byte order.
        chunk: side of a chunk in y and x; 1 along other axes, 3 along `colour` if it is joint.
        shard: side of a shard in y and x, a multiple of `chunk`; 0 for no shards. It is one chunk along other axes.
        colour: axis of red, green, blue (and alpha), or "".
        renamed: source axis to stored axis, where they differ.
        keeps_dtype: whether the file has the data type of the source, though pixels are collected in another one.
        joint_colour: whether red, green and blue are written together; otherwise each has its own chunks.
        fill_values: values that mark missing pixels, which no mean and no contrast window includes.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: int
    colour: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)
    shard: int = 0
    keeps_dtype: bool = False
    joint_colour: bool = True
    fill_values: tuple[float, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Stored axis letter to length."""
        return dict(zip(self.axes, self.shape, strict=True))

    @property
    def levels(self) -> tuple[Level, ...]:
        """Levels, full resolution first; y and x are halved, rounding up, until both are at most `SMALLEST_LEVEL`."""
        levels = [self._level(self.shape, (1,) * len(self.axes))]
        while self._longer_side(levels[-1]) > SMALLEST_LEVEL:
            levels.append(self._halved(levels[-1]))
        return tuple(levels)

    def place(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> tuple[tuple[int | slice, ...], Any]:
        """Return [channels, height, width] of a source's plane as (index, block) of the stored array.

        Raises:
            ValueError: if `pixels` have another dtype than the layout, as an assignment would cast them silently.
        """
        if pixels.dtype.newbyteorder("=") != self.dtype:
            raise ValueError(f"pixels of {pixels.dtype} for an output of {self.dtype}")
        height, width = pixels.shape[-2:]
        return self.place_of(plane, y, x, (height, width)), from_channels_first(
            pixels, self.axes, self.stored_plane(plane)
        )

    def place_of(self, plane: Plane, y: int, x: int, size: tuple[int, int]) -> tuple[int | slice, ...]:
        """Return the index in the stored array of a rectangle of this size at (y, x) of a source's plane."""
        return plane_index(self.axes, self.stored_plane(plane), slice(y, y + size[0]), slice(x, x + size[1]))

    def take(self, plane: Plane, block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return what `place_of` selects as [channels, height, width] of the source's plane."""
        return to_channels_first(block, self.axes, self.stored_plane(plane))

    def stored_plane(self, plane: Plane) -> Plane:
        """Return a plane of the source with the letters of the stored axes."""
        letters = self.renamed
        index = tuple((letters.get(axis, axis), position) for axis, position in plane.index)
        return replace(plane, index=index, channel_axis=letters.get(plane.channel_axis, plane.channel_axis))

    def _level(self, shape: tuple[int, ...], factors: tuple[int, ...]) -> Level:
        # No chunk may have two writers: alpha is written separately from RGB, and in some jobs each colour is.
        colours = 3 if self.joint_colour else 1
        sides = [self.chunk if a in "YX" else colours if a == self.colour else 1 for a in self.axes]
        chunks = tuple(min(c, s) for c, s in zip(sides, shape, strict=True))
        return Level(shape, chunks, factors, self._shards(shape, chunks) if self.shard else None)

    def _shards(self, shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a shard: whole chunks up to the side of a shard or of the level, whichever is shorter."""
        sides = zip(self.axes, shape, chunks, strict=True)
        return tuple(c * ceil(min(self.shard, side) / c) if a in "YX" else c for a, side, c in sides)

    def _longer_side(self, level: Level) -> int:
        return max(level.shape[self.axes.index("Y")], level.shape[self.axes.index("X")])

    def _halved(self, level: Level) -> Level:
        # A side of 1 is not halved, so its factor does not grow.
        steps = [2 if a in "YX" and side > 1 else 1 for a, side in zip(self.axes, level.shape, strict=True)]
        shape = tuple(-(-side // step) for side, step in zip(level.shape, steps, strict=True))
        return self._level(shape, tuple(f * step for f, step in zip(level.factors, steps, strict=True)))


def same_layout(source: Source, dtype: Any = None) -> Layout:
    """Return a layout with the source's own axes, in one chunk."""
    return _layout(source, source.axes, {}, max(source.size_yx), dtype)


def shard_side(size_yx: tuple[int, int], tile: int, chunk: int, planes: int = 1) -> int:
    """Return the side of the shards of an output in pixels, 0 for no shards.

    Args:
        size_yx: height and width of the image.
        tile: side of the squares that are written.
        chunk: side of a chunk.
        planes: number of stored planes.

    Returns:
        The smallest common multiple of `tile` and `chunk` of at least 4 chunks, if there are more than
        `MAX_UNSHARDED_CHUNKS` chunks and a shard would hold several; else 0.
    """
    chunks = planes * ceil(size_yx[0] / chunk) * ceil(size_yx[1] / chunk)
    if chunks <= MAX_UNSHARDED_CHUNKS or max(size_yx) <= chunk:
        return 0
    step = lcm(tile, chunk)
    return step * ceil(_MIN_CHUNKS_PER_SHARD_SIDE * chunk / step)


def zarr_layout(source: Source, chunk: int, dtype: Any = None, shard: int = 0) -> Layout:
    """Return a layout with axes in the order TCZYX of OME-Zarr and samples stored as channels.

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
    """Return a layout with axes in the order TCZYXS and colour stored as samples; an S axis of length 1 is dropped.

    Raises:
        ValueError: if `shard` is no multiple of `chunk`.
    """
    colour_in_c = source.rgb and "S" not in source.axes and source.sizes.get("C") in (3, 4)
    order = "TCZYX" if source.sizes.get("S") == 1 else "TCZYXS"
    return _layout(source, order, {"C": "S"} if colour_in_c else {}, chunk, dtype, shard)


def volume_layout(source: Source, chunk: int, dtype: Any, shard: int, kind: str, *, keeps_dtype: bool) -> Layout:
    """Return a layout with axes in the order TZYX, and RGB as samples, of formats that have no channels.

    Args:
        source: the image.
        chunk: side of a chunk.
        dtype: in which pixels are collected.
        shard: side of a shard; 0 for no shards.
        kind: name of the format, for messages.
        keeps_dtype: see `Layout`.

    Raises:
        ImageError: if the source has channels, or an alpha channel.
        ValueError: if `shard` is no multiple of `chunk`.
    """
    channels = [a for a in "CS" if source.sizes.get(a, 1) > 1]
    colour = "S" if "S" in channels else "C"
    if channels and not (source.rgb and channels == [colour] and source.sizes[colour] == 3):
        raise ImageError(
            f"{kind} has no channels, and the image has {source.sizes[colour]}; write to .ome.tif or .ome.zarr, or "
            f"select one with --select {colour}=0"
        )
    order = "TZYXS" if channels else "TZYX"
    layout = _layout(source, order, {"C": "S"} if channels == ["C"] else {}, chunk, dtype, shard)
    return replace(layout, keeps_dtype=keeps_dtype)


def working_chunk(chunk: int) -> int:
    """Return the chunk side in a TIFF's working folder: the tile side if it divides the job's chunk, else that chunk.

    With chunks as large as tiles, each is read once; if tiles divide the job's chunks, no two writers share one.
    """
    side = tile_side(chunk)
    return side if chunk % side == 0 else chunk


def tile_side(chunk: int) -> int:
    """Return a TIFF tile side: a multiple of 16 (TIFF 6.0, section 15) up to 256, if possible a divisor of `chunk`."""
    divisors = (side for side in range(256, 127, -16) if chunk % side == 0)
    return next(divisors, min(256, max(16, chunk // 16 * 16)))


def _layout(source: Source, order: str, renamed: Mapping[str, str], chunk: int, dtype: Any, shard: int = 0) -> Layout:
    if shard % chunk:
        raise ValueError(f"shards of {shard} pixels do not consist of whole chunks of {chunk}")
    sizes = {renamed.get(axis, axis): side for axis, side in source.sizes.items()}
    axes = "".join(axis for axis in order if axis in sizes)
    colour = next((a for a in "SC" if source.rgb and sizes.get(a) in (3, 4)), "")
    stored = np.dtype(source.dtype if dtype is None else dtype).newbyteorder("=")
    shape = tuple(sizes[a] for a in axes)
    fill_values = tuple(float(stored.type(v)) for v in source.fill_values)  # -99.9 is another number in float32
    return Layout(axes, shape, stored, chunk, colour, renamed, shard, fill_values=fill_values)
