"""Pixels of HDF5 data sets, with checks of where they lie and how they are compressed.

h5py reads under a lock of its own, so that any thread may read.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.chunk_cache import ChunkedArray, cache_blocks
from masked_denoiser.images.validation.size_limits import check_decoded_size

#: Plugin with the compressions that HDF5 itself lacks.
_PLUGIN = "hdf5plugin"
_SAME_FILE = "."


class _Contiguous:
    """The pixels of a data set without chunks, read as they are indexed.

    Attributes:
        nbytes: 0, as it takes no cache memory.
    """

    nbytes = 0

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        return np.asarray(self._dataset[key])


def open_dataset(path: Path, dataset: h5py.Dataset) -> ChunkedArray:
    """Return a data set as a lazy array, whose chunks are cached.

    Raises:
        ImageError: see `check_dataset`.
    """
    check_dataset(path, dataset)
    shape = tuple(int(side) for side in dataset.shape)
    if dataset.chunks is None:
        return ChunkedArray(shape, dataset.dtype, shape, lambda _: _Contiguous(dataset), cache_bytes=0)
    return cache_blocks(dataset, tuple(int(side) for side in dataset.chunks))


def check_dataset(path: Path, dataset: h5py.Dataset) -> None:
    """Check that the pixels of a data set can be read.

    Raises:
        ImageError: if they are in files outside the folder, their compression is not installed, or a chunk is too
            large to be decoded.
    """
    _check_files(path, dataset)
    _check_compression(path, dataset)
    if dataset.chunks is not None:
        check_decoded_size(tuple(dataset.chunks), dataset.dtype.itemsize, "a chunk", str(path))


def is_inside(folder: Path, file: str) -> bool:
    """Return whether a file that an HDF5 file refers to exists in its folder.

    HDF5 itself would also look for it in the current folder of the program.
    """
    target = (folder / file).resolve()
    return target.is_relative_to(folder.resolve()) and target.is_file()


def _check_files(path: Path, dataset: h5py.Dataset) -> None:
    files = [file for file, _, _ in dataset.external or ()]
    if dataset.is_virtual:
        files += [source.file_name for source in dataset.virtual_sources() if source.file_name != _SAME_FILE]
    for file in files:
        if not is_inside(path.parent, file):
            raise ImageError(
                f"{path}: {dataset.name} has its pixels in {file!r:.80}, which is not a file in its folder; "
                "put the files into one folder, or copy the data set into one file with h5repack"
            )


def _check_compression(path: Path, dataset: h5py.Dataset) -> None:
    missing = _missing_filters(dataset)
    if missing and find_spec(_PLUGIN) is not None:
        import_module(_PLUGIN)  # registers its filters
        missing = _missing_filters(dataset)
    if missing:
        raise ImageError(
            f"{path}: {dataset.name} is compressed by {missing[0]}, which HDF5 lacks; pip install {_PLUGIN}, "
            "or write it with gzip"
        )


def _missing_filters(dataset: h5py.Dataset) -> list[str]:
    """Return the filters of a data set that are not available."""
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(at) for at in range(properties.get_nfilters())]
    named = {code: name.decode("utf-8", "replace") or f"filter {code}" for code, _, _, name in filters}
    return [name for code, name in named.items() if not h5py.h5z.filter_avail(code)]
