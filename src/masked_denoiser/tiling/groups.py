"""Groups of tiles: the units of writing, of the journal and of distribution to workers.

A group is a rectangle of tiles. Groups do not overlap; a group that covers a shard of the output is its only writer.
Within a group, consecutive tiles of equal shape are denoised as one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import overload

from masked_denoiser.tiling.plan import Plan, Span, Tile


@dataclass(frozen=True)
class Group:
    """Rectangle of tiles.

    Attributes:
        number: index among the groups of the plane, in row-major order.
        rows, columns: indices of its tiles in the grid of the plan.
        plan: plan of the tiles.
    """

    number: int
    rows: range
    columns: range
    plan: Plan

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """Tiles in row-major order."""
        return tuple(self.plan[row * self.plan.grid[1] + column] for row, column in product(self.rows, self.columns))

    @property
    def core(self) -> tuple[Span, Span]:
        """Rows and columns of the pixels that are written."""
        spans = zip((self.rows, self.columns), self.plan.size, strict=True)
        tile = self.plan.tile
        rows, columns = (Span(indices.start * tile, min(indices.stop * tile, side)) for indices, side in spans)
        return rows, columns

    @property
    def area(self) -> int:
        """Number of pixels that are written."""
        return len(self.core[0]) * len(self.core[1])

    def within(self, rows: range, columns: range) -> Group:
        """Return the part of the group within these rows and columns of tiles, which may be empty."""
        return Group(self.number, _intersection(self.rows, rows), _intersection(self.columns, columns), self.plan)


def _intersection(first: range, second: range) -> range:
    """Return the intersection of two ranges."""
    start = max(first.start, second.start)
    return range(start, max(start, min(first.stop, second.stop)))


@dataclass(frozen=True)
class TileGroups(Sequence[Group]):
    """Groups of a plane, as a lazy sequence.

    Attributes:
        plan: tiles of the plane.
        sides: number of rows and columns of tiles in a group; groups at the border may be smaller.
    """

    plan: Plan
    sides: tuple[int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """Number of rows and columns of groups."""
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
            raise IndexError(f"group {number} is out of range; the plane has {len(self)} groups")
        return self._group(number % len(self))

    def __iter__(self) -> Iterator[Group]:
        return (self._group(i) for i in range(len(self)))

    def _group(self, number: int) -> Group:
        indices = divmod(number, self.grid[1])
        spans = zip(indices, self.sides, self.plan.grid, strict=True)
        rows, columns = (range(index * side, min((index + 1) * side, tiles)) for index, side, tiles in spans)
        return Group(number, rows, columns, self.plan)


def batches(tiles: Iterable[Tile], size: int) -> Iterator[tuple[Tile, ...]]:
    """Yield batches of at most `size` consecutive tiles of equal shape.

    The batches depend on the tiles only, so that a resumed job has the same batches and the same rounding.
    """
    batch: list[Tile] = []
    for tile in tiles:
        if batch and (len(batch) == size or tile.shape != batch[0].shape or _read_size(tile) != _read_size(batch[0])):
            yield tuple(batch)
            batch = []
        batch.append(tile)
    if batch:
        yield tuple(batch)


def _read_size(tile: Tile) -> tuple[int, int]:
    """Return the height and width that are read, before padding by reflection."""
    return len(tile.read[0]), len(tile.read[1])
