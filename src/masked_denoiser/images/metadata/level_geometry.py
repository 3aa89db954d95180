"""Geometry of pyramid levels, whose pixels are means of those of full resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np

Affine = tuple[tuple[float, ...], ...]


def level_ratio(full: int, side: int) -> float:
    """Return how many pixels of full resolution a pixel of a level spans along an axis.

    It is a whole number if the side is that of full resolution divided by one, with a remainder rounded up or down.

    Args:
        full: side of full resolution in pixels.
        side: of the level.
    """
    whole = max(1, round(full / side))
    return float(whole) if side in (full // whole, ceil(full / whole)) else full / side


def level_ratios(axes: str, full: Sequence[int], shape: Sequence[int]) -> dict[str, float]:
    """Return axis letter to `level_ratio`.

    Args:
        axes: one letter for each dimension.
        full: shape of full resolution.
        shape: of the level.
    """
    return {a: level_ratio(*sides) for a, *sides in zip(axes, full, shape, strict=True)}


def first_centre(origin: float, step: float, ratio: float) -> float:
    """Return the centre of the pixels that the first pixel of a level is the mean of.

    Args:
        origin: centre of the first pixel of full resolution.
        step: between its pixels.
        ratio: from `level_ratio`.
    """
    return origin + step * (ratio - 1) / 2


def level_affine(affine: Affine, ratios: Mapping[str, float]) -> Affine:
    """Return the affine of a level; () for an unknown one.

    Args:
        affine: of full resolution, as in `ImageMetadata`.
        ratios: from `level_ratios`; 1 for missing axes.
    """
    if not affine:
        return affine
    scale = np.array([ratios.get(axis, 1.0) for axis in "XYZ"])
    matrix = np.array(affine, dtype=np.float64)
    matrix[:3, 3] += matrix[:3, :3] @ ((scale - 1) / 2)
    matrix[:3, :3] *= scale
    return tuple(tuple(float(value) for value in row) for row in matrix)
