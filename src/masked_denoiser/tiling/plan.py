"""Plan of a plane: its tiles, in the order in which they are denoised.

A tile along one axis, on the window grid of the whole image:

        read.start   core.start          core.stop   read.stop
    ....|-- halo ----|======= core =======|-- halo ---|....
        ^ a multiple of the window        ^ written: [core.start, core.stop)

The halo ends at the border of the image. Only if the height or width of the image is not a multiple
of the window, `pad` rows or columns are added by reflection at the bottom and the right, exactly as
for the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from masked_denoiser.errors import PlanError

#: Least side of output chunks in pixels, a multiple of 16, unless the tile is smaller.
_SMALLEST_CHUNK = 128


@dataclass(frozen=True)
class Span:
    """Half-open interval of pixels along an axis."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def index(self) -> slice:
        """Slice of the same pixels."""
        return slice(self.start, self.stop)

    def inside(self, outer: Span) -> slice:
        """Return the slice of this span in an array that covers `outer`."""
        return slice(self.start - outer.start, self.stop - outer.start)


@dataclass(frozen=True)
class Tile:
    """Rectangle that is denoised together.

    Attributes:
        number: index in the plan, in row-major order.
        core: rows and columns that are written.
        read: rows and columns that are read: the core and its halo, within the image.
        pad: rows at the bottom and columns at the right that are added by reflection to complete the last windows.
    """

    number: int
    core: tuple[Span, Span]
    read: tuple[Span, Span]
    pad: tuple[int, int]

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the first pixel read, a point of the window grid."""
        return self.read[0].start, self.read[1].start

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the input of the network."""
        return len(self.read[0]) + self.pad[0], len(self.read[1]) + self.pad[1]

    @property
    def core_in_read(self) -> tuple[slice, slice]:
        """Slices of the core in the pixels that are read."""
        return self.core[0].inside(self.read[0]), self.core[1].inside(self.read[1])


@dataclass(frozen=True)
class Plan(Sequence[Tile]):
    """Tiles of a plane, as a lazy sequence that takes no memory.

    Attributes:
        size: height and width of the plane.
        tile: side of a core, a multiple of `window`.
        halo: pixels of context on each side of a core, a multiple of `window`.
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
        """Number of rows and columns of tiles."""
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
            raise IndexError(f"tile {number} is out of range; the plan has {len(self)} tiles")
        return self._tile(number % len(self))

    def __iter__(self) -> Iterator[Tile]:
        return (self._tile(i) for i in range(len(self)))

    def rectangle(self, rows: Span, columns: Span) -> Tile:
        """Return a tile with another core than those of the plan, numbered 0.

        Raises:
            PlanError: if the core does not begin on the window grid, or is not inside the image.
        """
        for span, side in zip((rows, columns), self.size, strict=True):
            if span.start % self.window or not 0 <= span.start < span.stop <= side:
                raise PlanError(
                    f"rows or columns {span.start} to {span.stop} of {side} are not a tile: it begins at a multiple of "
                    f"{self.window} and ends inside the image"
                )
        return self._from_core(0, (rows, columns))

    def _tile(self, number: int) -> Tile:
        starts = (index * self.tile for index in divmod(number, self.grid[1]))
        rows, columns = (
            Span(start, min(start + self.tile, side)) for start, side in zip(starts, self.size, strict=True)
        )
        return self._from_core(number, (rows, columns))

    def _from_core(self, number: int, core: tuple[Span, Span]) -> Tile:
        rows, columns = (self._read_span(span, side) for span, side in zip(core, self.size, strict=True))
        return Tile(number, core, (rows[0], columns[0]), (rows[1], columns[1]))

    def _read_span(self, core: Span, side: int) -> tuple[Span, int]:
        """Return what is read for a core along an axis of the image, and the padding."""
        # A core shorter than a window needs the pixels of the previous window for reflection.
        leading_halo = max(self.halo, self.window) if len(core) < self.window else self.halo
        read = Span(max(0, core.start - leading_halo), min(core.stop + self.halo, side))
        return read, -len(read) % self.window


def chunk_side(tile: int, largest: int = 512) -> int:
    """Return the side of output chunks for a tile: its largest divisor up to `largest` that is valid in TIFF.

    Cores then end on chunk borders, so that no two tiles write the same chunk. Sides are multiples of 16 if the
    side of the tile is, as TIFF requires. A tile without such a divisor of at least `_SMALLEST_CHUNK` is one chunk, as
    small chunks are many files.
    """
    divisors = [side for side in range(_SMALLEST_CHUNK, min(tile, largest) + 1, 16) if tile % side == 0]
    return divisors[-1] if divisors else tile
