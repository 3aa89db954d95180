"""Groups of images that show the same scene: exposures of one field, neighbouring slices, copies, crops.

Validating with one image of a group would reward a network for having seen the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from skimage.feature import match_template

from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source

Detail = NDArray[np.float64]

#: Side in pixels of the cells whose means are compared; noise hardly changes these means.
_CELL = 8
#: Side in cells of the neighbourhood whose mean is subtracted, so that uneven illumination does not correlate.
_BACKGROUND_CELLS = 9
#: Most rows and columns read from the middle of a plane.
_MAX_SIDE = 1024
#: Smallest side in cells by which images can be distinguished.
_MIN_CELLS = 6
#: Smallest correlation of two related images at equal position.
_MIN_CORRELATION = 0.5
#: Smallest correlation of related images at the best shift; higher, as one of many shifts correlates by chance.
_MIN_SHIFTED_CORRELATION = 0.7
#: Most pairs of images that are compared at all shifts; more are compared without shifts, at equal size only.
_MAX_SHIFTED_PAIRS = 2000
#: Most images of which all pairs are compared.
_MAX_ALL_PAIRS_IMAGES = 1000
#: Of more images, sorted by name, only those fewer than this many positions apart are compared.
_NEIGHBOURS = 20


def related_groups(sources: Sequence[Source]) -> list[list[int]]:
    """Return groups of the numbers of images that show the same scene, sorted by their first number.

    Args:
        sources: the images; the middle of one plane of each is read.
    """
    if len(sources) < 2:
        return [[number] for number in range(len(sources))]
    details = [_detail(source) for source in sources]
    parent = list(range(len(sources)))

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    count = len(sources)
    shifts = count * (count - 1) // 2 <= _MAX_SHIFTED_PAIRS
    for first, second in combinations(range(count), 2) if count <= _MAX_ALL_PAIRS_IMAGES else _neighbours(count):
        if root(first) != root(second) and _are_related(details[first], details[second], shifts):
            parent[root(second)] = root(first)
    groups: dict[int, list[int]] = {}
    for number in range(len(sources)):
        groups.setdefault(root(number), []).append(number)
    return list(groups.values())


def _neighbours(count: int) -> Iterator[tuple[int, int]]:
    """Yield pairs of numbers that are close to each other."""
    return ((first, second) for first in range(count) for second in range(first + 1, min(count, first + _NEIGHBOURS)))


def _detail(source: Source) -> Detail:
    """Return cell means of the middle of a plane, less their local mean, with zero mean and unit variance."""
    planes = [plane for plane in list_planes(source.axes, source.sizes, source.rgb) if not plane.copied]
    rows, columns = (_middle(side) for side in source.size_yx)
    pixels: NDArray[Any] = source.read(planes[len(planes) // 2], rows, columns).astype(np.float64).mean(axis=0)
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
    height, width = (side // _CELL for side in pixels.shape)
    cells = pixels[: height * _CELL, : width * _CELL].reshape(height, _CELL, width, _CELL).mean(axis=(1, 3))
    detail = cells - uniform_filter(cells, _BACKGROUND_CELLS, mode="nearest")
    spread = float(detail.std())
    return np.asarray((detail - detail.mean()) / spread) if spread > 0 else np.zeros_like(detail)


def _middle(side: int) -> slice:
    start = max(0, (side - _MAX_SIDE) // 2)
    return slice(start, min(side, start + _MAX_SIDE))


def _are_related(first: Detail, second: Detail, shifts: bool) -> bool:
    """Return whether two images, or one image and a part of the other, show the same scene."""
    if min(*first.shape, *second.shape) < _MIN_CELLS:
        return False
    if first.shape == second.shape and float((first * second).mean()) > _MIN_CORRELATION:
        return True
    if not shifts:
        return False
    large, small = (first, second) if first.size >= second.size else (second, first)
    if any(a > b for a, b in zip(small.shape, large.shape, strict=True)) or small.shape == large.shape:
        small = small[tuple(slice(side // 4, max(side - side // 4, side // 4 + 1)) for side in small.shape)]
    if min(small.shape) < _MIN_CELLS or any(a > b for a, b in zip(small.shape, large.shape, strict=True)):
        return False
    return float(match_template(large, small).max()) > _MIN_SHIFTED_CORRELATION
