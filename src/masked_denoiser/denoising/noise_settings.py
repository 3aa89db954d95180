"""What to do about an image's noise: measured, given by the user, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import inf, isfinite

import torch

from masked_denoiser.denoising.contrast_groups import group_by_contrast, noise_of_group, samples_of_groups
from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.noise_measurement import Measured, NoiseSample, measure_noise
from masked_denoiser.denoising.noise_treatment import (
    IDENTITY,
    NoiseSummary,
    NoiseTreatment,
    finish_treatment,
    in_range,
    list_candidates,
    noise_limits,
    rounded,
)
from masked_denoiser.denoising.tile_denoiser import TileDenoiser, replace_impulses
from masked_denoiser.denoising.training_noise import TrainingNoise, training_noise
from masked_denoiser.denoising.treatment_trial import Judgement, best_of, choose_places, judge
from masked_denoiser.errors import NoiseError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.inference.runner import Batch, ModelRunner
from masked_denoiser.models.file import Model
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.noise.blocks import SPREADS
from masked_denoiser.noise.channel_noise import ChannelNoise, below_rounding
from masked_denoiser.noise.impulses import ImpulseNoise
from masked_denoiser.noise.variance_model import NoiseVariance

#: Side in pixels of the places that treatments are tried on, and how many: fewer where each takes longer.
_PLACE, _PLACES, _PLACES_OF_STRIDES, _PLACES_OF_SWIN = 96, 4, 3, 2

#: Noise as strong as this share of an image's range leaves nothing of the image: a mistake in units.
_STRONGEST = 0.7

#: Width in pixels of the blur whose noise is independent from 1, 2, ... pixels on.
_WIDTHS = (0.0, 0.42, 0.65, 0.9, 1.15, 1.4)

#: Why an image is left alone, or only a share of the correction is taken.
_BLANK = "it has one intensity only"
_BELOW_ROUNDING = "its noise is below the rounding of its values"
_TOO_LITTLE = "there is too little of it to measure its noise on"
_WEAK = "its noise is weak against its contrast"
_NOT_WORTH_IT = "whatever was tried on a sample would remove about as much structure as noise"
_PARTLY_STRUCTURE = "some of what would be removed may be structure"

#: What `noise` is called that is measured, and that is not looked at.
AUTO, NONE = "auto", "none"


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
            level.gain,
            offset,
            read,
            middle,
            bright,
            self.correlation,
            ImpulseNoise(),
            0.0,
            (-inf, inf),
            certain=True,
            width=_WIDTHS[min(self.correlation, len(_WIDTHS)) - 1],
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
    noise: str,
    source: Source,
    planes: Sequence[Plane],
    ranges: Mapping[int, IntensityRange],
    model: Model,
    seed: int,
    *,
    rounded_output: bool = True,
) -> NoiseChoice:
    """Decide what to do about the noise of an image.

    Args:
        noise: "auto", "none", or as `parse_given_noise` reads it.
        source: the image; a sample of it is read for "auto".
        planes: those that are denoised.
        ranges: of the planes, by `Plane.range_key`.
        model: the treatments of "auto" are tried with it, on the CPU.
        seed: of the sample.
        rounded_output: whether the result has the quantization of the image; False for results as float32.

    Raises:
        NoiseError: if `noise` cannot be read.
    """
    noise = noise.strip().lower()
    given = parse_given_noise(noise)
    if noise == NONE or not ranges:
        return NoiseChoice({key: NoiseTreatment() for key in ranges})
    if given is not None:
        known = training_noise(model.card)
        treat = partial(_treat_given, known=known, noise_map=_takes_noise_map(model))
        treated = {key: treat(given.in_range(scale)) for key, scale in ranges.items()}
        return NoiseChoice(treated, noise)
    measured = measure_noise(source, planes=planes, ranges=ranges, seed=seed)
    treatments = choose_treatments(measured, planes, ranges, model, rounded_output=rounded_output)
    return NoiseChoice(treatments, measured.estimate.verdict)


def _takes_noise_map(model: Model) -> bool:
    architecture = model.card.architecture
    return isinstance(architecture, UConfig) and architecture.noise_map


def _treat_given(noise: ChannelNoise, known: TrainingNoise, *, noise_map: bool) -> NoiseTreatment:
    """The treatment of noise that a user gives: by what the model was trained with, since nothing was measured."""
    summary = NoiseSummary.of([noise])
    stabilize = summary.grows and not known.knows_light(summary.variance)
    candidates = list_candidates(summary, known, stabilize=stabilize, noise_map=noise_map)
    strided = noise.correlation > known.correlated
    chosen = next((c for c in candidates if bool(c.strides) == strided), candidates[0])
    return finish_treatment(chosen, [noise])


def choose_treatments(
    measured: Measured,
    planes: Sequence[Plane],
    ranges: Mapping[int, IntensityRange],
    model: Model,
    *,
    rounded_output: bool = True,
) -> dict[int, NoiseTreatment]:
    """Return the treatment of each channel and epoch, by `Plane.range_key`.

    Epochs of like contrast share one, and differ in units only.
    """
    trial, known = _Trial(model), training_noise(model.card)
    keys: dict[int, list[int]] = {}
    for key, channel in {plane.range_key: plane.channel for plane in planes if not plane.copied}.items():
        keys.setdefault(channel, []).append(key)
    chosen: dict[int, NoiseTreatment] = {}
    for channel, whole in measured.samples.items():
        groups = group_by_contrast(keys[channel], ranges)
        for group, sample in zip(groups, samples_of_groups(whole, groups, ranges), strict=True):
            noise = noise_of_group(measured.of_channel(channel), sample, whole) if len(groups) > 1 else None
            noise, sample = (noise, sample) if noise else (measured.of_channel(channel), whole)
            treatment = _choose(noise, sample, trial, rounded_output=rounded_output)
            chosen |= {key: in_range(treatment, sample.scale, ranges[key], known) for key in group}
        chosen |= {key: replace(IDENTITY, reason=_BLANK) for key in keys[channel] if ranges[key].blank}
    return {key: chosen[key] for of_channel in keys.values() for key in of_channel}


def _choose(
    channels: list[ChannelNoise], sample: NoiseSample, trial: _Trial, *, rounded_output: bool
) -> NoiseTreatment:
    if not rounded_output:
        channels = [replace(channel, step=0.0) for channel in channels]
    summary = NoiseSummary.of(channels)
    striped = any(c.stripes for c in channels)
    if not striped and not noise_limits(channels):
        return finish_treatment(replace(IDENTITY, reason=_TOO_LITTLE), channels, gray=sample.gray)
    visible = 1.0 if striped else summary.visible
    gray = sample.gray
    finish = partial(finish_treatment, channels=channels, gray=gray)
    if not visible:
        weak = _BELOW_ROUNDING if all(map(below_rounding, channels)) else _WEAK
        return finish(replace(IDENTITY, reason=weak))
    candidates = [finish(candidate) for candidate in trial.candidates(summary, sample.middle)]
    if striped:
        return replace(candidates[0], noise_map=False)
    best = best_of(trial.judge(candidates, sample, summary))
    if best is None:
        return finish(replace(IDENTITY, reason=_NOT_WORTH_IT))
    reason = "" if min(visible, best.blend) == 1 else _WEAK if visible <= best.blend else _PARTLY_STRUCTURE
    return replace(best.treatment, blend=rounded(min(visible, best.blend)), reason=reason)


class _Trial:
    """Runs candidates on places of a sample, on the CPU; the network is built when it is first needed."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @cached_property
    def _denoiser(self) -> TileDenoiser:
        network = ModelRunner(self.model, torch.device("cpu"))
        return TileDenoiser(network, network.config.grid)

    def candidates(self, noise: NoiseSummary, middle: float) -> list[NoiseTreatment]:
        """Return what is worth a trial with this model."""
        known = training_noise(self.model.card)
        return list_candidates(noise, known, noise_map=_takes_noise_map(self.model), middle=middle)

    def judge(self, candidates: list[NoiseTreatment], sample: NoiseSample, noise: NoiseSummary) -> list[Judgement]:
        """Return what the candidates did to the noise of a sample."""
        count = _PLACES if not any(candidate.strides for candidate in candidates) else _PLACES_OF_STRIDES
        count = _PLACES_OF_SWIN if isinstance(self.model.card.architecture, SwinConfig) else count
        places = [
            replace_impulses(p[None], candidates[0])[0]
            for p in choose_places(sample.stacks, sample.missing, _PLACE, count)
        ]
        return judge(candidates, places, self._denoise, candidates[0].limits, noise.width, noise.box)

    def _denoise(self, tiles: Batch, treatment: NoiseTreatment) -> Batch:
        return self._denoiser(tiles, ((0, 0),) * len(tiles), treatment).mean


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
