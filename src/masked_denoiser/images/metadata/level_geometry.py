"""Geometry of pyramid levels, whose pixels are means of those of full resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil

import numpy as np

Affine = tuple[tuple[float, ...], ...]


def level_ratio(full: int, side: int) -> float:
    """Return how many pixels of a finer level a pixel of a level spans along an axis.

    It is a whole number if the side is that of the finer level divided by one, with a remainder rounded up or down.

    Args:
        full: side of the finer level in pixels.
        side: of the level.
    """
    whole = max(1, round(full / side))
    return float(whole) if side in (full // whole, ceil(full / whole)) else full / side


def level_ratios(axes: str, shapes: Sequence[Sequence[int]]) -> list[dict[str, float]]:
    """Return how many pixels of full resolution a pixel of each level spans, by axis letter.

    Each level is compared with the one before: the rounding of short sides would hide the ratio to full resolution.

    Args:
        axes: one letter for each dimension.
        shapes: of the levels, full resolution first.
    """
    ratios = [dict.fromkeys(axes, 1.0)]
    for finer, coarser in pairwise(shapes):
        steps = {a: level_ratio(*sides) for a, *sides in zip(axes, finer, coarser, strict=True)}
        ratios.append({a: ratio * steps[a] for a, ratio in ratios[-1].items()})
    return ratios


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
