"""Groups of tiles: what is written, recorded and handed to a worker together.

A group is a rectangle of tiles. Groups do not overlap, and one that covers a shard of the output is its only writer.
Within a group, consecutive tiles of one shape go through the network as one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import overload

from masked_denoiser.tiling.plan import Plan, Span, Tile


@dataclass(frozen=True)
class Group:
    """A rectangle of tiles.

    Attributes:
        number: position among all groups of the plane, row by row.
        rows, columns: places of its tiles in the grid of the plan.
        plan: that the tiles are of.
    """

    number: int
    rows: range
    columns: range
    plan: Plan

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """Row by row."""
        return tuple(self.plan[row * self.plan.grid[1] + column] for row, column in product(self.rows, self.columns))

    @property
    def core(self) -> tuple[Span, Span]:
        """(rows, columns) of pixels that are written."""
        spans = zip((self.rows, self.columns), self.plan.size, strict=True)
        tile = self.plan.tile
        rows, columns = (Span(places.start * tile, min(places.stop * tile, side)) for places, side in spans)
        return rows, columns

    @property
    def area(self) -> int:
        """Pixels that are written."""
        return len(self.core[0]) * len(self.core[1])

    def within(self, rows: range, columns: range) -> Group:
        """The part of the group whose tiles are at these places; it may be empty."""
        return Group(self.number, _common(self.rows, rows), _common(self.columns, columns), self.plan)


def _common(one: range, other: range) -> range:
    """What two ranges share; empty where they do not meet."""
    start = max(one.start, other.start)
    return range(start, max(start, min(one.stop, other.stop)))


@dataclass(frozen=True)
class TileGroups(Sequence[Group]):
    """The groups of a plane, made one by one as they are asked for.

    Attributes:
        plan: the tiles of the plane.
        sides: tiles along the rows and columns of a group; those at the border may be smaller.
    """

    plan: Plan
    sides: tuple[int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of groups."""
        rows, columns = (-(-tiles // side) for tiles, side in zip(self.plan.grid, self.sides, strict=True))
        return rows, columns

    def __len__(self) -> int:
        return self.grid[0] * self.grid[1]

    @overload
    def __getitem__(self, number: int) -> Group: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Group]: ...
    def __getitem__(self, number: int | slice) -> Group | Sequence[Group]:
        if isinstance(number, slice):
            return [self._group(i) for i in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"group {number} of {len(self)}")
        return self._group(number % len(self))

    def __iter__(self) -> Iterator[Group]:
        return (self._group(i) for i in range(len(self)))

    def _group(self, number: int) -> Group:
        places = divmod(number, self.grid[1])
        spans = zip(places, self.sides, self.plan.grid, strict=True)
        rows, columns = (range(place * side, min((place + 1) * side, tiles)) for place, side, tiles in spans)
        return Group(number, rows, columns, self.plan)


def batches(tiles: Iterable[Tile], size: int) -> Iterator[tuple[Tile, ...]]:
    """Consecutive tiles of one shape, at most `size` together.

    A pure function of the tiles: a resumed job forms the same batches, and so the same rounding.
    """
    batch: list[Tile] = []
    for tile in tiles:
        if batch and (len(batch) == size or tile.shape != batch[0].shape or _reads(tile) != _reads(batch[0])):
            yield tuple(batch)
            batch = []
        batch.append(tile)
    if batch:
        yield tuple(batch)


def _reads(tile: Tile) -> tuple[int, int]:
    """Height and width that are read, before reflection."""
    return len(tile.read[0]), len(tile.read[1])
