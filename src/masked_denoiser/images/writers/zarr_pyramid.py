"""Zarr pyramids on disk: atomic creation, and writing in any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from zarr.errors import BaseZarrError

from masked_denoiser.atomic_file import remove_leftovers, temporary_path
from masked_denoiser.errors import ImageError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import DECODER_ERRORS
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress
from masked_denoiser.images.writers.downsample import build_pyramid, regions
from masked_denoiser.images.writers.fsync import chunk_paths, sync_chunks, sync_file, sync_tree
from masked_denoiser.images.writers.layout import Layout, Level
from masked_denoiser.images.zarr_files import is_partial_chunk


class ZarrFolder:
    """An open zarr group (format 2 or 3) with the arrays "0", "1", ... of a pyramid, one per level of a layout.

    Attributes:
        path: the folder of the zarr group.
        layout: axes, shapes and chunks of the arrays.
        group: the open group, writable.
        levels: its arrays, full resolution first.
    """

    def __init__(self, path: Path, layout: Layout, zarr_format: Literal[2, 3] = 3) -> None:
        """Open an existing folder for writing.

        Raises:
            ImageError: if the folder is not a zarr group of this format, or its arrays do not match `layout`.
        """
        self.path, self.layout = path, layout
        self._synced: set[Path] = set()
        self.group = _open_group(path, zarr_format)
        self.levels: Sequence[Any] = [_open_level(self.group, path, i, lv) for i, lv in enumerate(layout.levels)]
        _check_dtype(path, self.levels[0].dtype, layout.dtype)

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Write [channels, height, width] at (y, x) of the source's `plane` to the first level, and flush it to disk.

        Writing part of a file (chunk or shard) reads it and writes it again, which is correct but slower.
        """
        key, block = self.layout.place(plane, y, x, pixels)
        self.levels[0][key] = block
        self._sync(0, key)

    def build_pyramid(self, progress: ProgressCallback = no_progress) -> None:
        """Fill the lower levels from the first and flush them to disk; see `Sink.finish`."""
        build_pyramid(self.levels, self.layout.axes, progress, self._sync, self.layout.fill_values)

    def set_attributes(self, attributes: dict[str, Any]) -> None:
        """Update attributes of the group and flush them to disk."""
        self.group.attrs.update(attributes)
        for name in ("zarr.json", ".zattrs"):
            sync_file(self.path / name)

    def remove_leftovers(self) -> None:
        """Delete partially written chunks of killed processes.

        This is safe only while no process writes, as chunks being written look the same.
        """
        for leftover in self.path.rglob("*.partial"):
            if is_partial_chunk(leftover.name) and leftover.is_file():
                leftover.unlink()

    def _sync(self, number: int, key: tuple[int | slice, ...]) -> None:
        sync_chunks(self.levels[number], self.path / str(number), key, self._synced)


class FolderSink(Sink):
    """Base class of sinks that collect pixels in a zarr folder, where they can be read again."""

    def __init__(self, folder: ZarrFolder) -> None:
        self._folder = folder

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Write [channels, height, width] at (y, x) of `plane`."""
        self._folder.write(plane, y, x, pixels)

    def read(self, plane: Plane, y: int, x: int, size: tuple[int, int]) -> np.ndarray[Any, Any]:
        """Return what was written at (y, x) of `plane`, as [channels, *size].

        Raises:
            OSError, ValueError, RuntimeError: or another error of the decoder, if what is stored there is damaged.
        """
        layout, pixels = self._folder.layout, self._folder.levels[0]
        return layout.take(plane, np.asarray(pixels[layout.place_of(plane, y, x, size)]))

    def delete(self, plane: Plane, y: int, x: int, size: tuple[int, int]) -> None:
        """Delete the files under a rectangle, because they are damaged and cannot be changed in place."""
        key = self._folder.layout.place_of(plane, y, x, size)
        for path in chunk_paths(self._folder.levels[0], self._folder.path / "0", key):
            path.unlink(missing_ok=True)

    def reopen(self) -> None:
        """Prepare for further writes of a resumed job: delete files of lower levels that cannot be decoded.

        Lower levels are provisional until `finish`, and not flushed to disk.
        """
        for number, level in enumerate(self._folder.levels[1:], start=1):
            for region in regions(level.shape, level.shards or level.chunks):
                try:
                    level[region]
                except DECODER_ERRORS:
                    for path in chunk_paths(level, self._folder.path / str(number), region):
                        path.unlink(missing_ok=True)

    def close(self) -> None:
        """Do nothing: no file is open."""


def make_folder(path: Path, make: Callable[[Path], object]) -> None:
    """Create a folder atomically: call `make` with a temporary path, then rename it to `path`.

    The folder, its contents and its name are on disk afterwards.
    """
    remove_leftovers(path)
    temporary = temporary_path(path, "creating")
    make(temporary)
    sync_tree(temporary)
    temporary.rename(path)
    sync_file(path)


def _open_group(path: Path, zarr_format: Literal[2, 3]) -> zarr.Group:
    try:
        return zarr.open_group(path, mode="r+", zarr_format=zarr_format)
    except (FileNotFoundError, NotADirectoryError, BaseZarrError) as error:
        raise ImageError(f"{path} is not an output that can be resumed: overwrite it or write elsewhere") from error


def _open_level(group: zarr.Group, path: Path, number: int, level: Level) -> Any:
    array = group.get(str(number))
    actual = (array.shape, array.chunks, array.shards) if isinstance(array, zarr.Array) else None
    expected = (level.shape, level.chunks, level.shards)
    if actual != expected:
        raise ImageError(
            f"{path} cannot be resumed: its level {number} has (shape, chunks, shards) {actual}, expected {expected}; "
            "overwrite it or write elsewhere"
        )
    return array


def _check_dtype(path: Path, actual: np.dtype[Any], expected: np.dtype[Any]) -> None:
    if actual != expected:
        raise ImageError(
            f"{path} cannot be resumed: it holds {actual}, expected {expected}; overwrite it or write elsewhere"
        )
