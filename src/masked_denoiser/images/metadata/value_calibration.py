"""Calibrations of pixel values, as in `ImageMetadata.value_calibration`: stored with outputs, not applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

STRAIGHT_LINE = "straight line"


def value_calibration(function: str, coefficients: Sequence[float], unit: str) -> dict[str, Any]:
    """Return a calibration as JSON values.

    Args:
        function: its name, such as `STRAIGHT_LINE`, whose coefficients are the value at 0 and the slope.
        coefficients: of the function.
        unit: of the value, or "".
    """
    return {"function": function, "coefficients": list(coefficients), "unit": unit}


def stored_calibration(stored: object) -> dict[str, Any]:
    """Return a calibration that an output stored; {} for anything else."""
    values = stored if isinstance(stored, dict) else {}
    function, coefficients, unit = (values.get(key) for key in ("function", "coefficients", "unit"))
    if not (isinstance(function, str) and isinstance(coefficients, list) and isinstance(unit, str)):
        return {}
    valid = all(isinstance(c, int | float) and not isinstance(c, bool) and isfinite(c) for c in coefficients)
    return value_calibration(function, [float(c) for c in coefficients], unit) if valid else {}


def calibration_notes(calibration: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the note that a calibration is not applied; () if there is none, or it changes no value."""
    if not calibration:
        return ()
    function, coefficients, unit = (calibration[key] for key in ("function", "coefficients", "unit"))
    in_unit = f" ({unit})" if unit else ""
    if function == STRAIGHT_LINE and len(coefficients) <= 2:
        start, slope = (*coefficients, 0.0, 0.0)[:2]
        if (start, slope) == (0.0, 1.0):
            return ()
        return (f"its calibration value = {start:.10g} + {slope:.10g} x pixel{in_unit} is not applied",)
    listed = ", ".join(f"{c:.10g}" for c in coefficients) or "none"
    return (f"its calibration{in_unit} by a function ({function}; coefficients {listed}) is not applied",)
