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
from masked_denoiser.images.suffixes import OUTPUT_SUFFIXES, OutputKind
from masked_denoiser.images.validation.file_identity import find_overlap
from masked_denoiser.images.writers.derived_folder import check_derived_folder, remove_derived_folder
from masked_denoiser.images.writers.layout import same_layout
from masked_denoiser.images.zarr_files import ZARR_FILES, extra_contents, is_working_folder

_WORKING_SUFFIX = ".partial"


def kind_of(path: Path) -> OutputKind:
    """Return the format of an output by its suffix.

    Raises:
        ImageError: if it has the suffix of none.
    """
    name = path.name.lower()
    for kind, suffixes in OUTPUT_SUFFIXES.items():
        if name.endswith(suffixes):
            return kind
    known = ", ".join(suffix for suffixes in OUTPUT_SUFFIXES.values() for suffix in suffixes)
    hint = "" if path.suffix else f"; for a folder, `denoise` takes a slash at the end: {path}/"
    raise ImageError(f"{path} has no known suffix: use one of {known}{hint}")


def is_assembled(path: Path) -> bool:
    """Return whether an output is written at the end from a working folder, unlike OME-Zarr.

    Raises:
        ImageError: if it has no known suffix.
    """
    return kind_of(path) != "OME-Zarr"


def stores_scale(path: Path, dtype: Any) -> bool:
    """Return whether an output stores these integers with a scale, which keeps fractions: NIfTI does.

    Its sink then takes float32, which holds integers of up to 16 bits exactly.
    """
    stored = np.dtype(dtype)
    return path.name.lower().endswith(OUTPUT_SUFFIXES["NIfTI"]) and stored.kind in "iu" and stored.itemsize <= 2


def working_folder(path: Path) -> Path:
    """Return the folder that collects the pixels of the file at `path` until it is complete."""
    return path.with_name(f"{path.name}{_WORKING_SUFFIX}")


def check_output(path: Path, source: Source) -> None:
    """Raise an error for an output that cannot be written or overlaps an input.

    Raises:
        ImageError: if `path` has no known suffix, is a link, is, contains or lies in an input, or its parent is
            missing, not a folder, or not writable.
    """
    kind_of(path)
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
    """Return the maximum bytes that writing to `path` takes: with pyramid levels, twice if it is assembled."""
    collected = np.float32 if dtype is None and stores_scale(path, source.dtype) else dtype
    layout = same_layout(source, collected)
    samples = sum(int(np.prod(level.shape, dtype=np.int64)) for level in layout.levels)
    return samples * layout.dtype.itemsize * (2 if is_assembled(path) else 1)


def check_disk_space(path: Path, needed: int, replaced: Iterable[Path] = ()) -> None:
    """Raise an error if an output may not fit on the disk.

    Args:
        path: of the output.
        needed: bytes.
        replaced: outputs that are removed before it is written, which frees their space.

    Raises:
        ImageError: if fewer than `needed` bytes are or will be free on the disk of `path`.
    """
    folder = next(p for p in path.resolve().parents if p.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        free += sum(_used_bytes(part) for output in replaced for part in (output, *_working_folders(output)))
    if free < needed:
        raise ImageError(
            f"{path.name} needs up to {_format_bytes(needed)}, only {_format_bytes(free)} are free on {folder}: "
            "free space or write elsewhere"
        )


def _used_bytes(path: Path) -> int:
    """Return the bytes that a file, or the files in a folder, take; 0 if there is none."""
    if path.is_dir():
        return sum(Path(folder, name).lstat().st_size for folder, _, names in os.walk(path) for name in names)
    return path.lstat().st_size if path.is_file() else 0


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
    if is_assembled(path) and not path.is_dir():
        path.unlink(missing_ok=True)
    elif kind_of(path) == "DICOM" and path.is_dir():
        remove_derived_folder(path)


def discard_output(path: Path) -> None:
    """Remove the output of a cancelled job: an OME-Zarr folder, finished or not, or the working folder of a file.

    A finished file is kept.

    Raises:
        ImageError: if a folder is not a zarr, or contains more than one image.
    """
    for folder in _working_folders(path) or (path,):
        if folder.exists():
            remove_folder(folder)
        remove_leftovers(folder)
    remove_leftovers(path)  # also of an earlier DICOM folder, whose removal was interrupted


def remove_folder(path: Path) -> None:
    """Delete a zarr folder or the working folder of a file.

    It is renamed first, so that an interrupted removal does not look like an image.

    Raises:
        ImageError: if it is neither, or contains more than one image.
    """
    _check_zarr(path)
    shutil.rmtree(path.rename(temporary_path(path, "removing")))


def _working_folders(path: Path) -> tuple[Path, ...]:
    """Return the working folder of a file; nothing for a zarr, which is written in place."""
    return (working_folder(path),) if is_assembled(path) else ()


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
    if kind_of(path) == "DICOM" and path.exists():
        check_derived_folder(path)
    elif is_assembled(path) and path.is_dir():
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
