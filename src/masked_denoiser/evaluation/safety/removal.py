"""What a denoiser removed from each channel of an image, and the variance that the measured noise explains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.noise_measurement import NoiseMeasurement
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.noise.channel_noise import ChannelNoise

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Side in pixels of the square regions whose means are compared.
_REGION_SIDE = 32

#: Smallest standard deviation of noise that is assumed, as a share of the intensity range.
_MIN_SIGMA = 1e-4

#: Bounds in pixels of the distance at which noise is taken to be independent.
_MIN_DISTANCE, _MAX_DISTANCE = 2, 12


@dataclass(frozen=True, eq=False)
class Removal:
    """One channel of one plane before and after a denoiser.

    Attributes:
        before, after: intensities [H, W], finite, in units of the image.
        valid: mask [H, W] of the pixels that have an intensity and are not impulses.
        variance: variance [H, W] of measured noise and rounding of the result, in squared units of the image.
        independence_distance: distance in pixels at which noise is independent, 2 to 12.
        mean_variance_factor: factor by which correlation raises the variance of a regional mean; 1 for white noise.
        channel: name of the channel, which no other one of the image has; red, green and blue of a plane share it.
    """

    before: Values
    after: Values
    valid: Mask
    variance: Values
    independence_distance: int = _MIN_DISTANCE
    mean_variance_factor: float = 1.0
    channel: str = ""

    @property
    def removed(self) -> Values:
        """Difference before - after, [H, W]; 0 where a pixel is not valid."""
        return np.where(self.valid, self.before - self.after, 0.0)

    @property
    def mean_change(self) -> float | None:
        """Largest change of the mean of 32 x 32 pixels, in standard errors of that mean; None if no region is valid."""
        count = split_into_blocks(self.valid, _REGION_SIDE).sum(axis=1)
        enough = count >= _REGION_SIDE**2 // 2
        if not enough.any():
            return None
        sums = split_into_blocks(self.removed, _REGION_SIDE).sum(axis=1)[enough]
        variances = split_into_blocks(np.where(self.valid, self.variance, 0.0), _REGION_SIDE).sum(axis=1)[enough]
        return float((np.abs(sums) / np.sqrt(variances * self.mean_variance_factor)).max())


def list_removals(source: Source, result: NDArray[Any], measured: NoiseMeasurement) -> Iterator[Removal]:
    """Yield what was removed from each channel of each plane that is denoised.

    Args:
        source: the image.
        result: denoised image, in shape and axes of the image.
        measured: measured noise of the image.
    """
    denoised, names = open_image(result, axes=source.axes), channel_names(measured)
    ys, xs = (slice(0, side) for side in source.size_yx)
    for plane in list_planes(source.axes, source.sizes, source.rgb):
        if plane.copied:
            continue
        intensity_range = measured.samples[plane.channel].intensity_range
        before, after = source.read(plane, ys, xs), denoised.read(plane, ys, xs)
        missing = intensity_range.missing_mask(before)
        usable = np.ones(before.shape, np.bool_) if missing is None else ~missing
        unit = intensity_range.to_unit(before).astype(np.float64)  # missing pixels are interpolated
        images = intensity_range.comparable(before, after)
        for i, noise in enumerate(measured.of_channel(plane.channel)):
            valid = usable[i] & ~noise.impulses.mask(unit[i])
            interpolated = unit[i] * intensity_range.span + intensity_range.low
            filled = [np.where(valid, image[i], interpolated) for image in images]
            yield _removal(filled[0], filled[1], valid, noise, intensity_range, names[plane.channel])


def channel_names(measured: NoiseMeasurement) -> dict[int, str]:
    """Return a different name for each channel, by `Plane.channel`; red, green and blue of a plane share one."""
    named: dict[int, list[str]] = {}
    for key, name in zip(measured.channel_keys, measured.channel_names, strict=True):
        named.setdefault(key, []).append(name)
    names = {key: own[0] if len(own) == 1 else f"colours of channel {key}" for key, own in named.items()}
    repeated = {name for name in names.values() if [*names.values()].count(name) > 1}
    return {key: f"{name} (channel {key})" if name in repeated else name for key, name in names.items()}


def group_by_channel(removals: Iterable[Removal]) -> dict[str, list[Removal]]:
    """Return removals by the name of their channel, in the order of the first of each."""
    groups: dict[str, list[Removal]] = {}
    for removal in removals:
        groups.setdefault(removal.channel, []).append(removal)
    return groups


def largest_mean_change(removals: Iterable[Removal]) -> float | None:
    """Return the largest `mean_change`; None if no region is valid."""
    return max((change for removal in removals if (change := removal.mean_change) is not None), default=None)


def _removal(
    before: Values,
    after: Values,
    valid: Mask,
    noise: ChannelNoise,
    intensity_range: IntensityRange,
    channel: str,
) -> Removal:
    """Return the removal of one channel; `noise` is in units of its intensity range."""
    sigma = np.maximum(noise.variance.sigma((after - intensity_range.low) / intensity_range.span), _MIN_SIGMA)
    return Removal(
        before=before,
        after=after,
        valid=valid,
        variance=(sigma**2 + noise.step**2 / 12) * intensity_range.span**2,
        independence_distance=min(max(_MIN_DISTANCE, noise.correlation), _MAX_DISTANCE),
        mean_variance_factor=max(1.0, 4 * pi * noise.width**2, float(noise.box**2)),
        channel=channel,
    )


def split_into_blocks(image: NDArray[Any], side: int) -> NDArray[Any]:
    """Split [H, W] into square blocks [blocks, side * side]; incomplete blocks are dropped."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    whole = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return np.asarray(whole.swapaxes(1, 2).reshape(rows * columns, side * side))
