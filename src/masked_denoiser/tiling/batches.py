"""Groups of tiles that go through the network together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from masked_denoiser.tiling.plan import Tile


def batches(plan: Iterable[Tile], size: int) -> Iterator[tuple[Tile, ...]]:
    """Consecutive tiles of one shape, at most `size` together.

    A pure function of the plan: a resumed job forms the same groups, and so the same rounding.
    """
    group: list[Tile] = []
    for tile in plan:
        if group and (len(group) == size or tile.shape != group[0].shape or _reads(tile) != _reads(group[0])):
            yield tuple(group)
            group = []
        group.append(tile)
    if group:
        yield tuple(group)


def _reads(tile: Tile) -> tuple[int, int]:
    """Height and width that are read, before reflection."""
    return len(tile.read[0]), len(tile.read[1])
