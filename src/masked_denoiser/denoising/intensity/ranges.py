"""Intensity ranges: which intensities the network sees as 0 and 1, fixed before the first tile and never per tile.

A range follows the bulk of an image, around its 1st to its 99th percentile, and not its extremes: a hot pixel, a bead
or a piece of metal must not squeeze the contrast of all the rest. What lies beyond is not clipped here;
`denoising.exposures` shows it to the network with less contrast. No convention depends on the dtype, so that the same
numbers get the same result as uint8, uint16 and float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from masked_denoiser.denoising.intensity.fill_values import find_fill_values
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source

Pixels = np.ndarray[Any, np.dtype[Any]]

#: Rectangles read to measure the range of a channel, and their side in pixels.
_SAMPLES, _SIDE = 32, 256

#: Percentiles of the bulk of an image, and its contrast by which a range may reach beyond them.
_BULK, _BEYOND = (1.0, 99.0), 0.5

#: Percentiles that a range holds as far as that allows, and the margin around them in contrasts.
_MOST, _MARGIN = (0.1, 99.9), 0.08

#: An image is clipped at its extreme value if more than this share of it has that; a range ends there if that is no
#: farther away than this share of the contrast.
_CLIPPED, _NEAR = 1e-3, 0.2

#: Percentiles used where the bulk has no contrast, as with a few bright spots on an even background.
_TAILS = (0.01, 99.99)

#: Sides of the squares whose valid pixels continue an image into its fill values: the smallest with a valid pixel.
_CONTINUATION_SIDES = (31, 15, 7, 3)

#: Distance in pixels from which fill values are continued.
CONTINUATION_REACH = _CONTINUATION_SIDES[0] // 2


@dataclass(frozen=True)
class IntensityRange:
    """Which intensities the network sees as 0 and 1, and which values are no intensities at all.

    Attributes:
        low, high: in the image's own units; low < high.
        typical: median of the sample; stands where nothing valid is near.
        has_nonfinite: whether the sample held NaN or infinities.
        fill_values: values that mark missing pixels, such as the padding of a CT slice. They are excluded from every
            measurement, continued smoothly for the network, and come out unchanged, as NaN and infinities do.
        blank: whether there was but one intensity while other epochs of the channel have more.
        non_negative: whether no intensity of the sample was negative: then no result is, either.
    """

    low: float
    high: float
    typical: float = 0.0
    has_nonfinite: bool = False
    fill_values: tuple[float, ...] = ()
    non_negative: bool = False
    blank: bool = False

    @property
    def span(self) -> float:
        """Intensities from 0 to 1."""
        return self.high - self.low

    def is_missing(self, pixels: Pixels) -> NDArray[np.bool_] | None:
        """Return which pixels are NaN, infinite or fill values, in the shape of `pixels`; None where none is."""
        missing = ~np.isfinite(pixels) if pixels.dtype.kind == "f" else None
        for value in self.fill_values:
            same = pixels == value
            missing = same if missing is None else missing | same
        return missing if missing is not None and missing.any() else None

    def to_unit(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return pixels [C, H, W] of any real dtype in units of the range, float32, not clipped to [0, 1]."""
        unit = (pixels.astype(np.float64) - self.low) / self.span
        missing = self.is_missing(pixels)
        if missing is not None:
            unit = _continued(unit, missing, (self.typical - self.low) / self.span)
        return unit.astype(np.float32)

    def from_unit(self, unit: NDArray[Any], like: Pixels) -> Pixels:
        """Return values in the image's units and the dtype of `like`, whose missing pixels are put back."""
        values = unit.astype(np.float64) * self.span + self.low
        return self._finished(_to_dtype(values, like.dtype), like)

    def subtract(
        self,
        pixels: Pixels,
        correction: NDArray[Any],
        dtype: np.dtype[Any],
        rounding: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.rint,
    ) -> Pixels:
        """Return pixels less a correction in units of the range; where that is 0 they come out bit for bit.

        Args:
            pixels: [C, H, W] as read.
            correction: of the same shape; 0 wherever nothing is removed.
            dtype: of the result.
            rounding: to integers, where the dtype holds no others.
        """
        values = pixels.astype(np.float64) - correction.astype(np.float64) * self.span
        if self.non_negative:
            values = np.where((values < 0) & (pixels >= 0), 0.0, values)
        out = _to_dtype(values, dtype, rounding)
        return self._finished(np.where(correction == 0, pixels.astype(out.dtype), out), pixels)

    def _finished(self, out: Pixels, like: Pixels) -> Pixels:
        missing = self.is_missing(like)
        return out if missing is None else np.where(missing, like, out).astype(out.dtype)


