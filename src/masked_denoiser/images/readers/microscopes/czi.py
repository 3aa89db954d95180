"""Reader of Zeiss CZI by the library czifile; each scene is an image, whose tiles are decoded as they are read.

Lower resolutions in a file are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from czifile import CziFile, Segment, SegmentNotFoundError, SubBlockDirectorySegment

from masked_denoiser.images.axes import UNKNOWN
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.chunk_cache import CACHE_BYTES, ChunkCache, ChunkedArray
from masked_denoiser.images.readers.library_errors import wrap_errors
from masked_denoiser.images.readers.microscopes.czi_metadata import CziMetadata, read_metadata
from masked_denoiser.images.readers.microscopes.czi_tiles import Tile, decode_tile, tile_of
from masked_denoiser.images.readers.registry import one_part
from masked_denoiser.images.source import AXES
from masked_denoiser.images.validation.size_limits import check_decoded_size

#: Side in pixels of the blocks of scenes whose tiles overlap or have gaps.
_BLOCK = 1024
#: Order of the axes of a scene; the others that Zeiss defines (rotation, illumination, block, phase, view) go first.
_ORDER = "VHIRBTCZ"


@dataclass(frozen=True)
class _Scene:
    """The tiles of a scene at full resolution.

    Attributes:
        tiles: in the order in which later ones cover earlier ones.
        outer: axis letter to the range (first, length) of its positions, for axes longer than 1.
        corner, sides: of the rectangle around the tiles, as (row, column) and (height, width) in pixels.
    """

    tiles: tuple[Tile, ...]
    outer: Mapping[str, tuple[int, int]]
    corner: tuple[int, int]
    sides: tuple[int, int]


def read(path: Path, part: str = "") -> ReaderResult:
    """Open a scene.

    Args:
        path: of the file.
        part: name or number of the scene; "" for the only one.

    Raises:
        ImageError: if the file is damaged, has no such scene, or a compression that is not supported.
    """
    with wrap_errors(path, "a CZI", SegmentNotFoundError):
        file = CziFile(str(path), multifile=False)
        try:
            tiles, metadata = _contents(path, file)
            scenes = _by_scene(tiles)
            names = metadata.scene_names(list(scenes))
            chosen = list(scenes)[one_part(path, part, names)]
            return _describe(path, file, _scene(scenes[chosen]), metadata, _notes(file, tiles))
        except BaseException:
            file.close()
            raise


def list_parts(path: Path) -> list[str]:
    """Return the names of the scenes.

    Raises:
        ImageError: if the file is damaged.
    """
    with wrap_errors(path, "a CZI", SegmentNotFoundError), _opened(path) as file:
        tiles, metadata = _contents(path, file)
        return metadata.scene_names(list(_by_scene(tiles)))


@contextmanager
def _opened(path: Path) -> Iterator[CziFile]:
    file = CziFile(str(path), multifile=False)
    try:
        yield file
    finally:
        file.close()


def _contents(path: Path, file: CziFile) -> tuple[list[Tile], CziMetadata]:
    file._fh.lock = True  # lets any thread read
    # Without a directory czifile would search the file for segments, in a damaged one without end.
    if Segment(file._fh, file.header.directory_position).sid != SubBlockDirectorySegment.SID:
        raise ValueError("its directory of tiles is missing")
    tiles = [tile for entry in file.subblock_directory if (tile := tile_of(entry)) is not None]
    if not tiles:
        raise ValueError("it has no tiles at full resolution")
    return tiles, read_metadata(file, str(path))


def _notes(file: CziFile, tiles: Sequence[Tile]) -> tuple[str, ...]:
    lower = len(file.subblock_directory) - len(tiles)
    return (f"{lower} of its tiles are of lower resolution and are not read",) if lower else ()


def _by_scene(tiles: Sequence[Tile]) -> dict[int, list[Tile]]:
    """Return the tiles of each scene by its number in the file."""
    scenes: dict[int, list[Tile]] = {}
    for tile in sorted(tiles, key=lambda tile: tile.starts.get("S", 0)):
        scenes.setdefault(tile.starts.get("S", 0), []).append(tile)
    return scenes


def _scene(tiles: Sequence[Tile]) -> _Scene:
    """Return a scene of its tiles.

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
    return _Scene(tuple(sorted(tiles, key=lambda tile: tile.order)), outer, (top, left), (height, width))


