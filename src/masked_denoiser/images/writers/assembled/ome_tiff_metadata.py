"""OME-TIFF metadata: the arguments from which tifffile writes the OME-XML of an output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from masked_denoiser.errors import ImageError
from masked_denoiser.images.metadata.units import LENGTH_SYMBOLS, TIME_SYMBOLS
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.layout import Layout

#: NumPy names of the OME pixel types that a denoised image can have.
OME_DTYPES = frozenset({"int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64"})


def check_ome_dtype(layout: Layout) -> None:
    """Raise an error for a dtype without an OME pixel type.

    Raises:
        ImageError: if OME has no pixel type for the dtype of the layout.
    """
    if layout.dtype.name not in OME_DTYPES:
        raise ImageError(f"OME-TIFF cannot hold {layout.dtype.name}: write to .ome.zarr")


def ome_metadata(source: Source, layout: Layout, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the argument `metadata` of tifffile's first `write`.

    The UUID is derived from the metadata instead of drawn at random, so that equal jobs give equal files.
    The names are those of https://www.openmicroscopy.org/Schemas/OME/2016-06/.
    """
    described = {"rgb": source.rgb, "axes": source.axes, "shape": list(source.shape), **source.own_attributes()}
    if source.origin:
        described["origin"] = dict(source.origin)  # exact, while the positions of planes are for other programs
    provenance = {**described, **attributes}
    annotation = json.dumps(provenance, sort_keys=True)
    metadata: dict[str, Any] = {
        "axes": layout.axes,
        "Name": source.name,
        "Creator": "napari-masked-denoiser",
        "UUID": str(uuid5(NAMESPACE_URL, f"{source.name} {layout.shape} {layout.dtype} {annotation}")),
        "MapAnnotation": {"Namespace": "napari-masked-denoiser", "masked_denoiser": annotation},
    }
    metadata |= _physical_sizes(source) | _time_increment(source) | {"Channel": _channels(source, layout)}
    return metadata | ({"Plane": _positions(source, layout)} if {*source.origin} & {*"XYZ"} else {})


def _physical_sizes(source: Source) -> dict[str, Any]:
    known = {axis: float(source.pixel_size[axis]) for axis in "XYZ" if axis in source.pixel_size}
    sizes: dict[str, Any] = {f"PhysicalSize{axis}": size for axis, size in known.items()}
    # OME assumes micrometres for a size without a unit, so a unit is always written.
    return sizes | {f"PhysicalSize{axis}Unit": _length_symbol(source.units.get(axis, "pixel")) for axis in known}


def _positions(source: Source, layout: Layout) -> dict[str, list[Any]]:
    """Return the position of the first pixel of each stored plane, and its unit, along X, Y and Z."""
    slices = layout.sizes.get("Z", 1)  # they follow each other, in the order TCZ
    count = prod(layout.sizes.get(axis, 1) for axis in "TCZ")
    positions: dict[str, list[Any]] = {}
    for axis in "XYZ":
        if axis in layout.axes:
            step = source.pixel_size.get("Z", 1.0) if axis == "Z" else 0.0
            start = float(source.origin.get(axis, 0.0))
            positions[f"Position{axis}"] = [start + step * (number % slices) for number in range(count)]
            positions[f"Position{axis}Unit"] = [_length_symbol(source.units.get(axis, "pixel"))] * count
    return positions


def _length_symbol(unit: str) -> str:
    """Return the symbol of a unit of length; OME calls an unknown unit "reference frame"."""
    return _unit_symbol(unit, LENGTH_SYMBOLS) or "reference frame"


def _time_increment(source: Source) -> dict[str, Any]:
    # OME has no unknown unit of time, and assumes seconds for a step without a unit.
    symbol = _unit_symbol(source.units.get("T", ""), TIME_SYMBOLS)
    if "T" not in source.pixel_size or not symbol:
        return {}
    return {"TimeIncrement": float(source.pixel_size["T"]), "TimeIncrementUnit": symbol}


def _unit_symbol(unit: str, symbols: Mapping[str, str]) -> str:
    return symbols.get(unit, unit if unit in symbols.values() else "")


def _channels(source: Source, layout: Layout) -> dict[str, Any]:
    count = layout.sizes.get("C", 1)
    names, colours = source.channel_names, source.channel_colours
    metadata = {"Name": list(names)} if len(names) == count else {}
    return metadata | ({"Color": [_colour(hex_digits) for hex_digits in colours]} if len(colours) == count else {})


def _colour(hex_digits: str) -> int:
    """Return an opaque colour as a signed 32-bit RGBA number, as in OME-XML."""
    return int.from_bytes(bytes.fromhex(f"{hex_digits}FF"), signed=True)
