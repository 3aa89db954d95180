"""Durable: seeing to it that what was written is on the disk, and not only on its way there.

A journal that says "done" must not survive a power cut that the pixels did not.
"""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from typing import Any


def sync_file(path: Path) -> None:
    """Waits until a file is on the disk, and its name in the folder; a file that is not there is left out."""
    for place in (path, path.parent):
        _sync(place)


def sync_chunks(array: Any, folder: Path, key: tuple[int | slice, ...]) -> None:
    """Waits until the chunks or shards under a rectangle are on the disk.

    Args:
        array: zarr, in a local folder.
        folder: of the array.
        key: integers and slices with ends, one for each axis. Chunks of nothing but the fill value have no file.
    """
    sides = array.shards or array.chunks
    spans = [(k, k + 1) if isinstance(k, int) else (k.start or 0, k.stop) for k in key]
    grid = [range(start // side, -(-stop // side)) for (start, stop), side in zip(spans, sides, strict=True)]
    paths = [folder / array.metadata.encode_chunk_key(place) for place in product(*grid)]
    for place in dict.fromkeys([*paths, *(path.parent for path in paths)]):
        _sync(place)


def sync_all() -> None:
    """Waits until all that was written is on the disk, where the system knows how to."""
    if hasattr(os, "sync"):
        os.sync()


def _sync(path: Path) -> None:
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return
    except PermissionError:  # Windows opens no folders, and keeps their names by itself
        if path.is_dir():
            return
        raise
    try:
        os.fsync(descriptor)
    except PermissionError:  # Windows syncs only what is open for writing
        if os.name != "nt":
            raise
    finally:
        os.close(descriptor)
