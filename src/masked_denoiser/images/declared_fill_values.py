"""Values that a file itself declares to mark missing pixels.

GDAL writes them in the TIFF tag 42113 (https://gdal.org/drivers/raster/gtiff.html), and the CF conventions for netCDF,
which xarray follows in zarr, in the attributes `_FillValue` and `missing_value`. The `fill_value` of a zarr array is
none of them: it stands for chunks that were not written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

import numpy as np

#: Private TIFF tag with one number as text.
GDAL_NODATA = 42113

_ATTRIBUTES = ("_FillValue", "missing_value")


def fill_values_of(declared: Iterable[Any], dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return the finite values among what a file declares that a dtype can hold, without repeats.

    Args:
        declared: numbers, or texts that may be numbers.
        dtype: of the pixels. Floats are compared as that type: 3.4e38 means the largest float32.
    """
    values = []
    for one in declared:
        number = _number(one)
        if number is None:
            continue
        with np.errstate(over="ignore"):
            held = float(dtype.type(number)) if dtype.kind == "f" else number
        limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        whole = dtype.kind == "f" or held.is_integer()
        if isfinite(held) and whole and float(limits.min) <= held <= float(limits.max):
            values.append(held)
    return tuple(dict.fromkeys(values))


def fill_values_in_attributes(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return the fill values that the attributes of a zarr array declare."""
    declared = [attributes[name] for name in _ATTRIBUTES if name in attributes]
    return fill_values_of([v for one in declared for v in (one if isinstance(one, list) else [one])], dtype)


def _number(value: Any) -> float | None:
    """A number, or what a text means as one; None for anything else, as nobody checks what is declared."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, np.number)):
        return None
    try:
        return float(value.strip("\0 ") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