def _describe(path: Path, file: CziFile, scene: _Scene, metadata: CziMetadata, notes: tuple[str, ...]) -> ReaderResult:
    first = scene.tiles[0]
    samples = (first.samples,) if first.samples > 1 else ()
    lengths = tuple(length for _, length in scene.outer.values())
    check_pixels((*lengths, *scene.sides, *samples), first.dtype, str(path))
    for shape in {(tile.height, tile.width, tile.samples) for tile in scene.tiles}:
        check_decoded_size(shape, first.dtype.itemsize, "a tile", str(path))
    array = _array(scene, lengths, samples)
    axes = "".join(a if a in AXES else UNKNOWN for a in scene.outer) + "YX" + ("S" if samples else "")
    steps = {a: step for a, step in metadata.steps.items() if a in axes}

    def close() -> None:
        array.close()
        file.close()

    return ReaderResult(
        (array,),
        axes,
        rgb=bool(samples),
        name=path.name,
        path=path,
        pixel_sizes=(steps,),
        units={a: "second" if a == "T" else "micrometer" for a in steps},
        channel_names=metadata.channel_names,
        channel_colours=metadata.channel_colours,
        notes=(*notes, *_gap_note(scene, lengths)),
        closer=close,
    )


def _gap_note(scene: _Scene, lengths: tuple[int, ...]) -> tuple[str, ...]:
    """Return a note if the tiles cannot cover the rectangle around them."""
    covered = sum(tile.height * tile.width for tile in scene.tiles)
    gaps = covered < prod(scene.sides) * prod(lengths)
    return ("its tiles have gaps between them, in which pixels are 0",) if gaps else ()


def _array(scene: _Scene, lengths: tuple[int, ...], samples: tuple[int, ...]) -> ChunkedArray:
    planes = _by_plane(scene)
    block = _block_sides(scene)
    cache = ChunkCache(CACHE_BYTES // 2)
    dtype = scene.tiles[0].dtype

    def fetch(index: tuple[int, ...]) -> np.ndarray[Any, Any]:
        at, corner = index[: len(lengths)], [i * side for i, side in zip(index[len(lengths) :], block, strict=False)]
        sides = tuple(min(b, s - c) for b, s, c in zip(block, scene.sides, corner, strict=True))
        out = np.zeros((*sides, *samples), dtype)
        for number in planes.get(at, ()):
            _place(scene, number, corner, out, cache)
        return out.reshape(*(1,) * len(lengths), *out.shape)

    chunks = (*(1,) * len(lengths), *block, *samples)
    return ChunkedArray((*lengths, *scene.sides, *samples), dtype, chunks, fetch)


def _by_plane(scene: _Scene) -> dict[tuple[int, ...], list[int]]:
    """Return the numbers of the tiles of each plane."""
    planes: dict[tuple[int, ...], list[int]] = {}
    for number, tile in enumerate(scene.tiles):
        at = tuple(tile.starts.get(axis, 0) - first for axis, (first, _) in scene.outer.items())
        planes.setdefault(at, []).append(number)
    return planes


def _block_sides(scene: _Scene) -> tuple[int, int]:
    """Return the sides of a block: those of the tiles where these lie on a grid, so that each is decoded once."""
    sides = {(tile.height, tile.width) for tile in scene.tiles}
    if len(sides) == 1:
        height, width = next(iter(sides))
        offsets = [(tile.row - scene.corner[0], tile.column - scene.corner[1]) for tile in scene.tiles]
        if all(row % height == 0 and column % width == 0 for row, column in offsets):
            return height, width
    return min(_BLOCK, scene.sides[0]), min(_BLOCK, scene.sides[1])


def _place(scene: _Scene, number: int, corner: Sequence[int], out: np.ndarray[Any, Any], cache: ChunkCache) -> None:
    """Copy the part of a tile that lies in a block."""
    tile = scene.tiles[number]
    top, left = tile.row - scene.corner[0] - corner[0], tile.column - scene.corner[1] - corner[1]
    low, high = max(0, top), min(out.shape[0], top + tile.height)
    start, stop = max(0, left), min(out.shape[1], left + tile.width)
    if low < high and start < stop:
        pixels = cache.get((number,), lambda _: decode_tile(tile))
        out[low:high, start:stop] = pixels[low - top : high - top, start - left : stop - left]
