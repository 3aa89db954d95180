"""Noise measurement of an image of any size, on a seeded sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from masked_denoiser.denoising.intensity.ranges import IntensityRange, common_range, measure_ranges
from masked_denoiser.denoising.intensity.rectangles import group_planes
from masked_denoiser.denoising.measurement.modality import stated_modality
from masked_denoiser.denoising.measurement.rician_noise import recognise_rician_noise, stated_rician_noise
from masked_denoiser.denoising.measurement.sample import NoiseSample, RawSample, read_sample
from masked_denoiser.errors import NoiseError
from masked_denoiser.images.planes import Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.estimation import NoiseEstimate, estimate_channels
from masked_denoiser.noise.flat_regions.variance_bins import VarianceBins
from masked_denoiser.noise.modalities.prior import Modality, RequestedModality, prior_of

#: Number of tiles that are read per channel, largest number kept of all channels together, and least number per
#: channel; a tile takes half a megabyte.
_TILES, _MAX_TILES, _MIN_TILES = 24, 384, 4

_COLOURS: tuple[str, ...] = ("red", "green", "blue")


@dataclass(frozen=True, eq=False)
class NoiseMeasurement:
    """A noise estimate, with the data from which it was derived.

    Attributes:
        estimate: of all channels.
        variance_bins: measured variance as a function of intensity, for each channel.
        channel_names: of the channels.
        channel_keys: `Plane.channel` of the channels; red, green and blue have the same.
        samples: by `Plane.channel`.
        modality: of the image.
        ranges: by `Plane.range_key`; of stabilized intensities where noise is Rician.
    """

    estimate: NoiseEstimate
    variance_bins: tuple[VarianceBins, ...]
    channel_names: tuple[str, ...]
    channel_keys: tuple[int, ...]
    samples: Mapping[int, NoiseSample] = field(default_factory=dict)
    modality: Modality = "other"
    ranges: Mapping[int, IntensityRange] = field(default_factory=dict)

    def of_channel(self, channel: int) -> list[ChannelNoise]:
        """Return the noise of the channels of a plane: one channel, or red, green and blue."""
        return [noise for key, noise in zip(self.channel_keys, self.estimate.channels, strict=True) if key == channel]


def measure_noise(
    source: Source,
    *,
    planes: Iterable[Plane] | None = None,
    ranges: Mapping[int, IntensityRange] | None = None,
    seed: int = 0,
    modality: RequestedModality = "auto",
) -> NoiseMeasurement:
    """Measure the noise of each channel over all of its planes, as the noise of a detector depends on intensity alone.

    Args:
        source: the image.
        planes: those to measure; all by default.
        ranges: by `Plane.range_key`; measured by default.
        seed: of the sample; the same seed reads the same tiles.
        modality: of the image; "auto" is that of the file, or else what the noise of a single gray channel shows.

    Raises:
        NoiseError: if the modality is unknown or not that of the image, or the seed is negative.
    """
    if seed < 0:
        raise NoiseError(f"seed is {seed}; give 0 or more")
    chosen = [p for p in (planes or list_planes(source.axes, source.sizes, source.rgb)) if not p.copied]
    ranges = dict(measure_ranges(source, chosen, seed) if ranges is None else ranges)
    channels = group_planes(chosen, "channel")
    stated = stated_modality(modality, source)
    found: list[_Channel] = []
    count = max(_MIN_TILES, min(_TILES, _MAX_TILES // len(channels))) if channels else _TILES
    for group in channels.values():
        keys = list(dict.fromkeys(plane.range_key for plane in group))
        raw = read_sample(source, group, common_range([ranges[key] for key in keys]), seed, count)
        measured = _measure_channel(raw, stated, alone=len(channels) == 1)
        _check_magnitudes(source, measured, modality)
        found.append(measured)
        rician = measured.sample.intensity_range.rician
        ranges |= {key: ranges[key].with_rician(rician) for key in keys if rician}
    return _combine(source, channels, found, ranges, stated)


@dataclass(frozen=True, eq=False)
class _Channel:
    """Noise of a plane's channels, and the sample on which it was measured."""

    sample: NoiseSample
    estimates: list[tuple[ChannelNoise, VarianceBins]]
    remark: str = ""


def _measure_channel(raw: RawSample, stated: Modality | None, *, alone: bool) -> _Channel:
    """Return the noise of a sample; `alone` if no other channel has to have the same kind of noise."""
    plain = raw.in_units(raw.intensity_range)
    scale = raw.intensity_range
    prior = prior_of("other" if stated in (None, "mri") else stated)
    prior = replace(prior, black=-scale.low / scale.span if scale.non_negative else 0.0)
    estimates = estimate_channels(plain.stacks, plain.missing, plain.step, plain.neighbours, prior)
    may_be_rician = stated == "mri" or (stated is None and alone)
    if not may_be_rician or len(estimates) > 1 or raw.intensity_range.rician:
        return _Channel(plain, estimates)
    judge = stated_rician_noise if stated == "mri" else recognise_rician_noise
    tiles, masks = [tile[0] for tile in raw.tiles], [None if mask is None else mask[0] for mask in raw.missing]
    sigma, remark = judge(tiles, masks, raw.intensity_range, raw.step, estimates[0][1])
    if not sigma:
        return _Channel(plain, estimates, remark)
    stabilized = raw.in_units(raw.intensity_range.with_rician(sigma))
    sample = stabilized.stacks, stabilized.missing, stabilized.step, stabilized.neighbours
    return _Channel(stabilized, estimate_channels(*sample, prior_of("mri")), remark)


def _check_magnitudes(source: Source, measured: _Channel, modality: RequestedModality) -> None:
    if modality == "mri" and not measured.sample.intensity_range.non_negative:
        raise NoiseError(
            f"{source.name} has negative intensities, so that it is no magnitude image of MRI; state another modality, "
            "or 'auto'"
        )


def _combine(
    source: Source,
    channels: Mapping[int, Sequence[Plane]],
    found: Sequence[_Channel],
    ranges: Mapping[int, IntensityRange],
    stated: Modality | None,
) -> NoiseMeasurement:
    """Return the noise of all channels; `stated` is the modality that the user or the file states."""
    rows: list[tuple[ChannelNoise, VarianceBins, str, int]] = []
    for (channel, group), measured in zip(channels.items(), found, strict=True):
        named = zip(measured.estimates, _channel_names(source, group[0]), strict=True)
        rows += [(*estimated, name, channel) for estimated, name in named]
    noise, bins, names, keys = tuple(zip(*rows, strict=True)) or ((), (), (), ())
    samples = dict(zip(channels, (measured.sample for measured in found), strict=True))
    ends = tuple((samples[channel].intensity_range.low, samples[channel].intensity_range.high) for channel in keys)
    remarks = tuple(dict.fromkeys(measured.remark for measured in found if measured.remark))
    is_rician = any(sample.intensity_range.rician for sample in samples.values())
    modality: Modality = stated or ("mri" if is_rician else "other")
    return NoiseMeasurement(NoiseEstimate(noise, ends, remarks), bins, names, keys, samples, modality, ranges)


def _channel_names(source: Source, plane: Plane) -> tuple[str, ...]:
    if plane.channels == 3:
        return _COLOURS
    channel = plane.channel
    if source.rgb and channel < len(_COLOURS):  # colours that are denoised separately
        return (_COLOURS[channel],)
    return (source.channel_names[channel] if channel < len(source.channel_names) else f"channel {channel}",)