def _to_dtype(
    values: NDArray[np.float64],
    dtype: np.dtype[Any],
    rounding: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.rint,
) -> Pixels:
    """Round and clip to an integer type, or clip to the finite values of a float type."""
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        return _clip_to(rounding(values), limits).astype(dtype)
    ends = np.finfo(dtype)
    return np.clip(values, float(ends.min), float(ends.max)).astype(dtype)


def _clip_to(values: NDArray[np.float64], limits: np.iinfo[Any]) -> NDArray[np.float64]:
    """Clip to an integer type. The largest 64-bit integers are no float64: stop at the float below."""
    top = float(limits.max)
    return np.clip(values, float(limits.min), np.nextafter(top, 0) if int(top) > limits.max else top)


def _continued(unit: NDArray[np.float64], missing: NDArray[np.bool_], typical: float) -> NDArray[np.float64]:
    """Replace missing pixels [C, H, W] by means of the valid ones near them, or else by a typical value."""
    valid = (~missing).astype(np.float64)
    known = np.where(missing, 0.0, unit)
    filled = np.full_like(unit, typical)
    for side in _CONTINUATION_SIDES:
        near = uniform_filter(valid, (1, side, side), mode="constant")
        mean = uniform_filter(known, (1, side, side), mode="constant") / np.maximum(near, 1e-12)
        filled = np.where(near > 0.5 / side**2, mean, filled)
    return np.where(missing, filled, unit)


def measure_ranges(source: Source, planes: Iterable[Plane], seed: int = 0) -> dict[int, IntensityRange]:
    """Return the intensity range of every channel and epoch, by `Plane.range_key`.

    Args:
        source: the image; a sample of it is read.
        planes: those that are denoised.
        seed: of the sample.
    """
    by_key = planes_by_key(planes)
    ranges = {key: _measure(source, group, seed) for key, group in by_key.items()}
    channels: dict[int, list[int]] = {}
    for key, group in by_key.items():
        channels.setdefault(group[0].channel, []).append(key)
    for keys in channels.values():
        # A blank frame has no contrast of its own, and noise in units of it would be beyond all numbers.
        alive = [ranges[key] for key in keys if not ranges[key].blank]
        common = common_range(alive) if alive else None
        for key in keys:
            if common is None:
                ranges[key] = replace(ranges[key], blank=False)
            elif ranges[key].blank:
                ranges[key] = replace(ranges[key], low=common.low, high=common.high)
    return ranges


def common_range(ranges: Sequence[IntensityRange]) -> IntensityRange:
    """Return the range that holds those of all epochs of a channel."""
    fills = tuple(dict.fromkeys(value for one in ranges for value in one.fill_values))
    low, high = min(one.low for one in ranges), max(one.high for one in ranges)
    return replace(ranges[0], low=low, high=high, fill_values=fills)


def planes_by_key(planes: Iterable[Plane]) -> dict[int, list[Plane]]:
    """Return the planes that are not copied, by `Plane.range_key`."""
    by_key: dict[int, list[Plane]] = {}
    for plane in planes:
        if not plane.copied:
            by_key.setdefault(plane.range_key, []).append(plane)
    return by_key


