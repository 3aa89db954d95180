"""Region of a job: one position of a stack, or all, and of its planes the tiles in a rectangle.

Tiles, intensity ranges and attention masks are those of the whole job, and so are the resulting pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from masked_denoiser.images.planes import Plane
from masked_denoiser.tiling.plan import Plan, Span, Tile


@dataclass(frozen=True)
class Region:
    """Part of a job.

    Attributes:
        position: position along the axes other than Y and X, as (letter, position); 0 for letters left out.
        rows, columns: the rectangle, within the image and not empty.
        full_axes: letters of the axes along which all positions are denoised.
    """

    position: tuple[tuple[str, int], ...]
    rows: Span
    columns: Span
    full_axes: str = ""

    @property
    def kept_axes(self) -> str:
        """Letters of the axes other than Y and X that keep their length."""
        return f"{self.full_axes}S"

    def contains(self, plane: Plane) -> bool:
        """Return whether a plane is at this position; colours that are denoised separately all are."""
        position = dict(self.position)
        return all(letter in self.kept_axes or position.get(letter, 0) == at for letter, at in plane.index)

    def tiles(self, plan: Plan) -> list[Tile]:
        """Return the tiles whose cores touch the rectangle, in the order of the plan."""
        rows, columns = self.tile_ranges(plan)
        return [plan[row * plan.grid[1] + column] for row, column in product(rows, columns)]

    def tile_ranges(self, plan: Plan) -> tuple[range, range]:
        """Return the rows and columns of the tiles whose cores touch the rectangle."""
        return _tile_range(self.rows, plan.tile), _tile_range(self.columns, plan.tile)

    def expanded_to_tiles(self, tile: int, size: tuple[int, int]) -> Region:
        """Return the region expanded to whole tiles of this side, within an image of this height and width."""
        rows, columns = (_expand(span, tile, side) for span, side in zip((self.rows, self.columns), size, strict=True))
        return replace(self, rows=rows, columns=columns)


def _tile_range(span: Span, tile: int) -> range:
    """Return the rows or columns of tiles that a span of pixels touches."""
    return range(span.start // tile, -(-span.stop // tile))


def _expand(span: Span, tile: int, side: int) -> Span:
    tiles = _tile_range(span, tile)
    return Span(tiles.start * tile, min(tiles.stop * tile, side))
