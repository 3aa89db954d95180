"""Output paths: checks that an output may be written and fits on the disk, and removal of earlier outputs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.atomic_file import remove_leftovers, temporary_path
from masked_denoiser.errors import ImageError
from masked_denoiser.images.source import Source
from masked_denoiser.images.validation.file_identity import find_overlap
from masked_denoiser.images.writers.layout import same_layout
from masked_denoiser.images.zarr_files import ZARR_FILES, extra_contents, is_working_folder

ZARR_SUFFIXES = (".ome.zarr", ".zarr")
TIFF_SUFFIXES = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".ome.btf")

_WORKING_SUFFIX = ".partial"


def is_tiff(path: Path) -> bool:
    """Return whether an output path is an OME-TIFF; otherwise it is an OME-Zarr.

    Raises:
        ImageError: if it has the suffix of neither.
    """
    name = path.name.lower()
    if name.endswith(TIFF_SUFFIXES):
        return True
    if name.endswith(ZARR_SUFFIXES):
        return False
    raise ImageError(f"{path} has no known suffix: use one of {', '.join(ZARR_SUFFIXES + TIFF_SUFFIXES)}")


def working_folder(path: Path) -> Path:
    """Return the folder that collects the pixels of the TIFF at `path` until it is complete."""
    return path.with_name(f"{path.name}{_WORKING_SUFFIX}")


def check_output(path: Path, source: Source) -> None:
    """Raise an error for an output that cannot be written or overlaps an input.

    Raises:
        ImageError: if `path` has no known suffix, is a link, is, contains or lies in an input, or its parent is
            missing, not a folder, or not writable.
    """
    is_tiff(path)
    if path.is_symlink():
        raise ImageError(f"{path} is a link: write to {path.resolve()} itself, or elsewhere")
    for written in (path, *_working_folders(path)):
        _check_no_overlap(written, source.inputs)
    parent = path.resolve().parent
    if not parent.is_dir():
        raise ImageError(f"{parent} is not an existing folder: create it, or write elsewhere")
    if not os.access(parent, os.W_OK):
        raise ImageError(f"{parent} is not writable: change its permissions, or write elsewhere")


def estimate_bytes(source: Source, path: Path, dtype: Any = None) -> int:
    """Return the maximum bytes that writing to `path` takes: all pyramid levels uncompressed, twice for a TIFF."""
    layout = same_layout(source, dtype)
    samples = sum(int(np.prod(level.shape, dtype=np.int64)) for level in layout.levels)
    return samples * layout.dtype.itemsize * (2 if is_tiff(path) else 1)


def check_disk_space(path: Path, needed: int) -> None:
    """Raise an error if an output may not fit on the disk.

    Raises:
        ImageError: if fewer than `needed` bytes are free on the disk of `path`.
    """
    folder = next(p for p in path.resolve().parents if p.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ImageError(
            f"{path.name} needs up to {_format_bytes(needed)}, only {_format_bytes(free)} are free on {folder}: "
            "free space or write elsewhere"
        )


def _format_bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def clear_destination(path: Path, *, overwrite: bool) -> None:
    """Remove an existing output at `path` and leftovers of an earlier attempt.

    Raises:
        ImageError: if there is an output and `overwrite` is false, or it is not an image or more than one.
    """
    existing = [p for p in (path, *_working_folders(path)) if p.exists()]
    if existing and not overwrite:
        raise ImageError(f"{existing[0]} exists: resume, overwrite, or write elsewhere")
    check_replaceable(path)
    discard_output(path)
    if is_tiff(path):
        path.unlink(missing_ok=True)


def discard_output(path: Path) -> None:
    """Remove the output of a cancelled job: an OME-Zarr folder, finished or not, or a TIFF's working folder.

    A finished TIFF is kept.

    Raises:
        ImageError: if a folder is not a zarr, or contains more than one image.
    """
    for folder in _working_folders(path) or (path,):
        if folder.exists():
            remove_folder(folder)
        remove_leftovers(folder)


def remove_folder(path: Path) -> None:
    """Delete a zarr folder or the working folder of a TIFF.

    It is renamed first, so that an interrupted removal does not look like an image.

    Raises:
        ImageError: if it is neither, or contains more than one image.
    """
    _check_zarr(path)
    shutil.rmtree(path.rename(temporary_path(path, "removing")))


def _working_folders(path: Path) -> tuple[Path, ...]:
    """Return the working folder of a TIFF; nothing for a zarr, which is written in place."""
    return (working_folder(path),) if is_tiff(path) else ()


def _check_no_overlap(path: Path, inputs: Iterable[Path]) -> None:
    if (overlap := find_overlap(path, inputs)) is not None:
        raise ImageError(f"{path} is, holds or lies in the input {overlap} (by this or another path): write elsewhere")


def output_exists(path: Path) -> bool:
    """Return whether an output at `path` exists, finished or interrupted."""
    return path.exists() or working_folder(path).exists()


def check_replaceable(path: Path) -> None:
    """Raise an error for an existing output that must not be removed.

    Raises:
        ImageError: if the path is a folder that is not an image, or contains more than one.
    """
    if is_tiff(path) and path.is_dir():
        raise ImageError(f"{path} is a folder: remove it, or write elsewhere")
    for folder in _working_folders(path) or (path,):
        if folder.exists():
            _check_zarr(folder)


def _check_zarr(path: Path) -> None:
    if not any((path / name).is_file() for name in ZARR_FILES):
        raise ImageError(f"{path} does not look like a zarr folder: remove it yourself, or write elsewhere")
    if path.name.endswith(_WORKING_SUFFIX) and not is_working_folder(path):
        raise ImageError(f"{path} was not written by this program: move it, or write elsewhere")
    if extra := extra_contents(path):
        listed = ", ".join(extra[:5]) + (" ..." if len(extra) > 5 else "")
        raise ImageError(
            f"{path} holds more than an image ({listed}), which would be lost: move it, or write elsewhere"
        )
