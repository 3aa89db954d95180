"""Metadata of ImageJ: pixel sizes, contrast windows, lookup tables, and the calibration of values.

The description and the tag IJMetadata are those that `ij.io.FileSaver` and `ij.io.TiffEncoder` of ImageJ write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np

from masked_denoiser.images.metadata.units import unit_name
from masked_denoiser.images.metadata.value_calibration import STRAIGHT_LINE, calibration_notes, value_calibration
from masked_denoiser.images.readers.tiff.calibration import Calibration, number_of
from masked_denoiser.images.readers.tiff.palette import hex_colour, is_ramp

#: Numbers of `ij.measure.Calibration` that declare no function with coefficients.
_STRAIGHT_LINE, _NONE = 0, 20
_FUNCTIONS = (
    STRAIGHT_LINE, "polynomial of degree 2", "polynomial of degree 3", "polynomial of degree 4", "exponential",
    "power", "logarithm", "Rodbard", "gamma variate", "logarithm (a - b ln(x - c))", "Rodbard (inverse)",
    "exponential with offset", "Gaussian", "exponential recovery",
)  # fmt: skip
_OTHER_FUNCTIONS = {21: "uncalibrated optical density", 22: "custom"}
_SIGNED_OFFSET = -32768
_MIN_IS_WHITE = "ImageJ shows it with an inverted lookup table (0 is white), which is not kept"


def read_imagej(
    metadata: Mapping[str, Any],
    resolution: tuple[float, float],
    dtype: np.dtype[Any],
    colormap: Any = None,
    *,
    min_is_white: bool = False,
) -> Calibration:
    """Return the calibration of an ImageJ file.

    Args:
        metadata: from tifffile, unvalidated.
        resolution: pixels per unit along X and Y.
        dtype: of the stored pixels.
        colormap: lookup table of the only channel, [3, 256] uint16, or None.
        min_is_white: whether the file is shown inverted.
    """
    steps, units = _pixel_sizes(metadata, *resolution)
    offset, stored, value_notes = _values(metadata, dtype)
    colours, colour_notes = _channel_colours(metadata, colormap)
    notes = (*value_notes, *colour_notes, *([_MIN_IS_WHITE] if min_is_white else []))
    windows = tuple((low + offset, high + offset) for low, high in _windows(metadata))
    origin = {a: -number_of(metadata.get(f"{a.lower()}origin")) * steps[a] for a in "ZYX" if a in steps}
    found = Calibration(steps, units, channel_colours=colours, windows=windows, origin=origin)
    return replace(found, value_calibration=stored, offset=offset, notes=notes)


def _pixel_sizes(
    metadata: Mapping[str, Any], x_per_unit: float, y_per_unit: float
) -> tuple[dict[str, float], dict[str, str]]:
    unit = unit_name(metadata.get("unit"))
    steps, units = {}, {}
    if unit:
        sizes = {"X": _inverse(x_per_unit), "Y": _inverse(y_per_unit), "Z": abs(number_of(metadata.get("spacing")))}
        steps = {a: step for a, step in sizes.items() if step}
        # ImageJ stores units of Y and Z only if they differ from that of X.
        units = {a: unit_name(metadata.get(f"{a.lower()}unit")) or unit for a in steps}
    if interval := number_of(metadata.get("finterval")):
        steps["T"], units["T"] = interval, unit_name(metadata.get("tunit")) or "second"
    return steps, units


def _values(metadata: Mapping[str, Any], dtype: np.dtype[Any]) -> tuple[int, dict[str, Any], tuple[str, ...]]:
    """Return the offset of signed pixels, the calibration to store with an output, and a note if it is not applied."""
    function, coefficients = _function(metadata)
    unit = str(metadata.get("vunit") or "")
    if function is None:
        return 0, {}, ()
    signed = (function, coefficients) == (_STRAIGHT_LINE, [float(_SIGNED_OFFSET), 1.0])
    offset = _SIGNED_OFFSET if signed and dtype == np.uint16 else 0
    # After adding the offset, or if the file has signed pixels already, the values are the true ones.
    coefficients = [0.0, 1.0] if signed and dtype in (np.uint16, np.int16) else coefficients
    stored = value_calibration(_name(function), coefficients, unit)
    if notes := calibration_notes(stored):
        return offset, stored, notes
    return offset, stored if unit and unit.lower() != "gray value" else {}, ()


def _function(metadata: Mapping[str, Any]) -> tuple[int | None, list[float]]:
    """Return the number of the calibration function, None if there is none, and its coefficients up to the last."""
    coefficients = [number_of(metadata.get(f"c{i}")) for i in range(5)]
    while coefficients and not coefficients[-1]:
        del coefficients[-1]
    function = metadata.get("cf", _STRAIGHT_LINE if coefficients else _NONE)
    declared = isinstance(function, int) and function != _NONE and (coefficients or function in _OTHER_FUNCTIONS)
    return (int(function) if declared else None), coefficients


def _name(function: int) -> str:
    named = dict(enumerate(_FUNCTIONS)) | _OTHER_FUNCTIONS
    return named.get(function, f"function {function} of ImageJ")


def _windows(metadata: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    """Return the contrast window of each channel; () if one is missing or empty."""
    channels = int(number_of(metadata.get("channels"))) or 1
    ranges = metadata.get("Ranges")
    if not isinstance(ranges, tuple | list):
        ranges = (metadata.get("min"), metadata.get("max"))
    ends = [float(end) for end in ranges if isinstance(end, int | float) and isfinite(end)]
    windows = tuple(zip(ends[::2], ends[1::2], strict=False))
    fitting = len(ends) == 2 * channels == len(ranges)
    return windows if fitting and all(low < high for low, high in windows) else ()


def _channel_colours(metadata: Mapping[str, Any], colormap: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the colour of each channel, and a note if a lookup table is more than a ramp from black to a colour."""
    tables = _tables(metadata.get("LUTs"))
    if not tables and isinstance(colormap, np.ndarray) and colormap.shape == (3, 256):
        tables = [(colormap >> 8 if colormap.max() > 255 else colormap).astype(np.uint8)]
    lost = [number for number, table in enumerate(tables) if not is_ramp(table)]
    colours = tuple(_end_of(table) for table in tables)
    if not lost:
        return colours, ()
    of = f" of channels {', '.join(map(str, lost))}" if len(tables) > 1 else ""
    return colours, (f"the lookup table of ImageJ{of} is not kept, only the colour of its end",)


def _tables(value: Any) -> list[np.ndarray[Any, Any]]:
    tables = value if isinstance(value, Sequence) else [value]
    valid = all(isinstance(table, np.ndarray) and table.shape == (3, 256) for table in tables)
    return list(tables) if valid else []


def _end_of(table: np.ndarray[Any, Any]) -> str:
    """Return the last colour of a lookup table, or the first one of an inverted one, which ends in black."""
    ends = (hex_colour(table[:, -1]), hex_colour(table[:, 0]))
    return next((colour for colour in ends if colour != "000000"), "FFFFFF")


def _inverse(number: float) -> float:
    return 1 / number if number else 0.0
