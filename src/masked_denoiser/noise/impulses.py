"""Dead and hot pixels: found, and replaced by their neighbours before a network sees them.

A network takes a lone bright pixel for a star as readily as for an impulse, and one that must not harm clean images
leaves a third of the impulses of an otherwise clean image. What was *measured* to be impulses is taken out by a
switching filter in the manner of Garnett et al. (IEEE TIP 2005): their detector asks how far a pixel is from the
neighbours that are most like it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: How far away a pixel is looked at or replaced from: a neighbour, whose own neighbours say whether it is good.
REACH = 2

_RING = tuple((dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1))

Tiles = NDArray[np.float32]


def find_impulses(tiles: NDArray[Any], threshold: float | NDArray[Any]) -> NDArray[np.bool_]:
    """Samples that are farther than this from at least seven of their eight neighbours.

    One neighbour may be as far off: impulses that touch are found, too. Lines, corners and spots of two by two
    pixels have two neighbours that are like them, and stay.

    Args:
        tiles: [..., H, W]; beyond the edges their reflection counts.
        threshold: smallest distance, in the units of the tiles; one for all samples, or one for each.
    """
    nearest, second = (np.full(tiles.shape, np.inf, tiles.dtype) for _ in range(2))
    for neighbour in _neighbours(tiles):
        distance = np.abs(neighbour - tiles)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return np.asarray(second > threshold)


def find_lone_impulses(tiles: NDArray[Any], threshold: NDArray[Any]) -> NDArray[np.bool_]:
    """Samples that are above all of their eight neighbours by this, or below all: in clean texture next to none."""
    neighbours = np.stack(_neighbours(tiles))
    above, below = tiles - neighbours.max(axis=0), neighbours.min(axis=0) - tiles
    return np.asarray(np.maximum(above, below) > threshold)


def repair(tiles: Tiles, threshold: float) -> tuple[Tiles, NDArray[np.bool_]]:
    """Replaces impulses by the mean of the neighbours that are none, or of all where there is no other.

    Args:
        tiles: [..., H, W].
        threshold: as in `find_impulses`.

    Returns:
        The repaired tiles, and which samples were impulses.
    """
    gone = find_impulses(tiles, threshold)
    if not gone.any():
        return tiles, gone
    good = (~gone).astype(np.float32)
    total, count, everything = (np.zeros(tiles.shape, np.float32) for _ in range(3))
    for neighbour, weight in zip(_neighbours(tiles), _neighbours(good), strict=True):
        total += neighbour * weight
        count += weight
        everything += neighbour
    mean = np.where(count > 0, total / np.maximum(count, 1), everything / len(_RING))
    return np.where(gone, mean, tiles).astype(np.float32), gone


def _neighbours(tiles: NDArray[Any]) -> list[NDArray[Any]]:
    """The eight neighbours of every sample."""
    height, width = tiles.shape[-2:]
    edges = [(0, 0)] * (tiles.ndim - 2) + [(1, 1), (1, 1)]
    padded = np.pad(tiles, edges, mode="reflect" if min(height, width) > 1 else "edge")
    return [padded[..., dy : dy + height, dx : dx + width] for dy, dx in _RING]
