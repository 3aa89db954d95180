"""What to do about an image's noise: measured, given by the user, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

from masked_denoiser.denoising.intensity import IntensityRange
from masked_denoiser.denoising.noise_measurement import Measured, measure_noise
from masked_denoiser.denoising.noise_treatment import NoiseTreatment, choose_treatment
from masked_denoiser.denoising.training_noise import training_noise
from masked_denoiser.errors import UserError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.models.card import Card
from masked_denoiser.noise.blocks import SPREADS
from masked_denoiser.noise.estimation import ChannelNoise
from masked_denoiser.noise.variance_model import NoiseVariance

#: Noise as strong as this share of an image's range leaves nothing of the image: a mistake in units.
_STRONGEST = 0.7

#: What `noise` is called that is measured, and that is not looked at.
AUTO, NONE = "auto", "none"


class NoiseError(UserError, ValueError):
    """A description of noise that cannot be used."""


@dataclass(frozen=True)
class GivenNoise:
    """Noise as a user gives it, in units of the image: variance = gain * (intensity - offset) + read ** 2.

    Attributes:
        gain: intensity of one photon; 0 for noise that does not grow with the light.
        offset: intensity without any light.
        read: standard deviation without light.
        correlation: smallest distance in pixels at which noise is independent; 1 for white noise.
    """

    gain: float = 0.0
    offset: float = 0.0
    read: float = 0.0
    correlation: int = 1

    def in_range(self, scale: IntensityRange) -> ChannelNoise:
        """The same in units of a range, in which white is 1."""
        span = scale.high - scale.low
        level = NoiseVariance(self.gain / span, (self.read**2 - self.gain * (self.offset - scale.low)) / span**2)
        middle, bright = (float(level.sigma(at)) for at in (0.5, 0.95))
        if not 0 < bright <= _STRONGEST:
            raise NoiseError(
                f"noise of {bright * span:.3g} at the bright end of an image of {scale.low:g} to {scale.high:g} cannot "
                "be; give gain, offset, read and sigma in units of the image, or 'auto'"
            )
        offset, read = (self.offset - scale.low) / span, self.read / span
        return ChannelNoise(
            level.gain, offset, read, middle, bright, self.correlation, 0.0, 0.0, 0.0, (-inf, inf), certain=True
        )


@dataclass(frozen=True)
class NoiseChoice:
    """What is done about noise.

    Attributes:
        treatments: by `Plane.range_key`.
        verdict: the noise, for a person; empty where it was not looked at.
    """

    treatments: Mapping[int, NoiseTreatment]
    verdict: str = ""


def parse_given_noise(text: str) -> GivenNoise | None:
    """Reads `sigma=12`, or `gain=2.1,offset=100,read=5,correlation=2`; None for "auto" and "none".

    Raises:
        NoiseError: for anything else.
    """
    if text in (AUTO, NONE):
        return None
    if "sigma" in text and "read" in text:
        raise NoiseError(f"noise {text!r}: sigma is another name for read noise without photons; give one of them")
    values: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if {"sigma": "read"}.get(name, name) in values:
            raise NoiseError(f"noise {text!r} gives {name} twice; give it once")
        values[{"sigma": "read"}.get(name, name)] = _number(text, number) if equals else _number(text, "")
        if name not in ("sigma", "gain", "offset", "read", "correlation"):
            raise NoiseError(f"noise {text!r}: {name!r} is none of sigma, gain, offset, read, correlation")
    if values.get("gain", 0.0) < 0 or values.get("read", 0.0) < 0:
        raise NoiseError(f"noise {text!r}: gain, read and sigma cannot be negative")
    if not values.get("gain") and not values.get("read"):
        raise NoiseError(f"noise {text!r} has no strength; give sigma, or gain and read, or 'none'")
    length = values.pop("correlation", 1.0)
    if length not in (1, *SPREADS):
        raise NoiseError(f"noise {text!r}: correlation is {length:g}; give 1 (white noise) to {max(SPREADS)} pixels")
    return GivenNoise(**values, correlation=int(length))


def choose(
    noise: str, source: Source, planes: Sequence[Plane], ranges: Mapping[int, IntensityRange], card: Card, seed: int
) -> NoiseChoice:
    """What to do about the noise of an image.

    Args:
        noise: "auto", "none", or as `parse_given_noise` reads it.
        source: the image; a sample of it is read for "auto".
        planes: those that are denoised.
        ranges: of the planes, by `Plane.range_key`.
        card: of the model.
        seed: of the sample.

    Raises:
        NoiseError: if `noise` cannot be read.
    """
    noise = noise.strip().lower()
    given = parse_given_noise(noise)
    if noise == NONE or not ranges:
        return NoiseChoice({key: NoiseTreatment() for key in ranges})
    known = training_noise(card)
    if given is not None:
        of_ranges = {key: given.in_range(scale) for key, scale in ranges.items()}
        return NoiseChoice({k: choose_treatment([n], known, weak_alone=False) for k, n in of_ranges.items()}, noise)
    measured = measure_noise(source, planes=planes, ranges=ranges, seed=seed)
    return NoiseChoice(treatments_of(measured, card), measured.estimate.verdict)


def treatments_of(measured: Measured, card: Card) -> dict[int, NoiseTreatment]:
    """What to do about measured noise with a model, by `Plane.range_key`."""
    by_key: dict[int, list[ChannelNoise]] = {}
    for key, channel in zip(measured.keys, measured.estimate.channels, strict=True):
        by_key.setdefault(key, []).append(channel)
    return {key: choose_treatment(channels, training_noise(card)) for key, channels in by_key.items()}


def _number(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise NoiseError(
            f"noise {text!r} is neither 'auto' nor 'none' nor like 'sigma=12' or 'gain=2,offset=100,read=5'"
        )
    return value
