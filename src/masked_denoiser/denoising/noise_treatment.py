"""Noise treatment: what is done to a plane before and after the network. It is decided once, as part of a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from math import inf, isfinite, lcm
from statistics import median

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.training_noise import TrainingNoise
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.variance_model import NoiseVariance

#: Noise counts as signal-dependent if at least this share of its variance grows with the intensity.
SIGNAL_DEPENDENT_SHARE = 0.3

#: The fields of `NoiseVariance`, in their order.
VarianceFields = tuple[float, float, float, float]

_ORDINALS = {2: "second", 3: "third", 4: "fourth"}


@dataclass(frozen=True)
class NoiseTreatment:
    """What is done to a plane around the network. Figures are in units of its range, whose bulk lies in [0, 1].

    Attributes:
        gain, variance: of noise with the variance gain * intensity + variance, which is stabilized (made equally strong
            everywhere) first; with a gain of 0 nothing is stabilized.
        scale: factor of the contrast, applied first so that noise is as strong as the network was trained with; with a
            gain, the largest standard deviation that stabilized noise may have.
        centre: intensity about which contrast is changed.
        strides: pixel-shuffle downsampling: for each of them in turn, every second (third, ...) row and column is
            denoised as a separate image, in which correlated noise is white; afterwards the result is denoised once
            more as a whole.
        noise_map: whether a network that accepts a noise map gets one.
        by_place: whether the noise map follows the noise of each place: see `noise_by_place`.
        blend: share of the network's correction that is applied; 0 leaves the plane unchanged.
        impulse_height: samples that differ from their neighbours by this much are replaced first; 0 replaces none.
        impulse_low, impulse_high: only samples at or below the first, or at or above the second, are impulses.
        hot_pixels: (row, column) of detector pixels that are always replaced first.
        noise: the fields of `NoiseVariance` of each channel, or once for all channels: no more than this is removed.
            Empty where the noise is not known.
        clipped_low, clipped_high: intensities at which the image, including its noise, was clipped; None if it was not.
        width: of the blur that explains the correlation of the noise, in pixels; 0 for white noise.
        gray: whether red, green and blue are equal, and stay so.
        reason: why the plane is left alone, or why only a share of the correction is applied; shown to the user.
        strength: the user's factor of the noise, which `noise` and `blend` follow; see `with_strength`.
    """

    gain: float = 0.0
    variance: float = 0.0
    scale: float = 1.0
    centre: float = 0.5
    strides: tuple[int, ...] = ()
    noise_map: bool = False
    by_place: bool = False
    blend: float = 1.0
    impulse_height: float = 0.0
    impulse_low: float | None = None
    impulse_high: float | None = None
    hot_pixels: tuple[tuple[int, int], ...] = ()
    noise: tuple[VarianceFields, ...] = ()
    clipped_low: float | None = None
    clipped_high: float | None = None
    width: float = 0.0
    gray: bool = False
    reason: str = ""
    strength: float = 1.0

    @property
    def noise_factor(self) -> float:
        """Factor between the measured noise and `noise`: see `with_strength`."""
        return 1.0 if self.strength < 1.0 and not self.noise_map else self.strength

    @property
    def is_identity(self) -> bool:
        """Whether the plane is left unchanged."""
        return not self.blend and not self.replaces_pixels

    @property
    def is_restrained(self) -> bool:
        """Whether a smaller share of the correction is applied than was asked for."""
        return self.blend < (1.0 if self.noise_map else min(1.0, self.strength))

    @property
    def replaces_pixels(self) -> bool:
        """Whether impulses or hot pixels are replaced."""
        return bool(self.impulse_height or self.hot_pixels)

    @property
    def stride(self) -> int:
        """Factor by which the strides enlarge the network's grid of tiles."""
        return lcm(*self.strides)

    @property
    def noise_variances(self) -> list[NoiseVariance]:
        """The noise of each channel; empty where it is not known."""
        return [NoiseVariance(*fields) for fields in self.noise]

    @property
    def clipping_limits(self) -> tuple[float, float]:
        """Lowest and highest intensity where the image was clipped; infinite where it was not."""
        low, high = self.clipped_low, self.clipped_high
        return -inf if low is None else low, inf if high is None else high

    @property
    def summary(self) -> str:
        """Description of the treatment for the user."""
        because = f", because {self.reason}" if self.reason else ""
        if self.is_identity:
            return f"left alone{because}"
        if not self.blend:
            return f"dead and hot pixels are replaced, the rest is left alone{because}"
        parts = ["dead and hot pixels are replaced first"] if self.replaces_pixels else []
        if self.gain:
            parts.append("photon noise is stabilized before the network, and restored after it")
        if self.scale < 1 and not self.gain:
            parts.append("contrast is lowered to the noise that the model was trained with")
        if self.scale > 1 and not self.gain:
            parts.append("contrast is raised, since noise is weak against the range of intensities")
        if self.strides:
            pixels = " and ".join(_ORDINALS[stride] for stride in self.strides)
            parts.append(f"denoised on every {pixels} pixel first, since neighbours share noise")
        if self.is_restrained:
            parts.append(f"{self.blend:.0%} of the correction is taken{because}")
        if self.strength != 1:
            parts.append(f"noise is taken to be {self.strength:g} times as strong, as asked for")
        return "; ".join(parts) or "denoised directly"


