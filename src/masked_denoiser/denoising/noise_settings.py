"""Noise settings of a job: noise that is measured, noise that the user gives, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch

from masked_denoiser.denoising.contrast_groups import group_by_contrast, noise_of_group, samples_of_groups
from masked_denoiser.denoising.impulse_replacement import replace_impulses
from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.intensity.rectangles import group_planes
from masked_denoiser.denoising.measurement.given_noise import NONE, parse_given_noise
from masked_denoiser.denoising.measurement.modality import stated_modality
from masked_denoiser.denoising.measurement.sample import NoiseSample
from masked_denoiser.denoising.noise_measurement import NoiseMeasurement, measure_noise
from masked_denoiser.denoising.noise_treatment import (
    IDENTITY,
    NoiseTreatment,
    convert_to_range,
    finish_treatment,
    measured_channels,
    to_six_digits,
)
from masked_denoiser.denoising.tile_denoiser import TileDenoiser
from masked_denoiser.denoising.training_noise import TrainingNoise, training_noise
from masked_denoiser.denoising.treatment_candidates import NoiseSummary, list_candidates
from masked_denoiser.denoising.treatment_trial import (
    AddedNoise,
    TrialResult,
    choose_patches,
    run_trials,
    select_best,
)
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.inference.runner import Batch, ModelRunner
from masked_denoiser.models.file import Model
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.noise.channel_noise import ChannelNoise, below_rounding
from masked_denoiser.noise.modalities.prior import Modality, RequestedModality, prior_of

#: Side in pixels of the places on which treatments are tried.
_PLACE_SIDE = 96

#: Number of such places; fewer if a candidate has strides or the network is a Swin network, which take longer.
_PLACES, _PLACES_WITH_STRIDES, _PLACES_WITH_SWIN = 4, 3, 2

#: Reasons for leaving an image alone, or for applying only a share of the correction.
_BLANK = "there is one intensity only"
_BELOW_ROUNDING = "the noise is below the rounding of the values"
_TOO_LITTLE = "there is too little to measure the noise on"
_NO_CONTRAST = "the given noise is zero at its intensities, or exceeds their differences"
_WEAK = "the noise is weak against the contrast"
_PLANES_DIFFER = "the noise of its planes differs, so that no treatment suits all; denoise some at a time (--select)"
_NOT_WORTH_IT = "whatever was tried on a sample would remove about as much structure as noise"
_PARTLY_STRUCTURE = "some of what would be removed may be structure"


#: Ratio of the residuals of planes from which on their noise is not alike.
_MAX_NOISE_RATIO = 2.0


@dataclass(frozen=True)
class NoiseChoice:
    """Noise treatments of an image.

    Attributes:
        treatments: by `Plane.range_key`.
        ranges: by `Plane.range_key`; of stabilized intensities where noise is Rician.
        modality: of the image, as it was stated or recognised.
        verdict: description of the noise for the user; empty if noise is not considered.
    """

    treatments: Mapping[int, NoiseTreatment]
    ranges: Mapping[int, IntensityRange]
    modality: Modality = "other"
    verdict: str = ""


def resolve_noise(
    noise: str,
    source: Source,
    planes: Sequence[Plane],
    ranges: Mapping[int, IntensityRange],
    model: Model,
    seed: int,
    *,
    rounded_output: bool = True,
    modality: RequestedModality = "auto",
) -> NoiseChoice:
    """Return the noise treatments that a setting stands for.

    Args:
        noise: "auto", "none", or as accepted by `parse_given_noise`.
        source: the image, of which a sample is read for "auto".
        planes: those that are denoised.
        ranges: of the planes, by `Plane.range_key`.
        model: for "auto", treatments are tried with it on the CPU.
        seed: of the sample.
        rounded_output: whether the result has the quantization of the image; False for float32 results.
        modality: of the image; "auto" is that of the file, or else what the noise shows.

    Raises:
        NoiseError: if `noise` cannot be parsed, or the image cannot have the modality.
    """
    noise = noise.strip().lower()
    given = parse_given_noise(noise)
    if noise == NONE or not ranges:
        stated = stated_modality(modality, source) or "other"
        return NoiseChoice({key: NoiseTreatment() for key in ranges}, ranges, stated)
    if given is not None:
        stated = stated_modality(modality, source) or "other"
        treat = partial(_treat_given, training=training_noise(model.card), noise_map=_takes_noise_map(model))
        of_noise = {key: given.stabilized(each) if stated == "mri" else each for key, each in ranges.items()}
        given.check_plausible(max(of_noise.values(), key=lambda each: each.span))
        no_contrast = replace(IDENTITY, reason=_NO_CONTRAST)
        treatments = {
            key: treat(given.to_channel_noise(each)) if given.is_plausible(each) else no_contrast
            for key, each in of_noise.items()
        }
        text = f"{noise}{', Rician' if stated == 'mri' else ''}"
        return NoiseChoice(_by_place(treatments, stated), of_noise, stated, text)
    measured = measure_noise(source, planes=planes, ranges=ranges, seed=seed, modality=modality)
    treatments = choose_treatments(measured, planes, measured.ranges, model, rounded_output=rounded_output)
    treatments = _by_place(treatments, measured.modality)
    return NoiseChoice(treatments, measured.ranges, measured.modality, measured.estimate.verdict)


def _by_place(treatments: dict[int, NoiseTreatment], modality: Modality) -> dict[int, NoiseTreatment]:
    """Return treatments whose noise maps follow the noise of each place, if it differs in this modality."""
    if not prior_of(modality).by_place:
        return treatments
    return {key: replace(treatment, by_place=treatment.noise_map) for key, treatment in treatments.items()}


def _takes_noise_map(model: Model) -> bool:
    architecture = model.card.architecture
    return isinstance(architecture, UConfig) and architecture.noise_map


def _treat_given(noise: ChannelNoise, training: TrainingNoise, *, noise_map: bool) -> NoiseTreatment:
    """Return the treatment of given noise. It follows from the training noise alone, as nothing was measured."""
    summary = NoiseSummary.of([noise])
    stabilize = summary.is_signal_dependent and not training.covers_photon_noise(summary.variance)
    candidates = list_candidates(summary, training, stabilize=stabilize, noise_map=noise_map)
    needs_strides = noise.correlation > training.correlation
    chosen = next((c for c in candidates if bool(c.strides) == needs_strides), candidates[0])
    return finish_treatment(chosen, [noise])


def choose_treatments(
    measured: NoiseMeasurement,
    planes: Sequence[Plane],
    ranges: Mapping[int, IntensityRange],
    model: Model,
    *,
    rounded_output: bool = True,
) -> dict[int, NoiseTreatment]:
    """Return the treatment of each channel and epoch, by `Plane.range_key`.

    Epochs of similar contrast have the same treatment, converted to units of their ranges.
    """
    trial, training = _Trial(model), training_noise(model.card)
    by_channel = group_planes(planes, "channel")
    keys = {channel: list(dict.fromkeys(plane.range_key for plane in group)) for channel, group in by_channel.items()}
    chosen: dict[int, NoiseTreatment] = {}
    for channel, channel_sample in measured.samples.items():
        groups = group_by_contrast(keys[channel], ranges)
        for group, group_sample in zip(groups, samples_of_groups(channel_sample, groups, ranges), strict=True):
            noise, sample = measured.of_channel(channel), channel_sample
            if len(groups) > 1 and (group_noise := noise_of_group(noise, group_sample, channel_sample)):
                noise, sample = group_noise, group_sample
            treatment = _choose_treatment(noise, sample, trial, rounded_output=rounded_output)
            old = sample.intensity_range
            chosen |= {key: convert_to_range(treatment, old, ranges[key], training) for key in group}
        chosen |= {key: replace(IDENTITY, reason=_BLANK) for key in keys[channel] if ranges[key].blank}
    return {key: chosen[key] for of_channel in keys.values() for key in of_channel}


def _choose_treatment(
    channels: list[ChannelNoise], sample: NoiseSample, trial: _Trial, *, rounded_output: bool
) -> NoiseTreatment:
    if not rounded_output:
        channels = [replace(channel, step=0.0) for channel in channels]
    striped = any(c.stripes for c in channels)
    finish = partial(finish_treatment, channels=channels, gray=sample.is_gray)
    measured = measured_channels(channels)
    if not measured:
        return finish(replace(IDENTITY, reason=_TOO_LITTLE))
    summary = NoiseSummary.of(measured)
    visibility = 1.0 if striped else summary.visibility
    if not visibility:
        return finish(replace(IDENTITY, reason=_BELOW_ROUNDING if all(map(below_rounding, channels)) else _WEAK))
    candidates = [finish(candidate) for candidate in trial.candidates(summary, sample.median_intensity)]
    best = select_best(trial.run(candidates, sample, summary))
    if best is None:
        is_alike = sample.noise_ratio < _MAX_NOISE_RATIO
        return finish(replace(IDENTITY, reason=_NOT_WORTH_IT if is_alike else _PLANES_DIFFER))
    blend = min(visibility, best.blend)
    reason = "" if blend == 1 else _WEAK if visibility <= best.blend else _PARTLY_STRUCTURE
    return replace(best.treatment, blend=to_six_digits(blend), reason=reason)


class _Trial:
    """Trial of candidates on places of a sample, on the CPU; the network is built when it is first needed."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @cached_property
    def _denoiser(self) -> TileDenoiser:
        runner = ModelRunner(self.model, torch.device("cpu"))
        return TileDenoiser(runner, runner.config.grid, keep_faint=False)

    def candidates(self, noise: NoiseSummary, median_intensity: float) -> list[NoiseTreatment]:
        """Return the treatments that are worth a trial with this model."""
        training, noise_map = training_noise(self.model.card), _takes_noise_map(self.model)
        return list_candidates(noise, training, noise_map=noise_map, median_intensity=median_intensity)

    def run(self, candidates: list[NoiseTreatment], sample: NoiseSample, noise: NoiseSummary) -> list[TrialResult]:
        """Return the effect of each candidate on a sample."""
        count = _PLACES if not any(candidate.strides for candidate in candidates) else _PLACES_WITH_STRIDES
        count = _PLACES_WITH_SWIN if isinstance(self.model.card.architecture, SwinConfig) else count
        places = [
            replace_impulses(place[None], candidates[0])[0]
            for place in choose_patches(sample.stacks, sample.missing, _PLACE_SIDE, count)
        ]
        added = AddedNoise(candidates[0].noise_variances, noise.width, noise.box, noise.stripes, noise.vertical_stripes)
        return run_trials(candidates, places, self._denoise, added)

    def _denoise(self, tiles: Batch, treatment: NoiseTreatment) -> Batch:
        return self._denoiser(tiles, ((0, 0),) * len(tiles), treatment).mean
