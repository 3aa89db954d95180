"""Reader of Zeiss CZI by the library czifile; each scene is an image, whose tiles are decoded as they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.images.axes import UNKNOWN
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.chunk_cache import CACHE_BYTES, ChunkCache, ChunkedArray
from masked_denoiser.images.readers.library_errors import wrap_errors
from masked_denoiser.images.readers.microscopes.czi_library import CziSegments
from masked_denoiser.images.readers.microscopes.czi_metadata import CziMetadata, read_metadata
from masked_denoiser.images.readers.microscopes.czi_tiles import Tile, decode_tile, tile_of
from masked_denoiser.images.readers.open_files import close_all, closed_on_error
from masked_denoiser.images.readers.registry import one_part
from masked_denoiser.images.source import AXES
from masked_denoiser.images.validation.size_limits import check_decoded_size

#: Side in pixels of the blocks of scenes whose tiles overlap or have gaps.
_BLOCK = 1024
#: Order of the axes of a scene; the others that Zeiss defines (rotation, illumination, block, phase, view) go first.
_ORDER = "VHIRBTCZ"
#: Share of the area of a scene that the tiles of a lower resolution must have.
_COVERED = 0.9


@dataclass(frozen=True)
class _Level:
    """The tiles of a scene at a resolution.

    Attributes:
        tiles: in the order in which later ones cover earlier ones.
        outer: axis letter to the range (first, length) of its positions, for axes longer than 1.
        corner: row and column of the rectangle around the tiles at full resolution.
        sides: height and width of the level in its own pixels.
        ratio: pixels of full resolution for each of its pixels.
    """

    tiles: tuple[Tile, ...]
    outer: Mapping[str, tuple[int, int]]
    corner: tuple[int, int]
    sides: tuple[int, int]
    ratio: int = 1

    def plane_of(self, tile: Tile) -> tuple[int, ...]:
        """Return the position of a tile along the outer axes."""
        return tuple(tile.starts.get(axis, 0) - first for axis, (first, _) in self.outer.items())

    def offset_of(self, tile: Tile) -> tuple[int, int]:
        """Return row and column of a tile in the level; lower resolutions may lie between pixels."""
        return (
            round((tile.row - self.corner[0]) / self.ratio),
            round((tile.column - self.corner[1]) / self.ratio),
        )


def read(path: Path, part: str = "") -> ReaderResult:
    """Open a scene.

    Args:
        path: of the file.
        part: name or number of the scene; "" for the only one.

    Raises:
        ImageError: if the file is damaged, has no such scene, or a compression that is not supported.
    """
    with wrap_errors(path, "a CZI"), closed_on_error(CziSegments(path)) as file:
        tiles, metadata = _contents(path, file)
        scenes = _by_scene(tiles)
        names = metadata.scene_names(list(scenes))
        chosen = list(scenes)[one_part(path, part, names)]
        return _describe(path, file, _levels(scenes[chosen]), metadata)


def list_parts(path: Path) -> list[str]:
    """Return the names of the scenes.

    Raises:
        ImageError: if the file is damaged.
    """
    with wrap_errors(path, "a CZI"), CziSegments(path) as file:
        tiles, metadata = _contents(path, file)
        return metadata.scene_names(list(_by_scene(tiles)))


def _contents(path: Path, file: CziSegments) -> tuple[list[Tile], CziMetadata]:
    tiles = [tile for block in file.sub_blocks() if (tile := tile_of(block)) is not None]
    if all(tile.ratio > 1 for tile in tiles):
        raise ValueError("it has no tiles at full resolution")
    return tiles, read_metadata(file, str(path))


def _by_scene(tiles: Sequence[Tile]) -> dict[int, list[Tile]]:
    """Return the tiles of each scene by its number in the file; tiles of several scenes are omitted."""
    full = [tile for tile in tiles if tile.ratio == 1]
    scenes: dict[int, list[Tile]] = {number: [] for number in sorted({tile.starts.get("S", 0) for tile in full})}
    numbered = any("S" in tile.starts for tile in full)
    for tile in tiles:
        number = tile.starts.get("S", None if numbered else 0)
        if number in scenes:
            scenes[number].append(tile)
    return scenes


def _levels(tiles: Sequence[Tile]) -> list[_Level]:
    """Return the levels of a scene, full resolution first."""
    full = _full_level([tile for tile in tiles if tile.ratio == 1])
    ratios = sorted({tile.ratio for tile in tiles} - {1})
    lower = [_lower_level(full, [tile for tile in tiles if tile.ratio == ratio], ratio) for ratio in ratios]
    return [full, *(level for level in lower if level is not None)]


def _lower_level(full: _Level, tiles: Sequence[Tile], ratio: int) -> _Level | None:
    """Return a level of lower resolution; None if it does not cover the scene."""
    height, width = (ceil(side / ratio) for side in full.sides)
    level = replace(full, tiles=_in_order(tiles), sides=(height, width), ratio=ratio)
    kinds = {(tile.dtype, tile.samples) for tile in (*tiles, full.tiles[0])}
    planes = {full.plane_of(tile) for tile in full.tiles}
    area, full_area = (sum(tile.height * tile.width for tile in one.tiles) for one in (level, full))
    needed = min(full_area, prod(full.sides) * len(planes))
    covers = area * ratio**2 >= _COVERED * needed
    return level if covers and len(kinds) == 1 and {full.plane_of(tile) for tile in tiles} == planes else None


def _in_order(tiles: Sequence[Tile]) -> tuple[Tile, ...]:
    return tuple(sorted(tiles, key=lambda tile: tile.order))


def _full_level(tiles: Sequence[Tile]) -> _Level:
    """Return full resolution.

    Raises:
        ValueError: if their pixels are of different types, which czifile does not convert.
    """
    if len({(tile.dtype, tile.samples) for tile in tiles}) > 1:
        raise ValueError("its channels have different types of pixels")
    outer = {}
    for axis in _ORDER:
        positions = [tile.starts.get(axis, 0) for tile in tiles]
        first, length = min(positions), max(positions) - min(positions) + 1
        if length > 1:
            outer[axis] = (first, length)
    top, left = min(tile.row for tile in tiles), min(tile.column for tile in tiles)
    height = max(tile.row + tile.height for tile in tiles) - top
    width = max(tile.column + tile.width for tile in tiles) - left
    return _Level(_in_order(tiles), outer, (top, left), (height, width))


def _describe(path: Path, file: CziSegments, levels: Sequence[_Level], metadata: CziMetadata) -> ReaderResult:
    full, first = levels[0], levels[0].tiles[0]
    samples = (first.samples,) if first.samples > 1 else ()
    lengths = tuple(length for _, length in full.outer.values())
    check_pixels((*lengths, *full.sides, *samples), first.dtype, str(path))
    for shape in {(tile.height, tile.width, tile.samples) for level in levels for tile in level.tiles}:
        check_decoded_size(shape, first.dtype.itemsize, "a tile", str(path))
    arrays = [_array(level, lengths, samples) for level in levels]
    axes = "".join(a if a in AXES else UNKNOWN for a in full.outer) + "YX" + ("S" if samples else "")
    steps = [_steps_of(metadata, axes, full, level) for level in levels]

    return ReaderResult(
        tuple(arrays),
        axes,
        rgb=bool(samples),
        name=path.name,
        path=path,
        pixel_sizes=tuple(steps),
        units={a: "second" if a == "T" else "micrometer" for a in steps[0]},
        channel_names=metadata.channel_names,
        channel_colours=metadata.channel_colours,
        notes=_gap_note(full, lengths),
        closer=close_all(*arrays, file),
    )


def _steps_of(metadata: CziMetadata, axes: str, full: _Level, level: _Level) -> dict[str, float]:
    """Return the pixel sizes of a level."""
    ratios = {axis: side / own for axis, side, own in zip("YX", full.sides, level.sides, strict=True)}
    return {axis: step * ratios.get(axis, 1.0) for axis, step in metadata.steps.items() if axis in axes}


def _gap_note(level: _Level, lengths: tuple[int, ...]) -> tuple[str, ...]:
    """Return a note if the tiles cannot cover the rectangle around them."""
    covered = sum(tile.height * tile.width for tile in level.tiles)
    gaps = covered < prod(level.sides) * prod(lengths)
    return ("its tiles have gaps between them, in which pixels are 0",) if gaps else ()


def _array(level: _Level, lengths: tuple[int, ...], samples: tuple[int, ...]) -> ChunkedArray:
    planes = _by_plane(level)
    block = _block_sides(level)
    dtype, sides_of_tiles = level.tiles[0].dtype, {(tile.height, tile.width) for tile in level.tiles}
    # Blocks that are tiles are cached by the array; of others each may need several tiles, and each tile several times.
    cache = ChunkCache(0 if sides_of_tiles == {block} else CACHE_BYTES // 4)

    def fetch(index: tuple[int, ...]) -> np.ndarray[Any, Any]:
        at, corner = index[: len(lengths)], [i * side for i, side in zip(index[len(lengths) :], block, strict=False)]
        sides = tuple(min(b, s - c) for b, s, c in zip(block, level.sides, corner, strict=True))
        out = np.zeros((*sides, *samples), dtype)
        for number in _overlapping(planes.get(at), corner, sides):
            _place(level, number, corner, out, cache)
        return out.reshape(*(1,) * len(lengths), *out.shape)

    chunks = (*(1,) * len(lengths), *block, *samples)
    return ChunkedArray((*lengths, *level.sides, *samples), dtype, chunks, fetch)


def _by_plane(level: _Level) -> dict[tuple[int, ...], np.ndarray[Any, Any]]:
    """Return rows of number, top, left, bottom and right of the tiles of each plane."""
    planes: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for number, tile in enumerate(level.tiles):
        top, left = level.offset_of(tile)
        box = (number, top, left, top + tile.height, left + tile.width)
        planes.setdefault(level.plane_of(tile), []).append(box)
    return {plane: np.array(boxes, np.int64) for plane, boxes in planes.items()}


def _overlapping(boxes: np.ndarray[Any, Any] | None, corner: Sequence[int], sides: Sequence[int]) -> list[int]:
    """Return the numbers of the tiles of a plane that overlap a block, in their order; a slide has many thousands."""
    if boxes is None:
        return []
    starts, stops = boxes[:, 1:3], boxes[:, 3:5]
    overlap = (starts < np.add(corner, sides)) & (stops > np.array(corner))
    numbers: list[int] = boxes[overlap.all(axis=1), 0].tolist()
    return numbers


def _block_sides(level: _Level) -> tuple[int, int]:
    """Return the sides of a block: those of the tiles where these lie on a grid, so that each is decoded once."""
    sides = {(tile.height, tile.width) for tile in level.tiles}
    if len(sides) == 1:
        height, width = next(iter(sides))
        offsets = [level.offset_of(tile) for tile in level.tiles]
        if all(row % height == 0 and column % width == 0 for row, column in offsets):
            return height, width
    return min(_BLOCK, level.sides[0]), min(_BLOCK, level.sides[1])


def _place(level: _Level, number: int, corner: Sequence[int], out: np.ndarray[Any, Any], cache: ChunkCache) -> None:
    """Copy the part of a tile that lies in a block, which it overlaps."""
    tile = level.tiles[number]
    top, left = (at - start for at, start in zip(level.offset_of(tile), corner, strict=True))
    low, high = max(0, top), min(out.shape[0], top + tile.height)
    start, stop = max(0, left), min(out.shape[1], left + tile.width)
    pixels = cache.get((number,), lambda _: decode_tile(tile))
    out[low:high, start:stop] = pixels[low - top : high - top, start - left : stop - left]