def _measure(source: Source, planes: list[Plane], seed: int) -> IntensityRange:
    tiles = list(sample_rectangles(source, planes, seed))
    # The zeros of an empty colour channel are no missing pixels of the others.
    channels = [channel for tile in tiles for channel in tile if len(tile) == 1 or np.ptp(channel) > 0]
    fills = find_fill_values(channels, source.fill_values)
    values = np.concatenate([tile.ravel() for tile in tiles])
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    nonfinite = finite.size < values.size
    valid = finite[~np.isin(finite, fills)].astype(np.float64) if fills else finite.astype(np.float64)
    if not valid.size:
        return IntensityRange(0.0, 1.0, 0.0, nonfinite, fills)
    low, high = bulk_of(valid)
    blank = not high > low
    if blank:  # a range so small that nothing can be lost in it
        high = low + _least_span(low, source.dtype)
    return IntensityRange(low, high, float(np.median(valid)), nonfinite, fills, bool(valid.min() >= 0), blank)


def _least_span(low: float, dtype: np.dtype[Any]) -> float:
    """A span so small that nothing can be lost in it, and no smaller than float64 can tell."""
    least = 1.0 if dtype.kind != "f" else max(abs(low) * 1e-3, float(np.finfo(np.float32).tiny))
    return max(least, 4.0 * float(np.spacing(abs(low))))


def bulk_of(valid: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the range of some intensities; equal where there is only one intensity."""
    lowest, low, high, highest = (float(v) for v in np.percentile(valid, (_MOST[0], *_BULK, _MOST[1])))
    contrast = high - low
    if contrast > 0:
        margin, beyond = _MARGIN * contrast, _BEYOND * contrast
        ends = max(lowest - margin, low - beyond), min(highest + margin, high + beyond)
        return _end(valid, float(valid.min()), ends[0]), _end(valid, float(valid.max()), ends[1])
    low, high = (float(v) for v in np.percentile(valid, _TAILS))
    return (low, high) if high > low else (float(valid.min()), float(valid.max()))


def _end(valid: NDArray[np.float64], extreme: float, end: float) -> float:
    """An end of a range: where the image is clipped not far from it, exactly there, as in training."""
    clipped = np.count_nonzero(valid == extreme) > _CLIPPED * valid.size
    return extreme if clipped and abs(extreme - end) < _NEAR * float(np.ptp(np.percentile(valid, _BULK))) else end


def measure_recipe_ranges(source: Source, planes: Iterable[Plane], seed: int = 0) -> dict[int, IntensityRange]:
    """Return the ranges in which noise recipes and training patches are expressed, by `Plane.range_key`.

    8-bit images keep 0 to 255, so that "sigma=15" means 15 grey levels; so do floats within [0, 1]. All else is
    stretched between the 0.01st and the 99.99th percentile of a sample.
    """
    by_key = planes_by_key(planes)
    if source.dtype == np.uint8:
        return {key: IntensityRange(0.0, 255.0) for key in by_key}
    return {key: _measure_recipe_range(source, group, seed) for key, group in by_key.items()}


def _measure_recipe_range(source: Source, planes: list[Plane], seed: int) -> IntensityRange:
    sample = np.concatenate([tile.astype(np.float64).ravel() for tile in sample_rectangles(source, planes, seed)])
    finite = sample[np.isfinite(sample)]
    nonfinite = finite.size < sample.size
    if not finite.size:
        return IntensityRange(0.0, 1.0, 0.0, nonfinite)
    low, median, high = (float(v) for v in np.percentile(finite, (_TAILS[0], 50.0, _TAILS[1])))
    if source.dtype.kind == "f" and float(finite.min()) >= 0.0 and 0.05 < float(finite.max()) <= 1.0:
        low, high = 0.0, 1.0
    if not high > low:
        low, high = float(finite.min()), float(finite.max())
    if not high > low:
        high = low + _least_span(low, source.dtype)
    return IntensityRange(low, high, median, nonfinite)


def sample_rectangles(source: Source, planes: list[Plane], seed: int) -> Iterator[Pixels]:
    """Yield rectangles [C, H, W] of these planes. Small images are read whole, large ones at seeded places."""
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
