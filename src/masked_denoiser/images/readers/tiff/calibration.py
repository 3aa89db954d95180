"""What the metadata of a TIFF say beyond its shape, and parsing of the unvalidated values in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any
from xml.etree import ElementTree


@dataclass(frozen=True)
class Calibration:
    """Metadata of the full-resolution pixels.

    Attributes:
        steps, units: pixel sizes and their units by axis letter.
        channel_names, channel_colours, windows, value_calibration: as in `ImageMetadata`.
        offset: to add to the stored pixels, which are uint16, to get the true ones, which are int16; 0 for none.
        notes: what is not kept, in sentences for the user.
        origin: as in `Source`.
    """

    steps: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    channel_colours: tuple[str, ...] = ()
    windows: tuple[tuple[float, float], ...] = ()
    value_calibration: Mapping[str, Any] = field(default_factory=dict)
    offset: int = 0
    notes: tuple[str, ...] = ()
    origin: dict[str, float] = field(default_factory=dict)


def in_micrometers(**steps: float) -> Calibration:
    """Return the calibration of pixel sizes in micrometers; 0 stands for an unknown one, without which none is known.

    Sizes along Y and X belong together; one along Z or a time in seconds along T may be missing.
    """
    if not (steps.get("Y") and steps.get("X")):
        return Calibration()
    known = {axis: step for axis, step in steps.items() if step}
    return Calibration(known, {axis: "second" if axis == "T" else "micrometer" for axis in known})


def positive(value: Any) -> float:
    """Return a positive finite number, or text that is one; 0 for anything else."""
    try:
        number = float(value or 0)
    except (TypeError, ValueError):
        return 0.0
    return number if 0 < number < float("inf") else 0.0


def number_of(value: Any) -> float:
    """Return a finite number in unvalidated metadata; 0 for anything else."""
    return float(value) if isinstance(value, int | float) and isfinite(value) else 0.0


def parse_xml(xml: str) -> ElementTree.Element:
    """Return the root of an XML document.

    Raises:
        ValueError: if it is broken.
    """
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise ValueError(f"its XML is broken: {error}") from error
