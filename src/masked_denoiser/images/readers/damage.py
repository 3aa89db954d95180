"""Reading around damage: what can be decoded of a place of an image, and where nothing could."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from masked_denoiser.errors import DamagedError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source

Pixels = np.ndarray[Any, Any]

#: Squares of this side that cannot be read are given up; larger ones are tried in quarters.
_SMALLEST = 32


class Interval(Protocol):
    """Half-open: from `start` to before `stop`."""

    @property
    def start(self) -> int:
        """First pixel."""
        ...

    @property
    def stop(self) -> int:
        """The one after the last."""
        ...


@dataclass(frozen=True)
class DamagedRegion:
    """A rectangle of a plane that cannot be read.

    Attributes:
        index: of the plane along the other axes, as (letter, position).
        rows, columns: first pixel, and the one after the last.
    """

    index: tuple[tuple[str, int], ...]
    rows: tuple[int, int]
    columns: tuple[int, int]

    def within(self, rows: Interval, columns: Interval) -> Iterator[DamagedRegion]:
        """The part of it in a rectangle; none if it lies outside."""
        top, bottom = max(self.rows[0], rows.start), min(self.rows[1], rows.stop)
        left, right = max(self.columns[0], columns.start), min(self.columns[1], columns.stop)
        if top < bottom and left < right:
            yield DamagedRegion(self.index, (top, bottom), (left, right))

    def __str__(self) -> str:
        at = "".join(f", {letter} {position}" for letter, position in self.index)
        return f"rows {self.rows[0]} to {self.rows[1]}, columns {self.columns[0]} to {self.columns[1]}{at}"


class ZeroFillingSource(Source):
    """A source that reads zeros where it is damaged."""

    def read(self, plane: Plane, ys: slice, xs: slice) -> Pixels:
        """As `Source.read`, without its DamagedError."""
        return read_around(self, plane, ys, xs)[0]


def zero_fill_damage(source: Source) -> ZeroFillingSource:
    """The same image, which reads zeros where it is damaged; close either of the two."""
    values = {field.name: getattr(source, field.name) for field in fields(source)}
    if source.context is not None:
        values["context"] = zero_fill_damage(source.context)
    return ZeroFillingSource(**values)


def read_around(source: Source, plane: Plane, ys: slice, xs: slice) -> tuple[Pixels, tuple[DamagedRegion, ...]]:
    """A rectangle of a plane as [channels, height, width], zero where it cannot be decoded, and those places.

    Raises:
        ImageError: if the file cannot be reached any more: that is no damage, and nothing is to be passed through.
    """
    ys, xs = (slice(span.start, min(span.stop, side)) for span, side in zip((ys, xs), source.size_yx, strict=True))
    try:
        return Source.read(source, plane, ys, xs), ()
    except DamagedError:
        return _quarters(source, plane, ys, xs)


def _quarters(source: Source, plane: Plane, ys: slice, xs: slice) -> tuple[Pixels, tuple[DamagedRegion, ...]]:
    out = np.zeros((plane.channels, ys.stop - ys.start, xs.stop - xs.start), source.dtype)
    halves = [_halved(span) for span in (ys, xs)]
    if len(halves[0]) == len(halves[1]) == 1:
        return out, (DamagedRegion(plane.index, (ys.start, ys.stop), (xs.start, xs.stop)),)
    places: list[DamagedRegion] = []
    for rows in halves[0]:
        for columns in halves[1]:
            pixels, bad = read_around(source, plane, rows, columns)
            out[:, rows.start - ys.start : rows.stop - ys.start, columns.start - xs.start : columns.stop - xs.start] = (
                pixels
            )
            places += bad
    return out, _joined(places)


def _halved(span: slice) -> list[slice]:
    """Cut at a multiple of the smallest side, where chunks of files are likely to end; whole if it is small."""
    middle = (span.start + span.stop) // 2 // _SMALLEST * _SMALLEST
    if middle <= span.start:
        middle += _SMALLEST
    return [span] if middle >= span.stop else [slice(span.start, middle), slice(middle, span.stop)]


def _joined(places: list[DamagedRegion]) -> tuple[DamagedRegion, ...]:
    """Places that touch along a whole side as one."""
    for axis in ("rows", "columns"):
        other = "columns" if axis == "rows" else "rows"
        kept: list[DamagedRegion] = []
        for place in sorted(places, key=lambda p: (getattr(p, other), getattr(p, axis))):
            last = kept[-1] if kept else None
            touching = last is not None and getattr(last, axis)[1] == getattr(place, axis)[0]
            if last is not None and touching and getattr(last, other) == getattr(place, other):
                spans = {axis: (getattr(last, axis)[0], getattr(place, axis)[1]), other: getattr(place, other)}
                kept[-1] = DamagedRegion(place.index, spans["rows"], spans["columns"])
            else:
                kept.append(place)
        places = kept
    return tuple(places)
