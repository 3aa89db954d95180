"""Disk: whether an output may go where it should, whether it fits there, and removing what is not wanted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.layout import same_layout
from masked_denoiser.images.zarr_files import ZARR_FILES, extra_contents

ZARR_SUFFIXES = (".ome.zarr", ".zarr")
TIFF_SUFFIXES = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".ome.btf")

_OUR_SUFFIXES = (".partial", ".creating")


def is_tiff(path: Path) -> bool:
    """Whether an output of this name is an OME-TIFF; else it is an OME-Zarr.

    Raises:
        ImageError: if the name ends as neither does.
    """
    name = path.name.lower()
    if name.endswith(TIFF_SUFFIXES):
        return True
    if name.endswith(ZARR_SUFFIXES):
        return False
    raise ImageError(f"{path} has no known ending: name it {', '.join(ZARR_SUFFIXES + TIFF_SUFFIXES)}")


def working_folder(path: Path) -> Path:
    """Where the pieces of the TIFF at `path` wait until it is complete."""
    return path.with_name(f"{path.name}.partial")


def check_output(path: Path, source: Source) -> None:
    """Refuses an output that cannot be written, or that would touch the input.

    Raises:
        ImageError: if `path` has no known ending, is a link, is, holds or lies in an input, or its folder is missing,
            no folder, or not writable.
    """
    is_tiff(path)
    if path.is_symlink():
        raise ImageError(f"{path} is a link: write to {path.resolve()} itself, or elsewhere")
    for given in source.inputs:
        _check_apart(path.resolve(), given.resolve())
    parent = path.resolve().parent
    if not parent.is_dir():
        raise ImageError(f"{parent} is not an existing folder: make it, or write elsewhere")
    if not os.access(parent, os.W_OK):
        raise ImageError(f"{parent} may not be written to: change its permissions, or write elsewhere")


def estimate_bytes(source: Source, path: Path, dtype: Any = None) -> int:
    """What writing to `path` takes at most, in bytes: all pyramid levels uncompressed, twice for a TIFF."""
    layout = same_layout(source, dtype)
    samples = sum(int(np.prod(level.shape, dtype=np.int64)) for level in layout.levels)
    return samples * layout.dtype.itemsize * (2 if is_tiff(path) else 1)


def check_room(path: Path, needed: int) -> None:
    """Refuses to start what would not fit.

    Raises:
        ImageError: if fewer than `needed` bytes are free where `path` will be.
    """
    folder = next(p for p in path.resolve().parents if p.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ImageError(
            f"{path.name} needs up to {_size(needed)}, only {_size(free)} are free on {folder}: "
            "free space or write elsewhere"
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def clear_destination(path: Path, *, overwrite: bool) -> None:
    """Sees to it that nothing is at `path` nor left of an earlier attempt.

    Raises:
        ImageError: if there is something and `overwrite` is false, or it does not look like an image, or like more.
    """
    there = [p for p in (path, *_leftovers(path)) if p.exists() and not p.name.endswith(".creating")]
    if there and not overwrite:
        raise ImageError(f"{there[0]} exists: resume, overwrite, or write elsewhere")
    check_replaceable(path)
    discard(path)
    if is_tiff(path):
        path.unlink(missing_ok=True)


def discard(path: Path) -> None:
    """Removes what a cancelled job left at `path`: an OME-Zarr folder, finished or not, or a TIFF's working folder.

    A finished TIFF stays.

    Raises:
        ImageError: if a folder there does not look like a zarr, or holds more than an image.
    """
    for folder in (*_leftovers(path), *([] if is_tiff(path) else [path])):
        if folder.exists():
            remove_folder(folder)


def remove_folder(path: Path) -> None:
    """Deletes a zarr folder or one of our own.

    It is renamed and its metadata go first, so that a kill in between leaves nothing that could be taken for a whole.

    Raises:
        ImageError: if it looks like neither, or holds more than one image.
    """
    _check_zarr(path)
    if not path.name.endswith(_OUR_SUFFIXES):
        path = path.rename(path.with_name(f"{path.name}.creating"))
    for name in ZARR_FILES:
        (path / name).unlink(missing_ok=True)
    shutil.rmtree(path)


def _leftovers(path: Path) -> list[Path]:
    folder = working_folder(path) if is_tiff(path) else path
    unmade = folder.with_name(f"{folder.name}.creating")
    return [folder, unmade] if is_tiff(path) else [unmade]


def _check_apart(path: Path, given: Path) -> None:
    if path == given or path.is_relative_to(given) or given.is_relative_to(path):
        raise ImageError(f"{path} is, holds or lies in the input {given}: write elsewhere")


def has_begun(path: Path) -> bool:
    """Whether what an interrupted job wrote for `path` is still there, or the finished file is."""
    return path.exists() or working_folder(path).exists()


def check_replaceable(path: Path) -> None:
    """Refuses to remove a folder that is no image, or holds more than one.

    Raises:
        ImageError: if the path is such a folder, naming what it holds.
    """
    if is_tiff(path):
        if path.is_dir():
            raise ImageError(f"{path} is a folder: remove it, or write elsewhere")
    elif path.exists():
        _check_zarr(path)


def _check_zarr(path: Path) -> None:
    ours = path.name.endswith(_OUR_SUFFIXES) and path.is_dir()
    if ours:
        return
    if not any((path / name).is_file() for name in ZARR_FILES):
        raise ImageError(f"{path} does not look like a zarr folder: remove it yourself, or write elsewhere")
    if others := extra_contents(path):
        named = ", ".join(others[:5]) + (" ..." if len(others) > 5 else "")
        raise ImageError(
            f"{path} holds more than an image ({named}), which would be lost: move that, or write elsewhere"
        )
