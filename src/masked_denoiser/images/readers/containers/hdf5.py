"""Reader of HDF5: any data set of numbers, with the axes that ilastik, Fiji or dimension labels name; and Imaris.

See https://docs.hdfgroup.org/hdf5/develop/_f_m_t3.html.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from masked_denoiser.images.axes import UNKNOWN, letter_of
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.containers.hdf5_pixels import is_inside, open_dataset
from masked_denoiser.images.readers.containers.imaris import is_imaris, read_imaris
from masked_denoiser.images.readers.library_errors import wrap_errors
from masked_denoiser.images.readers.open_files import close_all, closed_on_error
from masked_denoiser.images.readers.registry import one_part
from masked_denoiser.images.validation.size_limits import check_length

#: Maximum number of objects that are searched for data sets.
_MAX_OBJECTS = 100_000
#: The only image of an Imaris file.
_IMARIS_PART = "/DataSet"
#: Voxel size in micrometers in the order ZYX, as ilastik's and Fiji's HDF5 plugins store it.
_ELEMENT_SIZE = "element_size_um"


def read(path: Path, part: str = "") -> ReaderResult:
    """Open a data set.

    Args:
        path: of the file.
        part: path of the data set in the file, such as "/volumes/raw"; "" for the only one.

    Raises:
        ImageError: if the file is damaged, there is no such data set, it lies in files outside the folder, or its
            compression is not installed.
    """
    with wrap_errors(path, "an HDF5 file"), closed_on_error(h5py.File(path, "r", locking="best-effort")) as file:
        return _read_part(path, file, part)


def list_parts(path: Path) -> list[str]:
    """Return the paths of the data sets that may be images: numbers in two or more dimensions.

    Links to other files are followed if these are in the folder of the file.

    Raises:
        ImageError: if the file is damaged.
    """
    with wrap_errors(path, "an HDF5 file"), h5py.File(path, "r", locking="best-effort") as file:
        return _names(path, file)


def _read_part(path: Path, file: h5py.File, part: str) -> ReaderResult:
    names = _names(path, file)
    if part and not part.startswith("/") and not part.isdecimal():
        part = f"/{part}"
    known = names if part in names or not part else [*names, *_names(path, file, by_soft_links=True)]
    name = part if part in known else names[one_part(path, part, names)]
    return read_imaris(path, file) if name == _IMARIS_PART and is_imaris(file) else _read_dataset(path, file, name)


def _names(path: Path, file: h5py.File, *, by_soft_links: bool = False) -> list[str]:
    """Return the paths of the data sets; by soft links, those that lead to them by a second name."""
    if is_imaris(file):
        return [_IMARIS_PART]
    found: list[str] = []
    visited = {_identity(file)}
    for count, (name, item) in enumerate(_items(path.parent, file, "", visited, by_soft_links)):
        check_length(count, _MAX_OBJECTS, "objects", str(path))
        if isinstance(item, h5py.Dataset) and _may_be_image(item):
            found.append(name)
    return found


def _items(
    folder: Path, group: h5py.Group, at: str, visited: set[Any], by_soft_links: bool
) -> Iterator[tuple[str, Any]]:
    """Yield the objects below a group with their paths, each group once, as links may form circles."""
    for key in group:
        link = group.get(key, getlink=True)
        if isinstance(link, h5py.ExternalLink) and not is_inside(folder, link.filename):
            continue
        item = None if isinstance(link, h5py.SoftLink) and not by_soft_links else group.get(key)
        if item is None:  # also a link to nothing
            continue
        yield f"{at}/{key}", item
        if isinstance(item, h5py.Group) and _identity(item) not in visited:
            visited.add(_identity(item))
            yield from _items(folder, item, f"{at}/{key}", visited, by_soft_links)


def _identity(item: Any) -> tuple[int, int]:
    """Return what distinguishes an object from all others in the open files."""
    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr


def _may_be_image(dataset: h5py.Dataset) -> bool:
    shape, dtype = dataset.shape, dataset.dtype
    return shape is not None and len(shape) > 1 and dtype.kind in "buif" and dtype.itemsize <= 8 and 0 not in shape


def _read_dataset(path: Path, file: h5py.File, name: str) -> ReaderResult:
    dataset = file[name]
    check_pixels(dataset.shape, dataset.dtype, f"{path}::{name}")
    array = open_dataset(path, dataset)
    axes = _axes(dataset)
    steps = _pixel_sizes(dataset, axes)

    return ReaderResult(
        (array,),
        axes,
        name=path.name,
        path=path,
        pixel_sizes=(steps,),
        units=dict.fromkeys(steps, "micrometer"),
        closer=close_all(array, file),
    )


def _axes(dataset: h5py.Dataset) -> str:
    """Return the axes that a data set names, in the way of ilastik (vigra) or as dimension labels; "" for none."""
    tags = _text(dataset.attrs.get("axistags"))
    if tags:
        try:
            names = [axis["key"] for axis in json.loads(tags)["axes"]]
        except (ValueError, LookupError, TypeError, RecursionError):
            names = []
    else:
        # Not by dataset.dims, as HDF5's function for labels (H5DSget_label) crashes on damaged ones.
        labels = dataset.attrs.get("DIMENSION_LABELS")
        names = [_text(label) for label in labels] if isinstance(labels, np.ndarray) and labels.ndim == 1 else []
    axes = "".join(letter_of(name) for name in names)
    return axes if len(axes) == len(dataset.shape) and set(axes) != {UNKNOWN} else ""


def _pixel_sizes(dataset: h5py.Dataset, axes: str) -> dict[str, float]:
    """Return the pixel sizes in micrometers that ilastik's and Fiji's attribute states."""
    if _ELEMENT_SIZE not in dataset.attrs:
        return {}
    sizes = np.ravel(dataset.attrs[_ELEMENT_SIZE])
    if sizes.dtype.kind not in "uif" or len(sizes) not in (2, 3):
        return {}
    letters = "ZYX"[-len(sizes) :]
    return {a: float(size) for a, size in zip(letters, sizes, strict=True) if not axes or a in axes}


def _text(value: Any) -> str:
    """Return an attribute as text; "" for anything else."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
