"""Cells of the live view: squares of a plane that are cached, and the order in which they are denoised; pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.tiling.plan import Span

#: Smallest side of a cell in pixels.
MIN_CELL = 128

#: Position along the axes other than Y and X, as (letter, index).
Position = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class View:
    """What a canvas shows of an image.

    Attributes:
        level: number of the displayed level of the pyramid.
        position: position along the axes other than Y and X.
        rows, columns: visible pixels of this level.
    """

    level: int
    position: Position
    rows: Span
    columns: Span


def cell_side(window: int) -> int:
    """Return the side of the cells of a network whose tiles begin at multiples of a window."""
    return window * -(-MIN_CELL // window)


def visible_cells(view: View, side: int) -> tuple[range, range]:
    """Return the rows and columns of the cells that a view overlaps, for cells of this side."""
    rows, columns = (range(span.start // side, -(-span.stop // side)) for span in (view.rows, view.columns))
    return rows, columns


def next_rectangle(missing: NDArray[np.bool_], centre: tuple[float, float], most: int) -> tuple[range, range] | None:
    """Return the rectangle of missing cells to denoise next.

    It begins with the missing cell nearest to the centre and grows, towards the centre first, as long as all of its
    cells are missing: each rectangle has one halo, so that larger ones take less time per pixel.

    Args:
        missing: [rows, columns] of cells.
        centre: row and column around which to begin, in cells.
        most: largest number of cells of a rectangle.

    Returns:
        Its rows and columns; None if no cell is missing.
    """
    if not missing.any():
        return None
    ys, xs = np.nonzero(missing)
    nearest = int(np.argmin((ys + 0.5 - centre[0]) ** 2 + (xs + 0.5 - centre[1]) ** 2))
    rows = range(int(ys[nearest]), int(ys[nearest]) + 1)
    columns = range(int(xs[nearest]), int(xs[nearest]) + 1)
    while (grown := _grow(missing, rows, columns, centre, most)) is not None:
        rows, columns = grown
    return rows, columns


def _grow(
    missing: NDArray[np.bool_], rows: range, columns: range, centre: tuple[float, float], most: int
) -> tuple[range, range] | None:
    """Return a rectangle with one more row or column, or None if there is none within the limit.

    The shorter side grows first, so that the rectangle stays nearly square, and towards the centre.
    """
    candidates = [
        (range(rows.start - 1, rows.stop), columns),
        (range(rows.start, rows.stop + 1), columns),
        (rows, range(columns.start - 1, columns.stop)),
        (rows, range(columns.start, columns.stop + 1)),
    ]
    possible = [
        (abs(len(r) - len(c)), _distance(r, centre[0]) + _distance(c, centre[1]), number)
        for number, (r, c) in enumerate(candidates)
        if len(r) * len(c) <= most and _all_missing(missing, r, c)
    ]
    return candidates[min(possible)[2]] if possible else None


def _distance(cells: range, centre: float) -> float:
    return abs((cells.start + cells.stop) / 2 - centre)


def _all_missing(missing: NDArray[np.bool_], rows: range, columns: range) -> bool:
    inside = (
        rows.start >= 0 and columns.start >= 0 and rows.stop <= missing.shape[0] and columns.stop <= missing.shape[1]
    )
    return inside and bool(missing[rows.start : rows.stop, columns.start : columns.stop].all())
