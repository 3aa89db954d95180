"""Palettes (colour maps): whether they show intensities, and how other ones become colour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.converted import Conversion

Array = np.ndarray[Any, Any]

#: Steps of 8-bit samples that an entry may deviate from a straight ramp, as programs round differently.
_TOLERANCE = 1


@dataclass(frozen=True)
class Palette:
    """How indices into a palette become pixels.

    Attributes:
        conversion: to gray values or to red, green, blue; None if the indices are intensities.
        colour: six hex digits of the brightest intensity; "" for gray and for colour images.
        note: for the user; "" if the image is as usual.
    """

    conversion: Conversion | None = None
    colour: str = ""
    note: str = ""


def read_palette(table: Any, bits: int, dtype: np.dtype[Any], path: Path) -> Palette:
    """Return how the indices of a palette image become pixels.

    A straight gray ramp, and one from black to a colour, are intensities; another gray palette is applied, and any
    other one is converted to RGB. The result is uint8, or uint16 if 8 bits cannot hold the entries.

    Args:
        table: value of the tag ColorMap: [3, entries], uint16 of which 65535 is the brightest.
        bits: of an index.
        dtype: of an index: bool, uint8 or uint16.
        path: for errors.

    Raises:
        ImageError: if the palette is missing, broken, or shorter than the indices need.
    """
    entries = table.shape[-1] if isinstance(table, np.ndarray) and table.shape[:1] == (3,) else 0
    if dtype.kind not in "bu" or dtype.itemsize > 2 or entries < 2**bits:
        raise ImageError(
            f"{path}: its palette has {entries} colours, and its indices are {bits}-bit {dtype}; export it as RGB"
        )
    colours = _reduced(table[:, : 2**bits])
    if is_ramp(colours):
        if (colours[:, -1] == colours[0, -1]).all():
            return Palette()
        colour = hex_colour(colours[:, -1])
        return Palette(colour=colour, note=f"its palette is a ramp from black to {colour}: it is read as intensities")
    if (colours == colours[0]).all():
        gray = colours[0]
        return Palette(_look_up(gray, None), note="its gray palette was applied to the pixels")
    note = f"its palette of {2**bits} colours was converted to RGB"
    return Palette(_look_up(np.ascontiguousarray(colours.T), 3), note=note)


def is_ramp(colours: Array) -> bool:
    """Return whether colours, [3, entries] of uint8 or uint16, rise in a straight line from black to another one."""
    full = int(np.iinfo(colours.dtype).max)
    last = colours[:, -1:].astype(float)
    straight = last * np.linspace(0, 1, colours.shape[1])
    deviation = np.abs(colours.astype(float) - straight).max() * 255 / full
    gray = (last == last[0]).all()
    # A gray ramp that ends before white must be applied, as its values differ from the indices.
    complete = last.min() > full * (1 - _TOLERANCE / 254) if gray else last.max() > 0
    return bool(deviation <= _TOLERANCE and complete)


def hex_colour(colour: Array) -> str:
    """Return six hex digits of a colour, [3] of uint8 or uint16."""
    shift = 8 * (colour.dtype.itemsize - 1)
    return "".join(f"{int(value) >> shift:02X}" for value in colour)


def _reduced(table: Array) -> Array:
    """Return a table in uint8 if it holds 8-bit colours, multiplied by 257, 256 or 1; else in uint16."""
    for divisor in (257, 256, 1):
        if (table % divisor == 0).all() and table.max() // divisor <= 255:
            return (table // divisor).astype(np.uint8)
    return table.astype(np.uint16)


def _look_up(table: Array, samples: int | None) -> Conversion:
    """Return the conversion to entries of a table: [entries], or [entries, samples]."""
    return Conversion(lambda indices: table[indices.astype(np.intp)], table.dtype, samples=samples)
