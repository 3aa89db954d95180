"""Intensity ranges: which intensities the network sees as 0 and 1, fixed for a job before its first tile.

A range follows the bulk of an image, roughly from its 1st to its 99th percentile, and not its extremes: a hot pixel, a
bead or a piece of metal must not compress the contrast of everything else. Intensities beyond it are not clipped here;
`denoising.intensity.exposures` shows them to the network with less contrast. No convention depends on the dtype, so
that the same numbers have the same result as uint8, uint16 and float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.exposures import LARGEST_VALUE
from masked_denoiser.denoising.intensity.fill_values import find_fill_values
from masked_denoiser.denoising.intensity.missing_pixels import fill_missing
from masked_denoiser.denoising.intensity.rectangles import Pixels, group_planes, sample_rectangles
from masked_denoiser.denoising.intensity.rician_stabilization import RicianStabilizer
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source

#: Percentiles of the bulk of an image; their distance is its contrast.
_BULK_PERCENTILES = (1.0, 99.0)

#: Share of the contrast by which a range may extend beyond the bulk.
_MAX_BEYOND = 0.5

#: Percentiles that a range includes within that limit, and the margin around them as a share of the contrast.
_INCLUDED_PERCENTILES, _MARGIN = (0.1, 99.9), 0.08

#: Share of pixels with the extreme value above which an image counts as clipped there.
_CLIPPED_SHARE = 1e-3

#: A range ends where the image is clipped if it would end within this share of the contrast anyway.
_CLIPPING_DISTANCE = 0.2

#: Percentiles used where the bulk has no contrast, as with a few bright spots on a uniform background.
TAIL_PERCENTILES = (0.01, 99.99)


@dataclass(frozen=True)
class IntensityRange:
    """Intensities that the network sees as 0 and 1, and values that are not intensities.

    Attributes:
        low, high: in units of the image; low < high. Of stabilized intensities if the noise is Rician.
        typical: median of the sample, which fills missing pixels that are far from valid ones; likewise.
        has_nonfinite: whether the sample contained NaN or infinities.
        fill_values: values that mark missing pixels, such as the padding of a CT slice. They are excluded from every
            measurement, filled smoothly for the network, and unchanged in the result, as NaN and infinities are.
        non_negative: whether the sample had no negative intensity; then the result has none, either.
        blank: whether there was a single intensity, while other epochs of the channel have more.
        rician: standard deviation of Rician noise in units of the image, which is stabilized before everything else, so
            that noise has the same standard deviation everywhere; 0 for other noise.
    """

    low: float
    high: float
    typical: float = 0.0
    has_nonfinite: bool = False
    fill_values: tuple[float, ...] = ()
    non_negative: bool = False
    blank: bool = False
    rician: float = 0.0

    @property
    def span(self) -> float:
        """Difference of the intensities that are 1 and 0."""
        return self.high - self.low

    def missing_mask(self, pixels: Pixels) -> NDArray[np.bool_] | None:
        """Return a mask of the pixels that are NaN, infinite, fill values or absurd; None if there are none.

        Values that are millions of times as far from the range as it is wide are no intensities: no exposure shows
        them, and they would spoil the means around them.
        """
        missing = None
        if pixels.dtype.kind == "f" or pixels.dtype.itemsize > 2:
            with np.errstate(invalid="ignore", over="ignore"):
                missing = ~(np.abs((pixels.astype(np.float64) - self.low) / self.span) <= LARGEST_VALUE)
        for value in self.fill_values:
            equal = pixels == value
            missing = equal if missing is None else missing | equal
        return missing if missing is not None and missing.any() else None

    def to_unit(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return pixels [C, H, W] of any real dtype in units of the range, as float32, not clipped to [0, 1]."""
        unit = (self._stabilize(pixels.astype(np.float64)) - self.low) / self.span
        missing = self.missing_mask(pixels)
        if missing is not None:
            unit = fill_missing(unit, missing, (self.typical - self.low) / self.span)
        return unit.astype(np.float32)

    def from_unit(self, unit: NDArray[Any], like: Pixels) -> Pixels:
        """Return values in units of the image and the dtype of `like`, with its missing pixels restored."""
        return self._restore_missing(_to_dtype(self._to_intensity(unit), like.dtype), like)

    def subtract(
        self,
        pixels: Pixels,
        correction: NDArray[Any],
        dtype: np.dtype[Any],
        rounding: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.rint,
    ) -> Pixels:
        """Return pixels minus a correction in units of the range; pixels with a correction of 0 are exactly unchanged.

        Args:
            pixels: [C, H, W] as read.
            correction: of the same shape; 0 where nothing is removed.
            dtype: of the result.
            rounding: function that rounds to integers, for integer dtypes.
        """
        values = pixels.astype(np.float64)
        if self.rician:
            stabilizer = RicianStabilizer(self.rician)
            values = stabilizer.backward(stabilizer.forward(values) - correction.astype(np.float64) * self.span)
        else:
            values = values - correction.astype(np.float64) * self.span
        if self.non_negative:
            values = np.where((values < 0) & (pixels >= 0), 0.0, values)
        out = _to_dtype(values, dtype, rounding)
        unchanged = pixels if pixels.dtype == out.dtype else _to_dtype(pixels.astype(np.float64), dtype, rounding)
        return self._restore_missing(np.where(correction == 0, unchanged, out), pixels)

    def std_from_unit(self, std: NDArray[Any], unit: NDArray[Any]) -> NDArray[np.float32]:
        """Return standard deviations in units of the image, to first order, of values in units of the range."""
        if not self.rician:
            return np.asarray(std * np.float32(self.span), np.float32)
        return np.asarray((self._to_intensity(unit + std) - self._to_intensity(unit - std)) / 2.0, np.float32)

    def with_rician(self, sigma: float) -> IntensityRange:
        """Return the range of stabilized intensities, given the standard deviation of Rician noise.

        Raises:
            ValueError: if the noise of this range is stabilized already.
        """
        if self.rician:
            raise ValueError("the intensities of this range are stabilized already")
        # A margin below zero would waste contrast, as no magnitude is negative.
        lowest = max(self.low, 0.0) if self.high > 0 else self.low
        ends = RicianStabilizer(sigma).forward(np.array([lowest, self.high, self.typical]))
        low, high, typical = map(float, ends)
        return replace(self, low=low, high=high, typical=typical, rician=sigma)

    def comparable(self, before: Pixels, after: Pixels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return image and result, in units of the image, such that noise is what they differ by.

        Rician noise has another mean than its signal. So it is stabilized in the image, and the result becomes the mean
        of such noise, except in pixels that are unchanged.
        """
        first, second = before.astype(np.float64), after.astype(np.float64)
        if not self.rician:
            return first, second
        stabilized, means = self._stabilize(first), RicianStabilizer(self.rician).expected(second)
        return stabilized, np.where(first == second, stabilized, means)

    def _stabilize(self, intensities: NDArray[np.float64]) -> NDArray[np.float64]:
        return RicianStabilizer(self.rician).forward(intensities) if self.rician else intensities

    def _to_intensity(self, unit: NDArray[Any]) -> NDArray[np.float64]:
        values = np.asarray(unit.astype(np.float64) * self.span + self.low)
        return RicianStabilizer(self.rician).backward(values) if self.rician else values

    def _restore_missing(self, out: Pixels, like: Pixels) -> Pixels:
        missing = self.missing_mask(like)
        if missing is None:
            return out
        if like.dtype != out.dtype:
            finite = _to_dtype(np.nan_to_num(like.astype(np.float64)), out.dtype)
            like = np.where(np.isfinite(like), finite, like)
        return np.where(missing, like, out).astype(out.dtype)


def _to_dtype(
    values: NDArray[np.float64],
    dtype: np.dtype[Any],
    rounding: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.rint,
) -> Pixels:
    """Return values rounded and clipped to an integer type, or clipped to the finite values of a float type."""
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        return _clip_to(rounding(values), limits).astype(dtype)
    finite = np.finfo(dtype)
    return np.clip(values, float(finite.min), float(finite.max)).astype(dtype)


def _clip_to(values: NDArray[np.float64], limits: np.iinfo[Any]) -> NDArray[np.float64]:
    """Return values clipped to an integer type; float64 cannot hold the largest 64-bit integers, so it stops below."""
    highest = float(limits.max)
    return np.clip(values, float(limits.min), np.nextafter(highest, 0) if int(highest) > limits.max else highest)


def measure_ranges(source: Source, planes: Iterable[Plane], seed: int = 0) -> dict[int, IntensityRange]:
    """Return the intensity range of every channel and epoch, by `Plane.range_key`.

    Args:
        source: the image, of which a sample is read.
        planes: those that are denoised.
        seed: of the sample.
    """
    by_key = group_planes(planes, "range_key")
    ranges = {key: _measure(source, group, seed) for key, group in by_key.items()}
    channels: dict[int, list[int]] = {}
    for key, group in by_key.items():
        channels.setdefault(group[0].channel, []).append(key)
    for keys in channels.values():
        # A blank frame has no contrast, so noise in units of its range would be enormous; it gets that of the others.
        not_blank = [ranges[key] for key in keys if not ranges[key].blank]
        common = common_range(not_blank) if not_blank else None
        for key in keys:
            if common is None:
                ranges[key] = replace(ranges[key], blank=False)
            elif ranges[key].blank:
                ranges[key] = replace(ranges[key], low=common.low, high=common.high)
    return ranges


def common_range(ranges: Sequence[IntensityRange]) -> IntensityRange:
    """Return the range that includes those of all epochs of a channel."""
    fill_values = tuple(dict.fromkeys(value for each in ranges for value in each.fill_values))
    return replace(
        ranges[0],
        low=min(each.low for each in ranges),
        high=max(each.high for each in ranges),
        has_nonfinite=any(each.has_nonfinite for each in ranges),
        non_negative=all(each.non_negative for each in ranges),
        fill_values=fill_values,
    )


def _measure(source: Source, planes: list[Plane], seed: int) -> IntensityRange:
    tiles = list(sample_rectangles(source, planes, seed))
    # The zeros of an empty colour channel are not missing pixels of the others.
    channels = [channel for tile in tiles for channel in tile if len(tile) == 1 or np.ptp(channel) > 0]
    fill_values = find_fill_values(channels, source.fill_values)
    values = np.concatenate([tile.ravel() for tile in tiles])
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    has_nonfinite = finite.size < values.size
    valid = finite[~np.isin(finite, fill_values)].astype(np.float64) if fill_values else finite.astype(np.float64)
    if not valid.size:
        return IntensityRange(0.0, 1.0, 0.0, has_nonfinite, fill_values)
    low, high = bulk_ends(valid)
    blank = not high > low
    if blank:
        high = low + least_span(low, source.dtype)
    return IntensityRange(low, high, float(np.median(valid)), has_nonfinite, fill_values, bool(valid.min() >= 0), blank)


def least_span(low: float, dtype: np.dtype[Any]) -> float:
    """Return a span so small that no contrast is lost in it, but large enough for float64 at this intensity."""
    least = 1.0 if dtype.kind != "f" else max(abs(low) * 1e-3, float(np.finfo(np.float32).tiny))
    return max(least, 4.0 * float(np.spacing(abs(low))))


def bulk_ends(valid: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the range of some intensities, which are equal if there is only one intensity."""
    percentiles = _INCLUDED_PERCENTILES[0], *_BULK_PERCENTILES, _INCLUDED_PERCENTILES[1]
    lowest, low, high, highest = (float(v) for v in np.percentile(valid, percentiles))
    contrast = high - low
    if contrast > 0:
        margin, beyond = _MARGIN * contrast, _MAX_BEYOND * contrast
        ends = max(lowest - margin, low - beyond), min(highest + margin, high + beyond)
        return _snap(valid, float(valid.min()), ends[0]), _snap(valid, float(valid.max()), ends[1])
    low, high = (float(v) for v in np.percentile(valid, TAIL_PERCENTILES))
    return (low, high) if high > low else (float(valid.min()), float(valid.max()))


def _snap(valid: NDArray[np.float64], extreme: float, end: float) -> float:
    """Return the end of a range, or the extreme value if the image is clipped there nearby, as in training."""
    is_clipped = np.count_nonzero(valid == extreme) > _CLIPPED_SHARE * valid.size
    contrast = float(np.ptp(np.percentile(valid, _BULK_PERCENTILES)))
    return extreme if is_clipped and abs(extreme - end) < _CLIPPING_DISTANCE * contrast else end
