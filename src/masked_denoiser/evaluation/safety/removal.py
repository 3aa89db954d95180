"""What a denoiser removed from each channel of an image, and how strong the measured noise lets it be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.noise_measurement import Measured
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.noise.channel_noise import ChannelNoise

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Side in pixels of the regions whose means are compared.
_REGION = 32

#: Least standard deviation of noise that a mean is compared with, as a share of the intensity range.
_LEAST_SIGMA = 1e-4

#: Least and largest distance in pixels from which on noise is taken to be independent.
_NEAREST, _FARTHEST = 2, 12


@dataclass(frozen=True, eq=False)
class Removal:
    """One channel of one plane before and after a denoiser.

    Attributes:
        before, after: [H, W], finite, in units of the image.
        valid: [H, W], which pixels hold an intensity and are no impulses.
        variance: [H, W], of the measured noise and of the rounding of the result, in units of the image squared.
        reach: distance in pixels from which on noise is independent, 2 to 12.
        shared: by how much correlation raises the variance of the mean of a region; 1 for white noise.
    """

    before: Values
    after: Values
    valid: Mask
    variance: Values
    reach: int = _NEAREST
    shared: float = 1.0

    @property
    def removed(self) -> Values:
        """[H, W], before - after, and 0 where a pixel is not valid."""
        return np.where(self.valid, self.before - self.after, 0.0)

    @property
    def mean_change(self) -> float:
        """Largest change of the mean of 32 x 32 pixels, in standard errors of that mean; 0 if no region is valid."""
        count = in_blocks(self.valid, _REGION).sum(axis=1)
        used = count >= _REGION**2 // 2
        if not used.any():
            return 0.0
        sums = in_blocks(self.removed, _REGION).sum(axis=1)[used]
        variances = in_blocks(np.where(self.valid, self.variance, 0.0), _REGION).sum(axis=1)[used]
        return float((np.abs(sums) / np.sqrt(variances * self.shared)).max())


def list_removals(source: Source, result: NDArray[Any], measured: Measured) -> Iterator[Removal]:
    """Yield what was removed from each channel of each plane that is denoised.

    Args:
        source: the image.
        result: in shape and axes of the image.
        measured: the noise of the image.
    """
    denoised = open_image(result, axes=source.axes)
    ys, xs = (slice(0, side) for side in source.size_yx)
    for plane in list_planes(source.axes, source.sizes, source.rgb):
        if plane.copied:
            continue
        scale = measured.samples[plane.channel].scale
        before, after = source.read(plane, ys, xs), denoised.read(plane, ys, xs)
        missing = scale.is_missing(before)
        usable = np.ones(before.shape, np.bool_) if missing is None else ~missing
        unit = scale.to_unit(before).astype(np.float64)  # continued where pixels are missing
        for i, noise in enumerate(measured.of_channel(plane.channel)):
            valid = usable[i] & ~noise.impulses.mask(unit[i])
            continued = unit[i] * scale.span + scale.low
            known = [np.where(valid, image[i].astype(np.float64), continued) for image in (before, after)]
            yield _removal(known[0], known[1], valid, noise, scale)


def _removal(before: Values, after: Values, valid: Mask, noise: ChannelNoise, scale: IntensityRange) -> Removal:
    """Return the removal of one channel, whose noise is given in units of its range."""
    sigma = np.maximum(noise.variance.sigma((after - scale.low) / scale.span), _LEAST_SIGMA)
    return Removal(
        before=before,
        after=after,
        valid=valid,
        variance=(sigma**2 + noise.step**2 / 12) * scale.span**2,
        reach=min(max(_NEAREST, noise.correlation), _FARTHEST),
        shared=max(1.0, 4 * pi * noise.width**2, float(noise.box**2)),
    )


def in_blocks(image: NDArray[Any], side: int) -> NDArray[Any]:
    """Return the whole square blocks of [H, W] as [blocks, side * side]; what does not fill a block is left out."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    whole = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return np.asarray(whole.swapaxes(1, 2).reshape(rows * columns, side * side))
