"""The plan of a plane: tiles in the order they are denoised.

One tile, along one axis; the grid is that of the windows of the whole image:

        read.start   core.start          core.stop   read.stop
    ....|-- halo ----|======= core =======|-- halo ---|....
        ^ a multiple of the window        ^ written: [core.start, core.stop)

At a border of the image the halo ends where the image ends. Only where the image's height or width
is not a multiple of the window are pixels made up: `pad` rows or columns, reflected at the bottom
and the right, exactly as for the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from masked_denoiser.errors import PlanError


@dataclass(frozen=True)
class Span:
    """Half-open interval of pixels along one axis."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def index(self) -> slice:
        """The same as an index."""
        return slice(self.start, self.stop)

    def inside(self, outer: Span) -> slice:
        """Where this span lies in an array that holds `outer`."""
        return slice(self.start - outer.start, self.stop - outer.start)


@dataclass(frozen=True)
class Tile:
    """A rectangle to denoise.

    Attributes:
        number: position in the plan, row by row.
        core: (rows, columns) that are written.
        read: (rows, columns) that are read: the core and its halo, within the image.
        pad: rows below and columns to the right that are reflected to complete the last windows.
    """

    number: int
    core: tuple[Span, Span]
    read: tuple[Span, Span]
    pad: tuple[int, int]

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the first pixel read: a point of the window grid."""
        return self.read[0].start, self.read[1].start

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width that the network sees."""
        return len(self.read[0]) + self.pad[0], len(self.read[1]) + self.pad[1]

    @property
    def core_in_read(self) -> tuple[slice, slice]:
        """Where the core lies in what is read."""
        return self.core[0].inside(self.read[0]), self.core[1].inside(self.read[1])


@dataclass(frozen=True)
class Plan(Sequence[Tile]):
    """The tiles of a plane, made one by one as they are asked for: a plan of any size costs nothing.

    Attributes:
        size: height and width of the plane.
        tile: side of a core, a multiple of `window`.
        halo: context on each side of a core, a multiple of `window`.
        window: side of an attention window.
    """

    size: tuple[int, int]
    tile: int
    halo: int
    window: int

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise PlanError(f"an image of {self.size[0]} x {self.size[1]} pixels has nothing to denoise")
        if self.tile < self.window or self.tile % self.window:
            raise PlanError(f"tile side {self.tile} is not a positive multiple of the window, {self.window}")
        if self.halo < 0 or self.halo % self.window:
            raise PlanError(f"halo {self.halo} is not a multiple of the window, {self.window}")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.size[0] // self.tile), -(-self.size[1] // self.tile)

    def __len__(self) -> int:
        return self.grid[0] * self.grid[1]

    @overload
    def __getitem__(self, number: int) -> Tile: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Tile]: ...
    def __getitem__(self, number: int | slice) -> Tile | Sequence[Tile]:
        if isinstance(number, slice):
            return [self._tile(i) for i in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"tile {number} of {len(self)}")
        return self._tile(number % len(self))

    def __iter__(self) -> Iterator[Tile]:
        return (self._tile(i) for i in range(len(self)))

    def _tile(self, number: int) -> Tile:
        places = divmod(number, self.grid[1])
        rows, cols = (self._along(place, side) for place, side in zip(places, self.size, strict=True))
        return Tile(number, (rows[0], cols[0]), (rows[1], cols[1]), (rows[2], cols[2]))

    def _along(self, place: int, side: int) -> tuple[Span, Span, int]:
        """Core, read and pad of the tile in this place along one axis of the image."""
        core = Span(place * self.tile, min((place + 1) * self.tile, side))
        # A core shorter than a window leans on the window before it: reflection needs its pixels.
        lead = max(self.halo, self.window) if len(core) < self.window else self.halo
        read = Span(max(0, core.start - lead), min(core.stop + self.halo, side))
        return core, read, -len(read) % self.window


def chunk_side(tile: int, largest: int = 512) -> int:
    """The output chunk that goes with a tile: the largest divisor up to `largest` that TIFF takes too.

    Cores then end on chunk borders, so that no two tiles ever write the same chunk. Sides are multiples of 16
    where the tile allows it, as TIFF wants.
    """
    fitting = [side for side in range(16, min(tile, largest) + 1, 16) if tile % side == 0]
    return fitting[-1] if fitting else tile
