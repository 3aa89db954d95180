"""Pixel size, origin and units from coordinates along the axes, as xarray and netCDF have them.

Units are in the attribute `units` of a coordinate (https://cfconventions.org).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from masked_denoiser.images.metadata.units import unit_name

#: Largest deviation of a coordinate from a regular one, in steps: times of a camera vary that much.
_MAX_DEVIATION = 0.01

_CALIBRATED_AXES = "TZYX"


@dataclass(frozen=True, eq=False)
class Coordinate:
    """Positions along an axis.

    Attributes:
        letter: of the axis.
        values: one for each pixel, of any dtype.
        attributes: metadata, such as `units`.
    """

    letter: str
    values: np.ndarray[Any, Any]
    attributes: Mapping[str, Any]


@dataclass
class Calibration:
    """What coordinates say of an image; the fields are those of a source."""

    pixel_size: dict[str, float] = field(default_factory=dict)
    origin: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        """Return the arguments of a `ReaderResult` of one level, except its notes."""
        return {
            "pixel_sizes": (self.pixel_size,),
            "origins": (self.origin,),
            "units": self.units,
            "channel_names": self.channel_names,
        }


def calibrate(coordinates: Iterable[Coordinate], name: str) -> Calibration:
    """Return the calibration of an image with these coordinates; its notes name axes without a regular step.

    A step of 1 without a unit counts pixels, so that the pixel size is unknown. Dates have no origin.
    """
    calibration = Calibration()
    for each in coordinates:
        if each.letter == "C" and each.values.dtype.kind in "UTO":
            calibration.channel_names = tuple(map(str, each.values))
        elif each.letter in _CALIBRATED_AXES and each.values.size > 1:
            _add_axis(calibration, each, name)
    return calibration


def _add_axis(calibration: Calibration, each: Coordinate, name: str) -> None:
    letter, values = each.letter, _numbers(each.values)
    step = _regular_step(values, each.values.dtype)
    if not step:
        calibration.notes += (f"the coordinates of {letter} of {name} are irregular: its pixel size is unknown",)
        return
    unit, _, since = str(each.attributes.get("units", each.attributes.get("unit", ""))).partition(" since ")
    unit = "second" if each.values.dtype.kind in "mM" else unit_name("" if unit == "1" else unit)
    if step < 0:
        calibration.notes += (f"the coordinates of {letter} of {name} decrease: its origin is unknown",)
    elif not since and each.values.dtype.kind != "M":
        calibration.origin[letter] = float(values[0])
    if unit or step != 1:
        calibration.pixel_size[letter] = abs(step)
        calibration.units[letter] = unit


def _numbers(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return float64 numbers, seconds for dates and durations; NaN for anything but numbers."""
    if values.dtype.kind in "mM":
        start = values[0] if values.dtype.kind == "M" else np.timedelta64(0, "s")
        return np.asarray((values - start) / np.timedelta64(1, "s"), dtype=np.float64)
    if values.dtype.kind not in "iuf":
        return np.full(values.shape, np.nan)
    return values.astype(np.float64)


def _regular_step(values: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> float:
    """Return the step between positions, negative if they decrease; 0 if it varies, or is not a number."""
    step = (values[-1] - values[0]) / (values.size - 1)
    if not np.isfinite(values).all() or not np.isfinite(step):
        return 0.0
    rounding = 2 * float(np.spacing(np.abs(values).max().astype(dtype))) if dtype.kind == "f" else 0.0
    deviation = np.abs(values - (values[0] + step * np.arange(values.size))).max()
    return float(step) if deviation <= _MAX_DEVIATION * abs(step) + rounding else 0.0
