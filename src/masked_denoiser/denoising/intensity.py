"""Intensity in and out: one range for each channel, fixed before the first tile and never per tile.

The network knows values in [0, 1]. What lies outside a range is not lost: the network sees the
clipped value, and the excess is added back to its output, so that a bright spot stays as bright.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source

Pixels = np.ndarray[Any, np.dtype[Any]]

#: Rectangles read to measure the range of a channel, and their side in pixels.
_SAMPLES, _SIDE = 32, 256

#: Percentiles of the sample that become 0 and 1: a few hot pixels must not squeeze the rest.
_TAILS = (0.01, 99.99)


@dataclass(frozen=True)
class IntensityRange:
    """Which intensities the network sees as 0 and 1.

    Attributes:
        low, high: in the image's own units; low < high.
        fill: what the network sees where the image is NaN or infinite: the median of the sample.
        broken: whether the sample held NaN or infinities.
    """

    low: float
    high: float
    fill: float = 0.0
    broken: bool = False

    def to_unit(self, pixels: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Pixels of any real dtype as float32 in [0, 1], and the excess that was clipped, float64 in the same scale.

        float64 carries integers of up to 53 bits exactly until the range is taken away.
        """
        values = pixels.astype(np.float64)
        if pixels.dtype.kind == "f":
            values = np.where(np.isfinite(values), values, self.fill)
        unit = (values - self.low) / (self.high - self.low)
        clipped = np.clip(unit, 0.0, 1.0)
        return clipped.astype(np.float32), unit - clipped

    def from_unit(self, unit: NDArray[Any], like: Pixels) -> Pixels:
        """Back to the image's units and to the dtype of `like`, whose NaN and infinities are put back."""
        values = unit.astype(np.float64) * (self.high - self.low) + self.low
        if like.dtype.kind != "f":
            limits = np.iinfo(like.dtype)
            return _clip_to(np.rint(values), limits).astype(like.dtype)
        ends = np.finfo(like.dtype)  # what was finite stays so
        values = np.clip(values, float(ends.min), float(ends.max))
        return np.where(np.isfinite(like), values, like).astype(like.dtype)


def _clip_to(values: NDArray[np.float64], limits: np.iinfo[Any]) -> NDArray[np.float64]:
    """Clips to an integer type. The largest 64-bit integers are no float64: stop at the float below."""
    top = float(limits.max)
    return np.clip(values, float(limits.min), np.nextafter(top, 0) if int(top) > limits.max else top)


def measure_ranges(source: Source, planes: Iterable[Plane], seed: int = 0) -> dict[int, IntensityRange]:
    """The range of every channel, from a seeded sample of the whole image.

    8-bit images keep 0..255, the convention that models are trained with; so do floats within [0, 1].
    All else is stretched between the 0.01st and the 99.99th percentile of the sample.

    Returns:
        IntensityRange by `Plane.range_key`.
    """
    by_key: dict[int, list[Plane]] = {}
    for plane in planes:
        if not plane.copied:
            by_key.setdefault(plane.range_key, []).append(plane)
    if source.dtype == np.uint8:
        return {key: IntensityRange(0.0, 255.0) for key in by_key}
    return {key: _measure(source, group, seed) for key, group in by_key.items()}


def _measure(source: Source, planes: list[Plane], seed: int) -> IntensityRange:
    sample = np.concatenate([tile.astype(np.float64).ravel() for tile in sample_rectangles(source, planes, seed)])
    finite = sample[np.isfinite(sample)]
    broken = finite.size < sample.size
    if not finite.size:
        return IntensityRange(0.0, 1.0, 0.0, broken)
    low, median, high = (float(v) for v in np.percentile(finite, (_TAILS[0], 50.0, _TAILS[1])))
    if source.dtype.kind == "f" and float(finite.min()) >= 0.0 and 0.05 < float(finite.max()) <= 1.0:
        low, high = 0.0, 1.0
    if not high > low:  # a few bright spots on an even ground
        low, high = float(finite.min()), float(finite.max())
    if not high > low:  # a constant image: a range so small that nothing can be lost in it
        high = low + (1.0 if source.dtype.kind != "f" else max(abs(low) * 1e-3, float(np.finfo(np.float32).tiny)))
    return IntensityRange(low, high, median, broken)


def sample_rectangles(source: Source, planes: list[Plane], seed: int) -> Iterator[Pixels]:
    """Rectangles of these planes, [C, H, W]. Small images are read whole, large ones at seeded places."""
    spots = _spots(planes, source.size_yx)
    rng = np.random.default_rng(seed)
    count = len(planes) * -(-source.size_yx[0] // _SIDE) * -(-source.size_yx[1] // _SIDE)
    if count > _SAMPLES:
        spots = (_random_spot(planes, source.size_yx, rng) for _ in range(_SAMPLES))
    for plane, ys, xs in islice(spots, _SAMPLES):
        yield source.read(plane, ys, xs)


def _spots(planes: list[Plane], size: tuple[int, int]) -> Iterator[tuple[Plane, slice, slice]]:
    for plane in planes:
        for y in range(0, size[0], _SIDE):
            for x in range(0, size[1], _SIDE):
                yield plane, slice(y, min(y + _SIDE, size[0])), slice(x, min(x + _SIDE, size[1]))


def _random_spot(planes: list[Plane], size: tuple[int, int], rng: np.random.Generator) -> tuple[Plane, slice, slice]:
    plane = planes[int(rng.integers(len(planes)))]
    y, x = (int(rng.integers(max(1, side - _SIDE + 1))) for side in size)
    return plane, slice(y, min(y + _SIDE, size[0])), slice(x, min(x + _SIDE, size[1]))
