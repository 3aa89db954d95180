"""Opens any image as a source; the libraries of a format are imported when one is opened."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from masked_denoiser.errors import ImageError
from masked_denoiser.images.locator import split_locator
from masked_denoiser.images.readers.base import ReaderResult, to_reader_result, to_source
from masked_denoiser.images.readers.medical.folders import is_dicom_folder
from masked_denoiser.images.readers.registry import find_reader
from masked_denoiser.images.source import Source
from masked_denoiser.images.suffixes import suffix_of
from masked_denoiser.images.zarr_files import is_zarr


def open_image(
    source: str | os.PathLike[str] | Source | Any, *, axes: str | None = None, level: int = 0, reader: str = ""
) -> Source:
    """Open an image without reading its pixels.

    Args:
        source: a TIFF of any kind (ImageJ, OME, BigTIFF, SVS), a PNG or JPEG, a zarr array or OME-Zarr group
            on disk or at an http, https or s3 address, an array in memory (NumPy, dask, zarr, torch, xarray, lists of
            numbers, or anything that converts itself to NumPy), or a source. Files are opened for reading only.
        axes: one letter of TCZYXS for each dimension, such as "ZYX"; None takes them from the metadata or guesses
            them, which the source's `notes` mention.
        level: the pyramid level to take as full resolution; finer ones are omitted.
        reader: napari plugin or reader of bioio that opens a file, such as "bioio-czi"; "" for the readers of this
            package, or for a file that they do not know, the only installed plugin that does.

    Returns:
        A source, which any thread may read. Close it, or use it in a `with` statement.

    Raises:
        ImageError: before anything is read, where the image is missing, unreadable, truncated, empty, not an image,
            of complex or structured pixels, or does not have these axes or this level; or if the reader is not
            installed, fails, or opens only files.
    """
    if reader and not isinstance(source, str | os.PathLike):
        raise ImageError(f"reader {reader} opens files, and {type(source).__name__} is none; leave the reader out")
    if isinstance(source, Source):
        if axes is None and level == 0:
            return source
        return replace(to_source(to_reader_result(source), axes, level), selection=source.selection)
    if isinstance(source, str | os.PathLike):
        result = _read_with(os.fspath(source), reader, axes) if reader else _read_path(os.fspath(source), axes)
    else:
        result = _read_array(source)
    try:
        return to_source(result, axes, level)
    except ImageError:
        if result.closer is not None:
            result.closer()
        raise


def _read_with(name: str, reader: str, axes: str | None) -> ReaderResult:
    from masked_denoiser.images.readers.plugins.choose import find_plugin, read_with

    if "://" in name:
        return read_with(find_plugin(reader), name, "", axes)
    text, part = split_locator(name)
    path = Path(text).expanduser()
    _check_readable(path)
    return read_with(find_plugin(reader), str(path), part, axes)


def _read_path(name: str, axes: str | None) -> ReaderResult:
    if "://" in name:
        from masked_denoiser.images.readers.zarr.remote import read_remote

        return read_remote(name)
    text, part = split_locator(name)
    path = Path(text).expanduser()
    _check_readable(path)
    if path.is_dir():
        return _read_folder(path, part, axes)
    reader = find_reader(path)
    if reader is None:
        return _read_tiff_or_other(path, part, axes)
    found = None if reader.is_installed else _read_automatically(path, part, axes)
    return found or replace(reader.read(path, part), part=part)


def _read_folder(path: Path, part: str, axes: str | None) -> ReaderResult:
    if is_dicom_folder(path):
        from masked_denoiser.images.readers.medical.dicom_series import read_series

        return replace(read_series(path, part), part=part)
    found = None if is_zarr(path) else _read_automatically(path, part, axes)
    if found is not None:
        return found
    if part:
        raise ImageError(f"{path}: is a folder; name an image in it as {path}/{part}")
    from masked_denoiser.images.readers.zarr.reader import read_zarr

    return read_zarr(path)


def _read_tiff_or_other(path: Path, part: str, axes: str | None) -> ReaderResult:
    from masked_denoiser.images.readers.plugins.choose import reader_hint
    from masked_denoiser.images.readers.tiff.reader import NotTiffError, read_tiff

    try:
        return replace(read_tiff(path, part), part=part)
    except NotTiffError as error:
        # A file with a suffix of this package is more likely broken than of another format.
        found = None if suffix_of(path.name) else _read_automatically(path, part, axes)
        if found is None:
            raise ImageError(f"{error}{reader_hint(path)}") from error
        return found


def _read_automatically(path: Path, part: str, axes: str | None) -> ReaderResult | None:
    from masked_denoiser.images.readers.plugins.choose import read_automatically

    return read_automatically(path, part, axes)


def _check_readable(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ImageError(f"{path}: cannot be found ({error.strerror}); check the path") from error
    if not os.access(path, os.R_OK):
        raise ImageError(f"{path}: may not be read; ask for the right to, or copy it")
    if path.is_file() and size == 0:
        raise ImageError(f"{path}: is an empty file; copy or export the image again")


def _read_array(array: Any) -> ReaderResult:
    # The module of its type identifies a zarr array without importing zarr.
    if type(array).__module__.partition(".")[0] == "zarr":
        from masked_denoiser.images.readers.zarr.reader import read_zarr_object

        return read_zarr_object(array)
    from masked_denoiser.images.readers.arrays.objects import read_array_object

    return read_array_object(array)
