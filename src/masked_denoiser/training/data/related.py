"""Images that show the same thing: exposures of one field, neighbouring slices, copies, crops.

A validation with one of them would praise a network for what it has seen in the others.
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

#: Images are compared by means over squares of so many pixels, which noise hardly changes.
_CELL = 8
#: Cells around one over which its detail stands out, so that uneven illumination is not taken for an image.
_AROUND = 9
#: Rows and columns that are read of a plane at most, in the middle of it.
_MOST = 1024
#: Smallest number of cells along a side that tells an image from another.
_FEWEST = 6
#: Correlation of the details of two images from which they show the same; that of the best of many shifts, one of which
#: is always good by chance.
_ALIKE, _ALIKE_SHIFTED = 0.5, 0.7
#: Pairs that are compared at most: of more images only those of one size are, without a shift.
_MOST_PAIRS = 2000
#: Of more images than these, in the order of their names, only those this close to each other are compared.
_MANY, _NEAR = 1000, 20


def related_groups(sources: Sequence[Source]) -> list[list[int]]:
    """Return the numbers of the images in groups that show the same thing, in the order of their first ones.

    Args:
        sources: the images; of each the middle of one plane is read.
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
    shifts = count * (count - 1) // 2 <= _MOST_PAIRS
    for one, other in combinations(range(count), 2) if count <= _MANY else _neighbours(count):
        if root(one) != root(other) and _alike(details[one], details[other], shifts):
            parent[root(other)] = root(one)
    groups: dict[int, list[int]] = {}
    for number in range(len(sources)):
        groups.setdefault(root(number), []).append(number)
    return list(groups.values())


def _neighbours(count: int) -> Iterator[tuple[int, int]]:
    """Pairs of numbers that are close to each other."""
    return ((one, other) for one in range(count) for other in range(one + 1, min(count, one + _NEAR)))


def _detail(source: Source) -> Detail:
    """Means over cells of the middle of a plane, less the mean around each: zero mean and unit variance."""
    planes = [plane for plane in list_planes(source.axes, source.sizes, source.rgb) if not plane.copied]
    rows, columns = (_middle(side) for side in source.size_yx)
    pixels: NDArray[Any] = source.read(planes[len(planes) // 2], rows, columns).astype(np.float64).mean(axis=0)
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
    height, width = (side // _CELL for side in pixels.shape)
    cells = pixels[: height * _CELL, : width * _CELL].reshape(height, _CELL, width, _CELL).mean(axis=(1, 3))
    detail = cells - uniform_filter(cells, _AROUND, mode="nearest")
    spread = float(detail.std())
    return np.asarray((detail - detail.mean()) / spread) if spread > 0 else np.zeros_like(detail)


def _middle(side: int) -> slice:
    start = max(0, (side - _MOST) // 2)
    return slice(start, min(side, start + _MOST))


def _alike(one: Detail, other: Detail, shifts: bool) -> bool:
    """Whether two images, or a part of the larger, show the same."""
    if min(*one.shape, *other.shape) < _FEWEST:
        return False
    if one.shape == other.shape and float((one * other).mean()) > _ALIKE:
        return True
    if not shifts:
        return False
    large, small = (one, other) if one.size >= other.size else (other, one)
    if any(a > b for a, b in zip(small.shape, large.shape, strict=True)) or small.shape == large.shape:
        small = small[tuple(slice(side // 4, max(side - side // 4, side // 4 + 1)) for side in small.shape)]
    if min(small.shape) < _FEWEST or any(a > b for a, b in zip(small.shape, large.shape, strict=True)):
        return False
    return float(match_template(large, small).max()) > _ALIKE_SHIFTED
