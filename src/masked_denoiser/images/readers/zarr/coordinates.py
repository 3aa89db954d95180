"""Zarr groups that xarray wrote: an image, and arrays with the coordinates of its dimensions.

See https://docs.xarray.dev/en/stable/internals/zarr-encoding-spec.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import zarr

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import letter_of
from masked_denoiser.images.readers.arrays.coordinates import Coordinate, calibrate
from masked_denoiser.images.readers.base import ReaderResult
from masked_denoiser.images.validation.bounded_codecs import with_bounded_codecs
from masked_denoiser.images.validation.zarr_codecs import check_array

#: Attributes that name arrays which belong to others: coordinates, edges of cells, map projections (CF conventions).
_REFERENCES = ("coordinates", "bounds", "grid_mapping", "ancillary_variables")

#: Longest coordinate that is read.
_MAX_POSITIONS = 2**20


def dimension_names(array: zarr.Array[Any]) -> tuple[str, ...]:
    """Return the names of the dimensions of an array, of format 2 or 3; () if it has none."""
    names: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    return tuple(map(str, names))


def image_variables(group: zarr.Group) -> list[str]:
    """Return the names of the arrays of a group that are images rather than coordinates; [] if none has dimensions."""
    arrays = dict(group.arrays())
    if not any(map(dimension_names, arrays.values())):
        return []
    attributes = [group.attrs.asdict(), *(array.attrs.asdict() for array in arrays.values())]
    referred = {name for each in attributes for key in _REFERENCES for name in str(each.get(key, "")).split()}
    return sorted(key for key, array in arrays.items() if array.ndim > 1 and key not in referred)


def with_coordinates(found: ReaderResult, group: zarr.Group, variable: str) -> ReaderResult:
    """Return an image with the calibration that the coordinates in its group state; unchanged if there are none.

    Args:
        found: the image.
        group: with the image and its coordinates.
        variable: name of the image in the group.
    """
    array = group[variable]
    if not isinstance(array, zarr.Array) or not (coordinates := list(_coordinates(group, array))):
        return found
    notes, readable = [], []
    for each in coordinates:
        try:
            readable.append(_read(each, found.name))
        except ImageError as error:
            notes.append(f"a coordinate was ignored: {error}")
    calibration = calibrate(readable, found.name)
    return replace(found, **calibration.fields(), notes=(*found.notes, *notes, *calibration.notes))


def _coordinates(group: zarr.Group, image: zarr.Array[Any]) -> Iterator[tuple[str, zarr.Array[Any]]]:
    """Yield the axis letter and the array of each coordinate of an image; coordinates have the name of a dimension."""
    names = dimension_names(image)
    letters = [letter_of(name) for name in names]
    for name, letter, side in zip(names, letters, image.shape, strict=False):
        array = group.get(name)
        if isinstance(array, zarr.Array) and array.shape == (side,) and letters.count(letter) == 1:
            yield letter, array


def _read(coordinate: tuple[str, zarr.Array[Any]], name: str) -> Coordinate:
    """Read a coordinate.

    Raises:
        ImageError: if it is too long, of a type that is not read, or damaged.
    """
    letter, array = coordinate
    if array.size > _MAX_POSITIONS:
        raise ImageError(f"{name}: the {array.size} positions along {letter} exceed the limit of {_MAX_POSITIONS}")
    if array.dtype.kind not in "iufUmM":
        raise ImageError(f"{name}: the positions along {letter} are of type {array.dtype}; store numbers")
    check_array(array, f"{name}: {array.basename}")
    try:
        values = np.asarray(with_bounded_codecs(array)[...])
    except (RuntimeError, ValueError, TypeError, LookupError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ImageError(f"{name}: the positions along {letter} are damaged ({reason}); export it again") from error
    return Coordinate(letter, values, array.attrs.asdict())
