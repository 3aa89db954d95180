"""Files behind an array, which must not be overwritten while the array is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def files_of(array: Any) -> tuple[Path, ...]:
    """Return the files and folders of which an array is a view, lazily or not.

    Memory maps of NumPy, data sets of h5py, arrays and groups of zarr in folders and in TIFF files, variables of xarray
    and what dask computes from any of these are recognised. What a function opens while dask computes it is not.
    """
    if isinstance(array, np.ndarray):
        return _files_of_view(array)
    layers = getattr(getattr(array, "dask", None), "layers", None)
    if layers is not None:
        return _files_of_graph(layers)
    candidates = (*_names_of_store(array), *_names_of_data_set(array))
    return tuple(dict.fromkeys(path for path in map(Path, candidates) if path.exists()))


def _files_of_view(array: Any) -> tuple[Path, ...]:
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and array.filename:
            return (Path(array.filename),)
        array = array.base
    return ()


def _files_of_graph(layers: Any) -> tuple[Path, ...]:
    """Return the files behind the arrays of which dask computes others: each is a layer of a single value."""
    found: dict[Path, None] = {}
    for layer in layers.values():
        # Layers of many tasks are not listed: this would build the graph of every chunk of a slide.
        if type(layer).__name__ == "MaterializedLayer" and len(layer) == 1:
            (value,) = layer.values()
            if not callable(value) and hasattr(value, "shape"):
                found.update(dict.fromkeys(files_of(value)))
    return tuple(found)


def _names_of_store(array: Any) -> list[str]:
    """Return the paths of the store of a zarr array or group: a local folder, or the file of tifffile's store."""
    store = getattr(array, "store", None)
    store = getattr(store, "wrapped", store)
    protocols = getattr(getattr(store, "fs", None), "protocol", ())
    # dask opens a local folder through fsspec, whose store calls the root of the group its path.
    root = getattr(store, "path" if "file" in protocols else "root", None)
    if isinstance(root, str | Path):
        return [str(Path(root) / getattr(array, "path", ""))]
    return [series.parent.filehandle.path for series in getattr(store, "_data", ()) if hasattr(series, "parent")]


def _names_of_data_set(array: Any) -> list[str]:
    """Return the path of the file of a data set of h5py, or of a variable of xarray."""
    name = getattr(getattr(array, "file", None), "filename", None)
    name = name or getattr(array, "encoding", {}).get("source")
    return [name] if isinstance(name, str) else []
