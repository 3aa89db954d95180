"""Noise that a user gives instead of having it measured."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from math import inf

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.errors import NoiseError
from masked_denoiser.noise.blocks import DILATIONS
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.impulses import ImpulseNoise
from masked_denoiser.noise.variance_model import NoiseVariance

#: Standard deviation, as a share of the range, above which given noise must be a mistake in units.
_STRONGEST_SIGMA = 0.7

#: Intensity that stands for bright regions, in units of the range.
_BRIGHT = 0.95

#: Blur width in pixels after which noise is independent at a distance of 1, 2, ... pixels.
_WIDTH_BY_CORRELATION = (0.0, 0.42, 0.65, 0.9, 1.15, 1.4, 1.65, 1.9, 2.15)

#: Largest magnitude of a value, whose square is still a number.
_LARGEST_VALUE = 1e100

#: Settings for noise that is to be measured, and for noise that is not to be considered.
AUTO, NONE = "auto", "none"

#: Keys of given noise, and their synonyms.
_KEYS, _SYNONYMS = ("sigma", "gain", "offset", "read", "correlation"), {"sigma": "read"}


@dataclass(frozen=True)
class GivenNoise:
    """Noise given by the user, in units of the image: variance = gain * (intensity - offset) + read ** 2.

    Attributes:
        gain: intensity of one photon; 0 for noise that does not depend on the intensity.
        offset: intensity without light.
        read: standard deviation without light.
        correlation: smallest distance in pixels at which noise is independent; 1 for white noise.
    """

    gain: float = 0.0
    offset: float = 0.0
    read: float = 0.0
    correlation: int = 1

    def stabilized(self, intensity_range: IntensityRange) -> IntensityRange:
        """Return the range of intensities whose Rician noise is stabilized.

        Raises:
            NoiseError: if this is not the noise of a magnitude image.
        """
        if self.gain or self.offset:
            raise NoiseError(
                "noise of a magnitude image of MRI has neither gain nor offset; give sigma, or state the modality other"
            )
        return intensity_range.with_rician(self.read)

    def check_plausible(self, intensity_range: IntensityRange) -> None:
        """Check the noise against the range with the largest contrast.

        Raises:
            NoiseError: if there is no noise in bright regions, or implausibly much.
        """
        if not self.is_plausible(intensity_range):
            bright = float(self._variance(intensity_range).sigma(_BRIGHT)) * intensity_range.span
            raise NoiseError(
                f"noise of {bright:.3g} at the bright end of an image from {intensity_range.low:g} to "
                f"{intensity_range.high:g} is not plausible; give gain, offset, read and sigma in units of the image, "
                "or 'auto'"
            )

    def is_plausible(self, intensity_range: IntensityRange) -> bool:
        """Return whether there is noise in bright regions of a range, and less than its contrast."""
        return bool(0 < float(self._variance(intensity_range).sigma(_BRIGHT)) <= _STRONGEST_SIGMA)

    def _variance(self, intensity_range: IntensityRange) -> NoiseVariance:
        low, span = intensity_range.low, intensity_range.span
        return NoiseVariance(self.gain / span, (self.read**2 - self.gain * (self.offset - low)) / span**2)

    def to_channel_noise(self, intensity_range: IntensityRange) -> ChannelNoise:
        """Return the noise in units of a range, in which white is 1."""
        low, span, variance = intensity_range.low, intensity_range.span, self._variance(intensity_range)
        middle, bright = (float(variance.sigma(intensity)) for intensity in (0.5, _BRIGHT))
        return ChannelNoise(
            gain=variance.gain,
            offset=(self.offset - low) / span,
            read=self.read / span,
            sigma=middle,
            bright=bright,
            correlation=self.correlation,
            impulses=ImpulseNoise(),
            stripes=0.0,
            clipped=(-inf, inf),
            certain=True,
            width=_WIDTH_BY_CORRELATION[self.correlation - 1],
        )


def parse_given_noise(text: str) -> GivenNoise | None:
    """Parse `sigma=12` or `gain=2.1,offset=100,read=5,correlation=2`; return None for "auto" and "none".

    Raises:
        NoiseError: for anything else.
    """
    if text in (AUTO, NONE):
        return None
    if "sigma" in text and "read" in text:
        raise NoiseError(f"noise {text!r}: sigma and read both mean the noise without light; give one of them")
    values: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        key = _SYNONYMS.get(name, name)
        if key in values:
            raise NoiseError(f"noise {text!r} gives {name} twice; give it once")
        values[key] = _parse_number(text, number if equals else "")
        if name not in _KEYS:
            raise NoiseError(f"noise {text!r}: {name!r} is unknown; choose from {', '.join(_KEYS)}")
    if values.get("gain", 0.0) < 0 or values.get("read", 0.0) < 0:
        raise NoiseError(f"noise {text!r}: gain, read and sigma cannot be negative")
    if not values.get("gain") and not values.get("read"):
        raise NoiseError(f"noise {text!r} has no strength; give sigma, or gain and read, or 'none'")
    correlation = values.pop("correlation", 1.0)
    if correlation not in (1, *DILATIONS):
        raise NoiseError(
            f"noise {text!r}: correlation is {correlation:g}; give 1 (white noise) to {max(DILATIONS)} pixels"
        )
    return GivenNoise(**values, correlation=int(correlation))


def _parse_number(text: str, number: str) -> float:
    with suppress(ValueError):
        if abs(value := float(number)) <= _LARGEST_VALUE:
            return value
    raise NoiseError(
        f"noise {text!r} is invalid; give 'auto', 'none', or values as in 'sigma=12' or 'gain=2,offset=100,read=5'"
    )
