"""Durable: seeing to it that what was written is on the disk, and not only on its way there.

A journal that says "done" must not survive a power cut that the pixels did not.
"""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from typing import Any


def sync_file(path: Path) -> None:
    """Waits until a file or folder is on the disk, and its name in the folder; what is not there is left out."""
    for place in (path, path.parent):
        _sync(place)


def sync_chunks(array: Any, folder: Path, key: tuple[int | slice, ...], known: set[Path]) -> None:
    """Waits until the chunks or shards under a rectangle are on the disk, with the folders that lead to them.

    Args:
        array: zarr, in a local folder.
        folder: of the array.
        key: integers and slices with ends, one for each axis. Chunks of nothing but the fill value have no file.
        known: folders whose names are on the disk already; those that are from now on are added.
    """
    sides = array.shards or array.chunks
    spans = [(k, k + 1) if isinstance(k, int) else (k.start or 0, k.stop) for k in key]
    grid = [range(start // side, -(-stop // side)) for (start, stop), side in zip(spans, sides, strict=True)]
    paths = [folder / array.metadata.encode_chunk_key(place) for place in product(*grid)]
    parents = dict.fromkeys(path.parent for path in paths)
    for place in (*paths, *parents):
        _sync(place)
    for parent in parents:
        new = parent
        while new != folder and new not in known:
            _sync(new.parent)
            if new.exists():
                known.add(new)
            new = new.parent


def sync_tree(folder: Path) -> None:
    """Waits until a folder is on the disk with all that is in it."""
    for place in (*folder.rglob("*"), folder):
        _sync(place)


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
