"""Rectangles of an image that are read to measure its intensities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source

Pixels = np.ndarray[Any, np.dtype[Any]]

#: A plane, and the rows and columns of a rectangle in it.
Rectangle = tuple[Plane, slice, slice]

#: Number of rectangles that are read to measure the range of a channel, and their side in pixels.
_RECTANGLES, RECTANGLE_SIDE = 32, 256

#: Least number of these with more than one value, and how many times as many are read to find them.
_MIN_CONTENT, _CANDIDATES = 4, 8


def group_planes(planes: Iterable[Plane], attribute: Literal["range_key", "channel"]) -> dict[int, list[Plane]]:
    """Return the planes that are denoised, not copied, by one of their attributes."""
    groups: dict[int, list[Plane]] = {}
    for plane in planes:
        if not plane.copied:
            groups.setdefault(getattr(plane, attribute), []).append(plane)
    return groups


def sample_rectangles(source: Source, planes: list[Plane], seed: int) -> Iterator[Pixels]:
    """Yield rectangles [C, H, W] of these planes: all of a small image, seeded random ones of a large image.

    Of a large image whose objects are small on a masked background, more are read until some have content.
    """
    count = len(planes) * -(-source.size_yx[0] // RECTANGLE_SIDE) * -(-source.size_yx[1] // RECTANGLE_SIDE)
    if count <= _RECTANGLES:
        yield from (source.read(*rectangle) for rectangle in _all_rectangles(planes, source.size_yx))
        return
    rng = np.random.default_rng(seed)
    with_content = 0
    for number in range(_RECTANGLES * _CANDIDATES):
        if number >= _RECTANGLES and with_content >= _MIN_CONTENT:
            return
        pixels = source.read(*random_rectangle(planes, source.size_yx, rng))
        finite = pixels[np.isfinite(pixels)]
        has_content = finite.size > 0 and bool((finite != finite[0]).any())
        with_content += has_content
        if has_content or number < _RECTANGLES:
            yield pixels


def _all_rectangles(planes: list[Plane], size: tuple[int, int]) -> Iterator[Rectangle]:
    for plane in planes:
        for y in range(0, size[0], RECTANGLE_SIDE):
            for x in range(0, size[1], RECTANGLE_SIDE):
                yield plane, slice(y, min(y + RECTANGLE_SIDE, size[0])), slice(x, min(x + RECTANGLE_SIDE, size[1]))


def random_rectangle(planes: Sequence[Plane], size: tuple[int, int], rng: np.random.Generator) -> Rectangle:
    """Return a random rectangle of `RECTANGLE_SIDE` pixels, or of the whole size where that is smaller."""
    plane = planes[int(rng.integers(len(planes)))]
    y, x = (int(rng.integers(max(1, side - RECTANGLE_SIDE + 1))) for side in size)
    return plane, slice(y, min(y + RECTANGLE_SIDE, size[0])), slice(x, min(x + RECTANGLE_SIDE, size[1]))
