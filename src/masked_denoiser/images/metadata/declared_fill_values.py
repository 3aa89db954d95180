"""Fill values that a file declares for missing pixels.

GDAL stores them in the TIFF tag 42113 (https://gdal.org/drivers/raster/gtiff.html), and the CF conventions for netCDF,
which xarray follows in zarr, in the attributes `_FillValue` and `missing_value`. The `fill_value` of a zarr array is
not one of them: it is the value of chunks that were not written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

import numpy as np

#: Private TIFF tag that holds one number as text.
GDAL_NODATA = 42113

_FILL_ATTRIBUTES = ("_FillValue", "missing_value")


def fill_values_of(declared: Iterable[Any], dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return the declared fill values that are finite and representable in a dtype, without duplicates.

    Args:
        declared: numbers, or strings that may be numbers.
        dtype: of the pixels. Numbers are rounded to a float dtype: 3.4e38 becomes the largest float32.
    """
    values = []
    for value in declared:
        number = _number(value)
        if number is None:
            continue
        with np.errstate(over="ignore"):
            stored = float(dtype.type(number)) if dtype.kind == "f" else number
        limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        whole = dtype.kind == "f" or stored.is_integer()
        if isfinite(stored) and whole and float(limits.min) <= stored <= float(limits.max):
            values.append(stored)
    return tuple(dict.fromkeys(values))


def fill_values_in_attributes(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return the fill values declared in the attributes of a zarr array."""
    declared = [attributes[name] for name in _FILL_ATTRIBUTES if name in attributes]
    return fill_values_of([v for value in declared for v in (value if isinstance(value, list) else [value])], dtype)


def _number(value: Any) -> float | None:
    """Return a number, or a string parsed as one; None for anything else, as writers do not validate it."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, np.number)):
        return None
    try:
        return float(value.strip("\0 ") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
