"""Flushing of written files to disk.

After a power cut, a journal must not report tiles as done whose pixels were lost.
"""

from __future__ import annotations

import errno
import os
from itertools import product
from pathlib import Path
from typing import Any

#: Errors of file systems that cannot flush a folder.
_UNSUPPORTED = (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS)


def sync_file(path: Path) -> None:
    """Flush a file or folder and its directory entry to disk; skip it if it does not exist."""
    for entry in (path, path.parent):
        _sync(entry)


def sync_chunks(array: Any, folder: Path, key: tuple[int | slice, ...], synced: set[Path]) -> None:
    """Flush the chunks or shards under a rectangle to disk, with the folders that contain them.

    Args:
        array: zarr array in a local folder.
        folder: of the array.
        key: integers and bounded slices, one per axis. Chunks of only the fill value have no file.
        synced: folders whose directory entries are on disk already; newly flushed ones are added.
    """
    paths = chunk_paths(array, folder, key)
    parents = dict.fromkeys(path.parent for path in paths)
    for path in (*paths, *parents):
        _sync(path)
    for parent in parents:
        ancestor = parent
        while ancestor != folder and ancestor not in synced:
            _sync(ancestor.parent)
            if ancestor.exists():
                synced.add(ancestor)
            ancestor = ancestor.parent


def chunk_paths(array: Any, folder: Path, key: tuple[int | slice, ...]) -> list[Path]:
    """Return the paths of the chunks or shards under a rectangle; see `sync_chunks`."""
    sides = array.shards or array.chunks
    spans = [(k, k + 1) if isinstance(k, int) else (k.start or 0, k.stop) for k in key]
    grid = [range(start // side, -(-stop // side)) for (start, stop), side in zip(spans, sides, strict=True)]
    return [folder / array.metadata.encode_chunk_key(position) for position in product(*grid)]


def sync_tree(folder: Path) -> None:
    """Flush a folder and everything in it to disk."""
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _sync(path: Path) -> None:
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return
    except PermissionError:  # Windows cannot open folders, and flushes their entries by itself
        if path.is_dir():
            return
        raise
    try:
        os.fsync(descriptor)
    except PermissionError:  # Windows flushes only files that are open for writing
        if os.name != "nt":
            raise
    except OSError as error:  # some file systems, such as of shared folders and FUSE, flush folders by themselves
        if error.errno not in _UNSUPPORTED or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
