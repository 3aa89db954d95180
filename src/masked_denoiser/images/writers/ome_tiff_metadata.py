"""OME-TIFF metadata: what tifffile needs to write the OME-XML of an output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from masked_denoiser.errors import ImageError
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.layout import Layout

#: Types of OME-XML that a denoised image can have, by numpy's names.
OME_DTYPES = frozenset({"int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64"})

_PREFIXES = {
    "yotta": "Y", "zetta": "Z", "exa": "E", "peta": "P", "tera": "T", "giga": "G", "mega": "M", "kilo": "k",
    "hecto": "h", "": "", "deci": "d", "centi": "c", "milli": "m", "micro": "µ", "nano": "n", "pico": "p",
    "femto": "f", "atto": "a", "zepto": "z", "yocto": "y",
}  # fmt: skip
_LENGTHS = {f"{word}meter": f"{sign}m" for word, sign in _PREFIXES.items()} | {
    "angstrom": "Å", "inch": "in", "foot": "ft", "yard": "yd", "mile": "mi", "parsec": "pc", "pixel": "pixel",
}  # fmt: skip
_TIMES = {f"{word}second": f"{sign}s" for word, sign in _PREFIXES.items()} | {"minute": "min", "hour": "h", "day": "d"}


def check_ome_dtype(layout: Layout) -> None:
    """Refuses what OME-XML cannot name.

    Raises:
        ImageError: if the layout's dtype has no OME pixel type.
    """
    if layout.dtype.name not in OME_DTYPES:
        raise ImageError(f"OME-TIFF cannot hold {layout.dtype.name}: write to .ome.zarr")


def ome_metadata(source: Source, layout: Layout, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The `metadata` of tifffile's first `write`.

    The UUID is made from the content of the metadata, not drawn, so that equal jobs give equal files.
    See https://www.openmicroscopy.org/Schemas/OME/2016-06/ for the names.
    """
    kept = {"rgb": source.rgb, "axes": source.axes, "shape": list(source.shape), **attributes}
    own = json.dumps(kept, sort_keys=True)
    metadata: dict[str, Any] = {
        "axes": layout.axes,
        "Name": source.name,
        "Creator": "napari-masked-denoiser",
        "UUID": str(uuid5(NAMESPACE_URL, f"{source.name} {layout.shape} {layout.dtype} {own}")),
        "MapAnnotation": {"Namespace": "napari-masked-denoiser", "masked_denoiser": own},
    }
    return metadata | _sizes(source) | _time(source) | {"Channel": _channels(source, layout)}


def _sizes(source: Source) -> dict[str, Any]:
    known = {axis: float(source.pixel_size[axis]) for axis in "XYZ" if axis in source.pixel_size}
    sizes: dict[str, Any] = {f"PhysicalSize{axis}": size for axis, size in known.items()}
    # OME takes a size without a unit for micrometres, so one must be named.
    return sizes | {f"PhysicalSize{axis}Unit": _length(source.units.get(axis, "pixel")) for axis in known}


def _length(unit: str) -> str:
    """The unit's sign; "reference frame" is what OME calls a unit that it does not know."""
    return _sign(unit, _LENGTHS) or "reference frame"


def _time(source: Source) -> dict[str, Any]:
    # OME has no unknown unit of time, and a step without unit would be taken for seconds.
    sign = _sign(source.units.get("T", ""), _TIMES)
    if "T" not in source.pixel_size or not sign:
        return {}
    return {"TimeIncrement": float(source.pixel_size["T"]), "TimeIncrementUnit": sign}


def _sign(unit: str, signs: Mapping[str, str]) -> str:
    return signs.get(unit, unit if unit in signs.values() else "")


def _channels(source: Source, layout: Layout) -> dict[str, Any]:
    count = layout.sizes.get("C", 1)
    names, colours = source.channel_names, source.channel_colours
    named = {"Name": list(names)} if len(names) == count else {}
    return named | ({"Color": [_colour(digits) for digits in colours]} if len(colours) == count else {})


def _colour(digits: str) -> int:
    """Opaque red, green, blue, alpha in a signed number of 32 bits, as OME-XML's Color is."""
    return int.from_bytes(bytes.fromhex(f"{digits}FF"), signed=True)
