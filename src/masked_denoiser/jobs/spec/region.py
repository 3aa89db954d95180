"""A part of a job: one position of a stack, or all, and of its planes the tiles in a rectangle.

Its tiles, intensity ranges and attention masks are those of the whole job, and so are its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from masked_denoiser.images.planes import Plane
from masked_denoiser.tiling.plan import Plan, Span, Tile


@dataclass(frozen=True)
class Region:
    """Which part of a job to do.

    Attributes:
        position: where along the axes beside Y and X, as (letter, position); 0 for letters left out.
        rows, columns: the rectangle, within the image and not empty.
        whole: the letters along which all positions are done.
    """

    position: tuple[tuple[str, int], ...]
    rows: Span
    columns: Span
    whole: str = ""

    @property
    def kept(self) -> str:
        """The letters of axes beside Y and X that keep their length."""
        return f"{self.whole}S"

    def holds(self, plane: Plane) -> bool:
        """Whether a plane is at this position; of colours denoised one by one, all are."""
        position = dict(self.position)
        return all(letter in self.kept or position.get(letter, 0) == at for letter, at in plane.index)

    def tiles(self, plan: Plan) -> list[Tile]:
        """The tiles whose cores touch the rectangle, in the order of the plan."""
        rows, columns = self.places(plan)
        return [plan[row * plan.grid[1] + column] for row, column in product(rows, columns)]

    def places(self, plan: Plan) -> tuple[range, range]:
        """Rows and columns of the tiles whose cores touch the rectangle."""
        return _places(self.rows, plan.tile), _places(self.columns, plan.tile)

    def snapped(self, tile: int, size: tuple[int, int]) -> Region:
        """The region grown to whole tiles of this side, within an image of this size."""
        rows, columns = (_snap(span, tile, side) for span, side in zip((self.rows, self.columns), size, strict=True))
        return replace(self, rows=rows, columns=columns)


def _places(span: Span, tile: int) -> range:
    """Rows or columns of tiles that a span of pixels touches."""
    return range(span.start // tile, -(-span.stop // tile))


def _snap(span: Span, tile: int, side: int) -> Span:
    places = _places(span, tile)
    return Span(places.start * tile, min(places.stop * tile, side))
