"""Reader of labelled arrays of xarray, which need not be installed."""

from __future__ import annotations

from typing import Any

import numpy as np

from masked_denoiser.images.axes import letter_of
from masked_denoiser.images.metadata.declared_fill_values import fill_values_in_attributes
from masked_denoiser.images.readers.arrays.coordinates import Coordinate, calibrate
from masked_denoiser.images.readers.arrays.files import files_of
from masked_denoiser.images.readers.base import ComputedArray, ReaderResult


def read_labelled(array: Any) -> ReaderResult:
    """Describe an `xarray.DataArray` or `Variable`: its dimensions are the axes, its coordinates the calibration."""
    name = str(getattr(array, "name", None) or "array")
    letters = [letter_of(dimension) for dimension in array.dims]
    coordinates = [
        Coordinate(letter, np.asarray(found.values), found.attrs)
        for dimension, letter in zip(array.dims, letters, strict=True)
        if letters.count(letter) == 1 and (found := _coordinate(array, dimension)) is not None
    ]
    calibration = calibrate(coordinates, name)
    # A variable is indexed lazily, whatever is behind it: a file, dask or numpy.
    data = ComputedArray(getattr(array, "variable", array))
    return ReaderResult(
        (data,),
        "".join(letters),
        name=name,
        notes=calibration.notes,
        inputs=files_of(array),
        fill_values=fill_values_in_attributes(array.attrs, data.dtype),
        **calibration.fields(),
    )


def _coordinate(array: Any, dimension: Any) -> Any:
    """Return the coordinate of a dimension; None if there is none, or it is not along this dimension."""
    found = getattr(array, "coords", {}).get(dimension)
    return found if found is not None and found.dims == (dimension,) else None
