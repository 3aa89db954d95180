"""Reading of damaged images: regions that cannot be decoded are located and filled with zeros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from masked_denoiser.errors import DamagedError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source

Pixels = np.ndarray[Any, Any]

#: Side in pixels up to which an unreadable rectangle is not divided further.
_MIN_SIDE = 32


class Interval(Protocol):
    """A half-open interval of pixels."""

    @property
    def start(self) -> int:
        """First pixel."""
        ...

    @property
    def stop(self) -> int:
        """End, exclusive."""
        ...


@dataclass(frozen=True)
class DamagedRegion:
    """A rectangle of a plane that cannot be read.

    Attributes:
        index: of the plane along the other axes, as (letter, position).
        rows, columns: half-open ranges (start, stop).
    """

    index: tuple[tuple[str, int], ...]
    rows: tuple[int, int]
    columns: tuple[int, int]

    def within(self, rows: Interval, columns: Interval) -> Iterator[DamagedRegion]:
        """Yield its intersection with a rectangle, if there is one."""
        top, bottom = max(self.rows[0], rows.start), min(self.rows[1], rows.stop)
        left, right = max(self.columns[0], columns.start), min(self.columns[1], columns.stop)
        if top < bottom and left < right:
            yield DamagedRegion(self.index, (top, bottom), (left, right))

    def __str__(self) -> str:
        plane = "".join(f", {letter} {position}" for letter, position in self.index)
        return f"rows {self.rows[0]} to {self.rows[1]}, columns {self.columns[0]} to {self.columns[1]}{plane}"


class ZeroFillingSource(Source):
    """A source that reads zeros in damaged regions."""

    def read(self, plane: Plane, ys: slice, xs: slice) -> Pixels:
        """Read as `Source.read`, without raising DamagedError."""
        return read_zero_filled(self, plane, ys, xs)[0]


def zero_fill_damage(source: Source) -> ZeroFillingSource:
    """Return the source with zeros in damaged regions; closing either source closes both."""
    values = {field.name: getattr(source, field.name) for field in fields(source)}
    if source.context is not None:
        values["context"] = zero_fill_damage(source.context)
    return ZeroFillingSource(**values)


def read_zero_filled(source: Source, plane: Plane, ys: slice, xs: slice) -> tuple[Pixels, tuple[DamagedRegion, ...]]:
    """Read [channels, height, width] of a plane, zero where it cannot be decoded, and return those regions, too.

    Raises:
        ImageError: if the file is no longer accessible, which is not damage.
    """
    ys, xs = (slice(span.start, min(span.stop, side)) for span, side in zip((ys, xs), source.size_yx, strict=True))
    try:
        return Source.read(source, plane, ys, xs), ()
    except DamagedError:
        return _read_quarters(source, plane, ys, xs)


def _read_quarters(source: Source, plane: Plane, ys: slice, xs: slice) -> tuple[Pixels, tuple[DamagedRegion, ...]]:
    out = np.zeros((plane.channels, ys.stop - ys.start, xs.stop - xs.start), source.dtype)
    halves = [_split(span) for span in (ys, xs)]
    if len(halves[0]) == len(halves[1]) == 1:
        return out, (DamagedRegion(plane.index, (ys.start, ys.stop), (xs.start, xs.stop)),)
    regions: list[DamagedRegion] = []
    for rows in halves[0]:
        for columns in halves[1]:
            pixels, damaged = read_zero_filled(source, plane, rows, columns)
            out[:, rows.start - ys.start : rows.stop - ys.start, columns.start - xs.start : columns.stop - xs.start] = (
                pixels
            )
            regions += damaged
    return out, _merged(regions)


def _split(span: slice) -> list[slice]:
    """Return a span split at a multiple of the minimum side, where file chunks are likely to end; whole if short."""
    middle = (span.start + span.stop) // 2 // _MIN_SIDE * _MIN_SIDE
    if middle <= span.start:
        middle += _MIN_SIDE
    return [span] if middle >= span.stop else [slice(span.start, middle), slice(middle, span.stop)]


def _merged(regions: list[DamagedRegion]) -> tuple[DamagedRegion, ...]:
    """Return the regions with those merged that share a whole side."""
    for axis in ("rows", "columns"):
        other = "columns" if axis == "rows" else "rows"
        merged: list[DamagedRegion] = []
        for region in sorted(regions, key=lambda r: (getattr(r, other), getattr(r, axis))):
            last = merged[-1] if merged else None
            touching = last is not None and getattr(last, axis)[1] == getattr(region, axis)[0]
            if last is not None and touching and getattr(last, other) == getattr(region, other):
                spans = {axis: (getattr(last, axis)[0], getattr(region, axis)[1]), other: getattr(region, other)}
                merged[-1] = DamagedRegion(region.index, spans["rows"], spans["columns"])
            else:
                merged.append(region)
        regions = merged
    return tuple(regions)