#: Treatment that leaves a plane unchanged.
IDENTITY = NoiseTreatment(blend=0.0)


def finish_treatment(
    treatment: NoiseTreatment, channels: Sequence[ChannelNoise], *, gray: bool = False
) -> NoiseTreatment:
    """Return a treatment completed with what follows from the noise itself: limits, impulses and clipping."""
    impulses = [c.impulses for c in channels if c.impulses.share]
    return replace(
        treatment,
        impulse_height=to_six_digits(min(i.threshold for i in impulses)) if impulses else 0.0,
        impulse_low=_finite_or_none(max(i.low for i in impulses)) if impulses else None,
        impulse_high=_finite_or_none(min(i.high for i in impulses)) if impulses else None,
        noise=noise_limits(channels),
        clipped_low=_finite_or_none(min(_clipped_low(c) for c in channels)),
        clipped_high=_finite_or_none(max(_clipped_high(c) for c in channels)),
        width=to_six_digits(max(c.width for c in channels)),
        gray=gray,
    )


def with_strength(treatment: NoiseTreatment, strength: float) -> NoiseTreatment:
    """Return a treatment of noise with `strength` times the measured standard deviation.

    The limit of what may be removed is scaled, and with it the noise map of networks that accept one. For networks
    without a map, a strength below 1 scales the applied share of the correction instead.
    """
    if strength == 1.0 or treatment.is_identity:
        return treatment
    if strength < 1.0 and not treatment.noise_map:
        return replace(treatment, blend=to_six_digits(treatment.blend * strength), strength=strength)
    noise = tuple(_to_fields(variance.scaled(strength)) for variance in treatment.noise_variances)
    return replace(treatment, noise=noise, strength=strength)


def _clipped_low(noise: ChannelNoise) -> float:
    """Return the intensity at which a channel was clipped in the dark; -inf for photon counts, which end at zero."""
    return noise.clipped[0] if _has_noise_at(noise.clipped[0], noise) else -inf


def _clipped_high(noise: ChannelNoise) -> float:
    """Return the intensity at which a channel was clipped in the light; inf for photon counts that are inverted."""
    falls = noise.gain < 0 and not _has_noise_at(noise.clipped[1], noise)
    return inf if falls else noise.clipped[1]


