"""Fingerprint of an image, by which a job notices that its input has changed.

Pixels are sampled all over the image, and up to some thousand of its files are looked at. Times and inodes are kept
apart, since a copy of an image has others.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.images.zarr_files import is_pixel_file

#: Number of planes, and rows and columns of squares in each of them, whose pixels are sampled.
_PLANES, _GRID = 5, 4
#: The same for an image on a network, of which each square may be a request.
_REMOTE_PLANES, _REMOTE_GRID = 3, 2
#: Side of a sampled square in pixels.
_SIDE = 16
#: Most files, and most folders of each depth, that are looked at.
_MAX_FILES, _MAX_FOLDERS = 4096, 256
_ALL_FILES = 2**31

T = TypeVar("T")


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of an image, the same for a copy of it.

    Attributes:
        files: CRC-32 of names and sizes of the files of its pixels; 0 for an array, and for an image on a network.
        pixels: CRC-32 of sampled pixels.
    """

    files: int
    pixels: int


def take_fingerprint(source: Source, planes: Sequence[Plane]) -> Fingerprint:
    """Return the fingerprint of an image with these planes.

    Raises:
        ImageError: if a sampled pixel cannot be read.
    """
    sizes = [f"{name} {status.st_size}" for name, status in _sampled_files(source)]
    pixels = 0
    for square in _sampled_squares(source, planes):
        pixels = checksum(square, pixels)
    return Fingerprint(zlib.crc32("\n".join(sizes).encode()) if sizes else 0, pixels)


def file_times(source: Source) -> int:
    """Return a CRC-32 of the times and inodes of the files of an image; 0 if it has none.

    They tell that pixels may have changed, but not that they have. The time of the last status change is one of them,
    because programs can set the modification time.
    """
    times = [f"{s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}" for _, s in _sampled_files(source)]
    return zlib.crc32("\n".join(times).encode()) if times else 0


def changed_at(source: Source) -> float:
    """Return when a file of an image was changed or put there last, in seconds since 1970; 0 if it has none.

    Unlike `file_times` it looks at all files of a zarr, of which there may be many.
    """
    return max((max(s.st_mtime, s.st_ctime) for _, s in _sampled_files(source, _ALL_FILES)), default=0.0)


def checksum(pixels: np.ndarray[Any, Any], start: int = 0) -> int:
    """Return the CRC-32 of pixels in C order and little-endian, continued from that of earlier pixels."""
    little_endian = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return zlib.crc32(little_endian.data if little_endian.size else b"", start)


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` items, evenly spaced, with the first and the last one."""
    if len(items) <= count:
        return list(items)
    if count == 1:
        return [items[0]]
    return [items[i * (len(items) - 1) // (count - 1)] for i in range(count)]


def _sampled_squares(source: Source, planes: Sequence[Plane]) -> Iterator[np.ndarray[Any, Any]]:
    count, grid = (_REMOTE_PLANES, _REMOTE_GRID) if source.url else (_PLANES, _GRID)
    for plane in evenly_spaced(planes, count):
        for ys, xs in product(*(_squares(side, grid) for side in source.size_yx)):
            yield source.read(plane, ys, xs)


def _squares(side: int, grid: int) -> list[slice]:
    """Return the spans of sampled squares along an axis, each in the middle of its part."""
    starts = {max(0, min(side - _SIDE, (2 * i + 1) * side // (2 * grid) - _SIDE // 2)) for i in range(grid)}
    return [slice(start, min(start + _SIDE, side)) for start in sorted(starts)]


def _sampled_files(source: Source, most: int = _MAX_FILES) -> Iterator[tuple[str, os.stat_result]]:
    """Yield names, relative to the image, and status of files that hold pixels of the finest level."""
    for path in source.level_paths[:1] or source.inputs:
        if path.is_dir():
            yield from _files_in(path, most)
        elif path.is_file():
            yield "", path.stat()


def _files_in(folder: Path, most: int) -> Iterator[tuple[str, os.stat_result]]:
    folders = [folder]
    left = most
    while folders and left:
        entries = [entry for one in folders for entry in _sorted_entries(one)]
        files = evenly_spaced([Path(e.path) for e in entries if e.is_file() and is_pixel_file(e.name)], left)
        left -= len(files)
        for file in files:
            with suppress(FileNotFoundError):  # as it was just replaced
                yield file.relative_to(folder).as_posix(), file.stat()
        folders = evenly_spaced([Path(entry.path) for entry in entries if entry.is_dir()], max(most, _MAX_FOLDERS))


def _sorted_entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)
