"""Attributes of a zarr array by the CF conventions, as xarray encodes them: missing pixels and packed numbers.

See https://docs.xarray.dev/en/stable/internals/zarr-encoding-spec.html, and chapters 2.5.1 and 8.1 of https://cfconventions.org.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr

from masked_denoiser.images.metadata.declared_fill_values import fill_values_in_attributes
from masked_denoiser.images.metadata.value_calibration import STRAIGHT_LINE, value_calibration


def declared_fill_values(array: zarr.Array[Any]) -> tuple[float, ...]:
    """Return the values that mark missing pixels of an array, in the attributes, or where xarray puts them.

    In format 2, xarray declares `_FillValue` by the fill value of the array. Elsewhere this is only the value of chunks
    that were not written, most often 0, which is never taken from there.
    """
    attributes: Any = array.attrs.asdict()
    dtype = np.dtype(array.dtype)
    if array.metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in attributes and array.fill_value:
        attributes = {"_FillValue": np.asarray(array.fill_value).item(), **attributes}
    encoded = attributes.get("_FillValue")
    decoded = _decode(encoded) if isinstance(encoded, str) else None
    return fill_values_in_attributes(attributes if decoded is None else {**attributes, "_FillValue": decoded}, dtype)


def _decode(text: str) -> float | None:
    """Return the float64 that xarray stores as base64 in format 3; None for other text."""
    try:
        return float(struct.unpack("<d", base64.b64decode(text, validate=True))[0])
    except (binascii.Error, struct.error):
        return None


def packing_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `ImageMetadata.value_calibration` of packed pixels; {} if they are not packed."""
    slope, offset = (_number(attributes.get(key), default) for key, default in (("scale_factor", 1), ("add_offset", 0)))
    if (slope, offset) == (1.0, 0.0):
        return {}
    return value_calibration(STRAIGHT_LINE, [offset, slope], str(attributes.get("units") or ""))


def _number(value: object, default: float) -> float:
    """Return a finite number; the default for anything else."""
    valid = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
    return float(value) if valid else float(default)  # type: ignore[arg-type]
