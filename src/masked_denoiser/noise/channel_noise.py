"""Measured noise of one channel."""

from __future__ import annotations

from dataclasses import dataclass

from masked_denoiser.noise.impulses import ImpulseNoise
from masked_denoiser.noise.variance_model import NoiseVariance

#: Standard deviation in quantization steps up to which noise is below the rounding of the values.
ROUNDING_STEPS = 0.75


@dataclass(frozen=True)
class ChannelNoise:
    """Noise of one channel, in units of its intensity range.

    Attributes:
        gain: intensity of one photon, by which the variance grows for each unit of intensity; 0 for noise that does
            not depend on intensity, negative for noise that falls with it, as that of an inverted image.
        offset: intensity without light; 0 if it cannot be distinguished from read noise.
        read: standard deviation without light.
        sigma: standard deviation at the median intensity.
        bright: standard deviation at the 95th percentile of the intensity.
        correlation: the smallest distance in pixels at which noise is independent; 1 for white noise.
        impulses: dead and hot pixels.
        stripes: standard deviation of whole rows or columns relative to their neighbours, in addition to the noise.
        vertical_stripes: whether these are columns.
        clipped: lowest and highest intensity if the image is clipped there, else infinite.
        certain: whether there were enough blocks for a reliable measurement.
        width: standard deviation in pixels of the Gaussian blur that explains the correlation; 0 for white noise.
        box: side in pixels of the box mean that explains it better; 0 if none does.
        confidence: confidence from 0 to 1 that apparently correlated noise is noise.
        evidence: reason for or against correlated noise.
        suspected: standard deviation of apparently correlated noise that may be structure, and is preserved.
        contrast: median standard deviation of the image within 16 x 16 pixels, without noise.
        step: quantization step of the intensities; 0 if there is none.
        floor: lower limit of the noise variance at any intensity.
        quadratic: variance that each unit of squared intensity adds, as in speckle; 0 if noise grows linearly.
    """

    gain: float
    offset: float
    read: float
    sigma: float
    bright: float
    correlation: int
    impulses: ImpulseNoise
    stripes: float
    clipped: tuple[float, float]
    certain: bool
    width: float = 0.0
    box: int = 0
    confidence: float = 1.0
    evidence: str = ""
    suspected: float = 0.0
    contrast: float = 1.0
    step: float = 0.0
    floor: float = 0.0
    quadratic: float = 0.0
    vertical_stripes: bool = False

    @property
    def is_constant(self) -> bool:
        """Whether the channel has a single value, as the empty channels of a single stain saved as RGB."""
        return self.clipped[0] == self.clipped[1]

    @property
    def is_doubtful(self) -> bool:
        """Whether there is fine texture that is or may be noise."""
        return self.suspected > 0 or self.correlation > 1

    @property
    def variance(self) -> NoiseVariance:
        """Variance as a function of intensity."""
        return NoiseVariance(self.gain, self.read**2 - self.gain * self.offset, self.floor, self.quadratic)


def below_rounding(noise: ChannelNoise) -> bool:
    """Return whether noise is no stronger than the rounding of the values, even in bright regions."""
    return max(noise.sigma, noise.bright) <= max(ROUNDING_STEPS * noise.step, 1e-9)
