"""Presence of the chunks of a zarr array on disk: zarr reads a missing chunk as the fill value without an error.

The chunks of a store may be missing because it was copied in part, or lie elsewhere than its metadata say, for example
if the dimension separator was lost.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from itertools import islice
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
from zarr.core.sync import sync
from zarr.storage import LocalStore

from masked_denoiser.errors import ImageError
from masked_denoiser.images.validation.zarr_store import GuardedStore

#: Most chunks whose presence is tested in a folder, and in other stores, where each test may be a request.
_SAMPLED_CHUNKS, _SAMPLED_REMOTE_CHUNKS = 1024, 32
#: Most files that are looked at if none of the sampled chunks are stored.
_SAMPLED_FILES = 4096

_CHUNK_KEY = re.compile(r"(c[/.])?\d+([/.]\d+)*")


def local_folder(array: Any) -> Path | None:
    """Return the folder of a zarr array on disk; None for other stores."""
    store = array.store.wrapped if isinstance(array.store, GuardedStore) else array.store
    return Path(store.root) / array.path if isinstance(store, LocalStore) else None


def missing_share(array: Any, name: str) -> float:
    """Return the share of chunks (or shards) that are not stored, from a sample of them.

    Args:
        array: zarr array in any store.
        name: of the image, for errors.

    Raises:
        ImageError: if the chunks lie elsewhere than the metadata say.
    """
    folder = local_folder(array)
    sampled = _SAMPLED_CHUNKS if folder is not None else _SAMPLED_REMOTE_CHUNKS
    keys = [array.metadata.encode_chunk_key(position) for position in _sampled_positions(array, sampled)]
    if folder is None:
        return _missing_share_in_store(array, keys)
    stored = sum((folder / key).exists() for key in keys)
    if not stored and _find_chunk(array, folder, keys[0], name):
        stored = 1  # too few of many to be sampled
    return float(1 - stored / len(keys))


def _missing_share_in_store(array: Any, keys: list[str]) -> float:
    """Return the share of chunks that a store such as a bucket or an archive does not have."""
    prefix = f"{array.path}/" if array.path else ""

    async def count() -> int:
        return sum(await asyncio.gather(*(array.store.exists(prefix + key) for key in keys)))

    return 1 - sync(count()) / len(keys)


def _sampled_positions(array: Any, most: int) -> list[tuple[int, ...]]:
    """Return positions of chunks or shards in their grid: all of them, or random ones from a fixed seed."""
    grid = tuple(ceil(side / chunk) for side, chunk in zip(array.shape, array.shards or array.chunks, strict=True))
    count = prod(grid)
    if count <= most:
        return list(np.ndindex(grid))
    numbers = np.random.default_rng(0).integers(count, size=most)
    return [tuple(int(i) for i in np.unravel_index(number, grid)) for number in numbers]


def _find_chunk(array: Any, folder: Path, expected: str, name: str) -> bool:
    """Return whether a chunk is stored; raise ImageError if only files with other names of chunks are."""
    files = [key for key in islice(_files_in(folder), _SAMPLED_FILES) if _CHUNK_KEY.fullmatch(key)]
    found = any(_is_key_of(array, key) for key in files)
    if files and not found:
        raise ImageError(
            f"{name}: its chunks have names such as {files[0]!r} where its metadata expect {expected!r}; correct the "
            "chunk separator (dimension_separator, chunk_key_encoding) in its metadata, or export it again"
        )
    return found


def _files_in(folder: Path) -> Iterator[str]:
    """Yield the paths of all files in a folder, relative to it, with forward slashes."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name).relative_to(folder).as_posix() for name in sorted(names))


def _is_key_of(array: Any, key: str) -> bool:
    """Return whether a path is the key of a chunk of an array."""
    position = tuple(map(int, re.findall(r"\d+", key)))
    return len(position) == array.ndim and bool(array.metadata.encode_chunk_key(position) == key)
