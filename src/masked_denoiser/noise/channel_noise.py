"""The noise of one channel, in figures."""

from __future__ import annotations

from dataclasses import dataclass

from masked_denoiser.noise.impulses import ImpulseNoise
from masked_denoiser.noise.variance_model import NoiseVariance

#: Noise up to so many quantization steps is below the rounding of the values.
ROUNDING = 0.75


@dataclass(frozen=True)
class ChannelNoise:
    """The noise of one channel, in units of the image's range.

    Attributes:
        gain: intensity of one photon: the variance grows by it for each unit of intensity. 0 for noise that does
            not grow with the light.
        offset: intensity without any light; where it cannot be distinguished from read noise, 0.
        read: standard deviation without light.
        sigma: standard deviation at the median intensity.
        bright: standard deviation at the 95th percentile of intensity, where it may be much stronger.
        correlation: the smallest distance in pixels at which noise is independent; 1 for white noise.
        impulses: dead and hot pixels.
        stripes: standard deviation of whole rows or columns against each other.
        clipped: lowest and highest intensity, where the image is clipped there; else infinite.
        certain: whether there were enough flat blocks to measure on.
        width: standard deviation in pixels of the Gaussian blur that explains the correlation; 0 for white noise.
        box: side in pixels of the mean that explains it better; 0 for none.
        confidence: 0 to 1, that what looks like correlated noise is noise.
        evidence: what speaks for or against correlated noise.
        suspected: standard deviation of what looks like correlated noise but may be structure, and is left alone.
        contrast: median standard deviation of the image within 16 x 16 pixels, without noise.
        step: quantization step of the intensities; 0 for none.
        floor: least variance of the noise at any intensity.
        quadratic: variance that each unit of squared intensity adds, as speckle does; 0 where noise grows by a line.
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

    @property
    def is_constant(self) -> bool:
        """Whether the channel holds one value only, as the empty channels of a single stain saved as RGB do."""
        return self.clipped[0] == self.clipped[1]

    @property
    def is_doubtful(self) -> bool:
        """Whether there is fine texture that is noise, or may be."""
        return self.suspected > 0 or self.correlation > 1

    @property
    def variance(self) -> NoiseVariance:
        """Variance against intensity."""
        return NoiseVariance(self.gain, self.read**2 - self.gain * self.offset, self.floor, self.quadratic)


def below_rounding(noise: ChannelNoise) -> bool:
    """Return whether noise is no stronger than the rounding of the values, even in bright parts."""
    return max(noise.sigma, noise.bright) <= max(ROUNDING * noise.step, 1e-9)
