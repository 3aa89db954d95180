"""Measured noise of training images, in units of their patches, and new noise of the same kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from masked_denoiser.denoising.noise_measurement import NoiseMeasurement, measure_noise
from masked_denoiser.denoising.noise_treatment import NoiseTreatment, finish_treatment
from masked_denoiser.denoising.tile_denoiser import MAP_REACH
from masked_denoiser.images.planes import Plane
from masked_denoiser.noise.channel_noise import ChannelNoise, below_rounding
from masked_denoiser.noise.variance_model import NoiseVariance
from masked_denoiser.training.data.patches import Patch, TrainingImage

#: Distance from an intensity at which the image is clipped, in standard deviations, from which on few pixels are
#: clipped: the noise has 90% of its variance there.
_CLIPPING_SIGMAS = 1.5
#: Tolerance of that intensity, in units of a patch.
_CLIPPING_TOLERANCE = 1e-5
#: Side in pixels of the squares whose mean stands for the true intensity of their middle.
_LOCAL_SIDE = 5


@dataclass(frozen=True)
class PatchNoise:
    """Noise of the patches of a plane, in units of the patches.

    Attributes:
        variances: of each channel, or once for all channels.
        limits: lowest and highest intensity where the image is clipped; infinite where it is not.
        width, box: of the blur that explains the correlation; see `ChannelNoise`.
        shared: whether all channels have the same noise, as a gray plane that is repeated for an RGB network.
    """

    variances: tuple[NoiseVariance, ...]
    limits: tuple[float, float]
    width: float
    box: int
    shared: bool

    def variance(self, patch: Patch) -> Patch:
        """Return the variance of the noise of each pixel, in the shape of the patch [C, H, W]."""
        return self._variance_at(_local_mean(patch, _LOCAL_SIDE))

    def draw(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """Draw new noise of the same kind, in the shape of the patch [C, H, W]; none where a pixel is clipped."""
        white = rng.standard_normal((1 if self.shared else len(patch), *patch.shape[1:]))
        noise = np.sqrt(self.variance(patch)) * self._blurred(white)
        low, high = self.limits
        is_clipped = (patch <= low + _CLIPPING_TOLERANCE) | (patch >= high - _CLIPPING_TOLERANCE)
        return np.where(is_clipped, 0.0, noise).astype(np.float32)

    def noise_map(self, patch: Patch) -> Patch:
        """Return the noise map [2, H, W] that the network gets at inference; see `MaskedU.forward`."""
        side = 2 * MAP_REACH + 1
        variance = self._variance_at(_local_mean(patch, side)).mean(axis=0)
        return np.stack([np.sqrt(variance), np.ones_like(variance)])

    def unclipped(self, patch: Patch) -> NDArray[np.bool_]:
        """Return where no channel is so bright or dark that its noise is clipped, [1, H, W]."""
        mean = _local_mean(patch, _LOCAL_SIDE)
        margin = _CLIPPING_SIGMAS * np.sqrt(self._variance_at(mean))
        low, high = self.limits
        inside = (mean - margin >= low) & (mean + margin <= high)
        return np.asarray(inside.all(axis=0, keepdims=True), np.bool_)

    def _variance_at(self, patch: Patch) -> Patch:
        """Return the variance of the noise at true intensities [C, H, W]."""
        models = self.variances * (len(patch) if len(self.variances) == 1 else 1)
        squares = [model.sigma(channel.astype(np.float64)) ** 2 for model, channel in zip(models, patch, strict=True)]
        return np.stack(squares).astype(np.float32)

    def _blurred(self, white: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return white noise [C, H, W] blurred to the correlation of the noise, with a variance of 1."""
        if self.box:
            return np.asarray(uniform_filter(white, (1, self.box, self.box), mode="wrap") * self.box)
        if not self.width:
            return white
        impulse = np.zeros(white.shape[1:])
        impulse[0, 0] = 1.0
        norm = np.sqrt(np.square(gaussian_filter(impulse, self.width, mode="wrap")).sum())
        return np.asarray(gaussian_filter(white, (0, self.width, self.width), mode="wrap") / norm)


@dataclass(frozen=True, eq=False)
class ImageNoise:
    """Measured noise of a training image.

    Attributes:
        image: the image.
        measurement: its noise.
    """

    image: TrainingImage
    measurement: NoiseMeasurement

    @classmethod
    def measure(cls, image: TrainingImage) -> ImageNoise:
        """Measure the noise of an image."""
        return cls(image, measure_noise(image.source, planes=image.planes))

    def why_unknown(self, plane: Plane) -> str:
        """Return why no noise of the same kind can be drawn, as a clause; "" if it can."""
        if self.measurement.samples[plane.channel].intensity_range.rician:
            return "it is Rician"
        reasons = map(_why_unknown, self.measurement.of_channel(plane.channel))
        return next(filter(None, reasons), "")

    def of_plane(self, plane: Plane) -> PatchNoise:
        """Return the noise of the patches of a plane."""
        channels = self.measurement.of_channel(plane.channel)
        sample = self.measurement.samples[plane.channel]
        measured, wanted = sample.intensity_range, self.image.ranges[plane.range_key]
        ratio, shift = measured.span / wanted.span, (measured.low - wanted.low) / wanted.span
        low, high = finish_treatment(NoiseTreatment(), channels).clipping_limits
        return PatchNoise(
            tuple(channel.variance.in_units(ratio, shift) for channel in channels),
            (low * ratio + shift, high * ratio + shift),
            max(channel.width for channel in channels),
            max(channel.box for channel in channels),
            plane.channels == 1 or sample.is_gray,
        )


def _why_unknown(noise: ChannelNoise) -> str:
    """Return why noise like this cannot be drawn, as a clause; "" if it can."""
    reasons = (
        (not noise.certain, "there are too few pixels to measure it"),
        (below_rounding(noise), "it is weaker than the rounding of the intensities"),
        (noise.stripes > 0, "it has stripes"),
        (noise.impulses.share > 0, "it has dead or hot pixels"),
        (noise.suspected > noise.sigma, "it cannot be distinguished from fine texture"),
    )
    return next((text for applies, text in reasons if applies), "")


def _local_mean(patch: Patch, side: int) -> Patch:
    return np.asarray(uniform_filter(patch, (1, side, side), mode="reflect"), np.float32)