def _has_noise_at(intensity: float, noise: ChannelNoise) -> bool:
    """Return whether noise at an intensity is not much weaker than at the median."""
    if not isfinite(intensity):
        return False
    return bool(noise.variance.sigma(intensity) ** 2 >= (1.0 - SIGNAL_DEPENDENT_SHARE) * noise.sigma**2)


def noise_limits(channels: Sequence[ChannelNoise]) -> tuple[VarianceFields, ...]:
    """Return what may be removed from each channel, noise and stripes; empty where noise is uncertain.

    Nothing is removed from a colour that alone is uncertain: it is clipped nearly everywhere, so that it has no noise.
    """
    measured = measured_channels(channels)
    if not measured:
        return ()
    return tuple(
        _to_fields(_with_stripes(replace(c.variance, floor=c.floor), c.stripes)) if c in measured else (0.0,) * 4
        for c in channels
    )


def measured_channels(channels: Sequence[ChannelNoise]) -> list[ChannelNoise]:
    """Return the channels on which a treatment is decided; none if there is noise, but too little to measure it on."""
    if all(c.is_constant for c in channels):
        return list(channels)
    return [c for c in channels if c.certain or c.is_constant] if any(c.certain for c in channels) else []


def _with_stripes(variance: NoiseVariance, stripes: float) -> NoiseVariance:
    return replace(variance, variance=variance.variance + stripes**2, floor=variance.floor + stripes**2)


def _to_fields(variance: NoiseVariance) -> VarianceFields:
    # Ten digits instead of six: if the black level is far from zero, large terms nearly cancel.
    gain, at_zero, floor, quadratic = (float(f"{value:.10g}") for value in astuple(variance))
    return gain, at_zero, floor, quadratic


def convert_to_range(
    treatment: NoiseTreatment, old: IntensityRange, new: IntensityRange, training: TrainingNoise
) -> NoiseTreatment:
    """Return a treatment in units of another range: that of an epoch, where noise was measured over all epochs.

    Args:
        treatment: in units of `old`.
        old, new: the two ranges.
        training: noise that the model was trained with.
    """
    if old == new:
        return treatment
    ratio, shift = old.span / new.span, (new.low - old.low) / old.span

    def convert_intensity(value: float | None) -> float | None:
        return None if value is None else to_six_digits((value - shift) * ratio)

    gain = to_six_digits(treatment.gain * ratio)
    variance = to_six_digits((treatment.variance + treatment.gain * shift) * ratio**2)
    noise = tuple(_to_fields(each.in_units(ratio, -shift * ratio)) for each in treatment.noise_variances)
    raises_contrast = treatment.scale > 1 and not gain
    return replace(
        treatment,
        gain=gain,
        scale=treatment.scale if treatment.gain else _convert_scale(treatment.scale, ratio, noise, training),
        centre=to_six_digits((treatment.centre - shift) * ratio) if raises_contrast else treatment.centre,
        variance=variance if gain else 0.0,
        impulse_height=to_six_digits(treatment.impulse_height * ratio),
        impulse_low=convert_intensity(treatment.impulse_low),
        impulse_high=convert_intensity(treatment.impulse_high),
        clipped_low=convert_intensity(treatment.clipped_low),
        clipped_high=convert_intensity(treatment.clipped_high),
        noise=noise,
    )


def _convert_scale(scale: float, ratio: float, noise: Sequence[VarianceFields], training: TrainingNoise) -> float:
    """Return a raised contrast in other units, or else the largest up to 1 with noise no stronger than in training."""
    if scale > 1:
        return to_six_digits(scale / ratio)
    sigma = median(float(NoiseVariance(*fields).sigma(0.75)) for fields in noise) if noise else 0.0
    return to_six_digits(min(1.0, training.sigma / max(sigma, 1e-9)))


def _finite_or_none(value: float) -> float | None:
    return to_six_digits(value) if abs(value) < float("inf") else None


def to_six_digits(value: float) -> float:
    """Return a value rounded to six significant digits, so that it is the same on every machine."""
    return float(f"{value:.6g}")
