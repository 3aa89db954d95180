"""Reader of NumPy files: `.npy`, read at its offset, and arrays in `.npz`, decoded whole. Neither may hold objects.

See https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.lib import format as npy

from masked_denoiser.errors import ImageError
from masked_denoiser.images.lazy_arrays import ReorderedArray
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.library_errors import wrap_errors
from masked_denoiser.images.readers.raw_file import open_raw
from masked_denoiser.images.readers.registry import one_part
from masked_denoiser.images.source import LazyArray
from masked_denoiser.images.validation.size_limits import check_decoded_size

_SUFFIX = ".npy"


def read(path: Path, part: str = "") -> ReaderResult:
    """Open an array, whose axes a NumPy file does not name.

    Args:
        path: of a `.npy` or `.npz` file.
        part: name of an array in a `.npz`; "" for the only one.

    Raises:
        ImageError: if the file is damaged, or holds no such array of numbers.
    """
    with wrap_errors(path, "a NumPy file", BadZipFile, TokenError):
        if not _is_archive(path):
            if part:
                raise ImageError(f"{path}: holds one array; leave out '::{part}'")
            return _read_npy(path)
        names = list_parts(path)
        return _read_npz(path, names[one_part(path, part, names)])


def list_parts(path: Path) -> list[str]:
    """Return the names of the arrays of a `.npz` that may be images: numbers in two or more dimensions.

    Raises:
        ImageError: if the file is damaged.
    """
    with wrap_errors(path, "a NumPy file", BadZipFile, TokenError):
        return [name for name, shape, _ in _arrays(path) if len(shape) > 1] if _is_archive(path) else []


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _read_npy(path: Path) -> ReaderResult:
    with path.open("rb") as file:
        shape, columns_first, dtype = _header(file)
        start = file.tell()
    check_pixels(shape, dtype, str(path))
    raw = open_raw(path, start, shape[::-1] if columns_first else shape, dtype)
    array: LazyArray = ReorderedArray(raw, tuple(range(len(shape)))[::-1]) if columns_first else raw
    return ReaderResult((array,), name=path.name, path=path, closer=raw.close)


def _read_npz(path: Path, name: str) -> ReaderResult:
    with ZipFile(path) as archive, archive.open(name + _SUFFIX) as file:
        shape, columns_first, dtype = _header(file)
        check_pixels(shape, dtype, f"{path}::{name}")
        check_decoded_size(shape, dtype.itemsize, "an array in an archive", str(path))
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        content = file.read(size)
    if len(content) < size:
        raise EOFError(f"{size} bytes of {name} are declared, and {len(content)} are stored")
    pixels = np.frombuffer(content, dtype).reshape(shape, order="F" if columns_first else "C")
    return ReaderResult((pixels.astype(dtype.newbyteorder("="), copy=False),), name=path.name, path=path)


def _arrays(path: Path) -> Iterator[tuple[str, tuple[int, ...], np.dtype[Any]]]:
    """Yield name, shape and data type of the arrays of numbers in an archive."""
    with ZipFile(path) as archive:
        for name in archive.namelist():
            if not name.endswith(_SUFFIX):
                continue
            with archive.open(name) as file:
                shape, _, dtype = _header(file)
            if dtype.kind in "buif" and dtype.itemsize <= 8:
                yield name.removesuffix(_SUFFIX), shape, dtype


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether columns come first, and data type that the header of an array declares.

    Raises:
        ValueError: if it is damaged, or of version 3, which only arrays of named fields need.
    """
    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"its version {version} is not supported")
    shape, columns_first, dtype = readers[version](file)
    if any(side < 0 for side in shape):
        raise ValueError(f"its header declares the shape {shape}")
    return shape, columns_first, dtype
