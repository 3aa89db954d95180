"""Zarr folder: the arrays of a pyramid on disk, made whole or not at all, filled in any order."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from zarr.errors import BaseZarrError

from masked_denoiser.errors import ImageError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.writers.base import ProgressCallback, no_progress
from masked_denoiser.images.writers.downsample import build_pyramid
from masked_denoiser.images.writers.fsync import sync_chunks, sync_file, sync_tree
from masked_denoiser.images.writers.layout import Layout, Level


class ZarrFolder:
    """The open arrays "0", "1", ... of a pyramid, one of each level of a layout, in zarr format 2 or 3.

    Attributes:
        path: the folder of the zarr group.
        layout: axes, shapes and chunks that the arrays agree with.
        group: the open group, writable.
        levels: its arrays, full resolution first.
    """

    def __init__(self, path: Path, layout: Layout, zarr_format: Literal[2, 3] = 3) -> None:
        """Opens an existing folder for writing.

        Raises:
            ImageError: if the folder is no zarr group of that format, or its arrays do not fit `layout`.
        """
        self.path, self.layout = path, layout
        self._known: set[Path] = set()
        self.group = _open_group(path, zarr_format)
        self.levels: Sequence[Any] = [_open_level(self.group, path, i, lv) for i, lv in enumerate(layout.levels)]
        _check_dtype(path, self.levels[0].dtype, layout.dtype)

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Puts [channels, height, width] at (y, x) of the source's `plane` into the first level, and onto the disk.

        Less than a whole file of it, chunk or shard, is read, changed and written again: correct, and slower.
        """
        key, block = self.layout.place(plane, y, x, pixels)
        self.levels[0][key] = block
        self._sync(0, key)

    def build_pyramid(self, follow: ProgressCallback = no_progress) -> None:
        """Fills the lower levels from the first, and sees to it that they are on the disk; see `Sink.finish`."""
        build_pyramid(self.levels, self.layout.axes, follow, self._sync)

    def set_attributes(self, attributes: dict[str, Any]) -> None:
        """Changes attributes of the group, on the disk, too."""
        self.group.attrs.update(attributes)
        for name in ("zarr.json", ".zattrs"):
            sync_file(self.path / name)

    def remove_strays(self) -> None:
        """Deletes what a killed process left of chunks in writing.

        Only safe when nobody writes: another process's chunks look the same until they are done.
        """
        for stray in self.path.rglob("*.partial"):  # LocalStore writes <key>.<hex>.partial, then renames it
            stray.unlink()

    def _sync(self, number: int, key: tuple[int | slice, ...]) -> None:
        sync_chunks(self.levels[number], self.path / str(number), key, self._known)


def make_folder(path: Path, make: Callable[[Path], object]) -> None:
    """Runs `make` under a temporary name and renames: a kill in between leaves no half-made folder at `path`.

    What was made, and its name, are on the disk afterwards.
    """
    making = path.with_name(f"{path.name}.creating")
    if making.exists():
        shutil.rmtree(making)
    make(making)
    sync_tree(making)
    making.rename(path)
    sync_file(path)


def _open_group(path: Path, zarr_format: Literal[2, 3]) -> zarr.Group:
    try:
        return zarr.open_group(path, mode="r+", zarr_format=zarr_format)
    except (FileNotFoundError, NotADirectoryError, BaseZarrError) as error:
        raise ImageError(f"{path} is no output that could be resumed: overwrite it or write elsewhere") from error


def _open_level(group: zarr.Group, path: Path, number: int, level: Level) -> Any:
    array = group.get(str(number))
    found = (array.shape, array.chunks, array.shards) if isinstance(array, zarr.Array) else None
    wanted = (level.shape, level.chunks, level.shards)
    if found != wanted:
        raise ImageError(
            f"{path} cannot be resumed: its level {number} has (shape, chunks, shards) {found} where {wanted} are "
            "wanted; overwrite it or write elsewhere"
        )
    return array


def _check_dtype(path: Path, found: np.dtype[Any], wanted: np.dtype[Any]) -> None:
    if found != wanted:
        raise ImageError(
            f"{path} cannot be resumed: it holds {found} where {wanted} is wanted; overwrite it or write elsewhere"
        )
