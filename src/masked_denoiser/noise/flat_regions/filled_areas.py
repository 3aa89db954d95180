"""Areas that were filled with an intensity that occurs in the image, such as its median: they do not show its noise.

Fill values that are distant from the intensities are known before, and missing from every measurement.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_opening

#: Side in pixels of squares of one value, and the least number of them that have the same value.
_SIDE, _MIN_SQUARES = 16, 4

#: Largest share of the other squares that have one value, too: those of weak noise have different ones.
_MAX_OTHERS = 0.05

#: Distance in pixels from filled areas up to which residuals depend on them.
_REACH = 3


def filled_masks(tiles: Sequence[NDArray[np.floating]]) -> list[NDArray[np.bool_] | None]:
    """Return masks of the filled areas of tiles and what is next to them; None for tiles without any.

    Args:
        tiles: [H, W] each, of one channel.
    """
    value = _filled_value(tiles)
    return [None if value is None else _mask_of(tile, value) for tile in tiles]


def _filled_value(tiles: Sequence[NDArray[np.floating]]) -> float | None:
    squares = [_squares(tile) for tile in tiles]
    lowest, highest = (np.concatenate([end(square, axis=1) for square in squares]) for end in (np.min, np.max))
    constant = lowest == highest
    values, counts = np.unique(lowest[constant], return_counts=True)
    if not counts.size or counts.max() < _MIN_SQUARES:
        return None
    others = int(constant.sum() - counts.max())
    value = float(values[int(counts.argmax())])
    is_clipped = value in (float(lowest.min()), float(highest.max()))  # which noise may be, too
    return None if is_clipped or others > _MAX_OTHERS * (constant.size - int(counts.max())) else value


def _squares(tile: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the squares of a tile, [count, pixels]."""
    rows, columns = (side // _SIDE for side in tile.shape)
    squares = tile[: rows * _SIDE, : columns * _SIDE].reshape(rows, _SIDE, columns, _SIDE)
    return squares.swapaxes(1, 2).reshape(rows * columns, _SIDE**2)


def _mask_of(tile: NDArray[np.floating], value: float) -> NDArray[np.bool_] | None:
    solid = binary_opening(tile == value, np.ones((5, 5)))
    return np.asarray(binary_dilation(solid, np.ones((3, 3)), iterations=_REACH)) if solid.any() else None
