"""What is done to an image around the network, because of its noise: decided once for a job, and part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from math import inf, lcm
from statistics import median, median_low

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.training_noise import TrainingNoise
from masked_denoiser.noise.channel_noise import ROUNDING, ChannelNoise
from masked_denoiser.noise.variance_model import NoiseVariance

#: Noise grows with the light if this share of its variance or more does.
_GROWS = 0.3

#: Noise of fewer photons than this, at the median intensity, is stabilized in any case: it is far from normal, networks
#: take its bright pixels for structure, and a trial with normal noise does not tell.
_FEW_PHOTONS = 4.0

#: Against the contrast within 16 x 16 pixels: noise up to the first ratio is left alone, from the second on the whole
#: correction is taken.
_HIDDEN, _VISIBLE = 0.08, 0.14

#: Noise fainter than the first standard deviation, in units of the range, is tried with more contrast, too, so that it
#: has the second.
_FAINT, _RAISED = 0.008, 0.04

#: Strides that are tried for correlated noise, by the least and the largest width of its blur in pixels. Two strides,
#: one after the other, leave less noise than one, and lose no more detail.
_STRIDES: tuple[tuple[tuple[int, ...], float, float], ...] = (
    ((2, 3), 0.3, 0.85),
    ((3, 2), 0.55, inf),
    ((4,), 0.8, inf),
)


#: The noise of a channel: the fields of `NoiseVariance`.
Limit = tuple[float, float, float, float]


@dataclass(frozen=True)
class NoiseTreatment:
    """What is done to a plane around the network. Figures are in units of its range, whose bulk lies in [0, 1].

    Attributes:
        gain, variance: of noise with the variance gain * intensity + variance, which is made equally strong
            everywhere first; a gain of 0 leaves intensities as they are.
        scale: contrast is multiplied by it first, so that noise is as strong as the network was trained with; with a
            gain, the largest standard deviation that stabilized noise may have.
        centre: intensity that contrast is changed about.
        strides: for each of them, one after the other, every second (third, ...) row and column is denoised as an
            image of its own, in which correlated noise is white; the result once more as a whole.
        noise_map: whether a network that takes a noise map is given one.
        blend: share of the network's correction that is taken; 0 leaves the plane as it is.
        impulse_height: samples this far from their neighbours are replaced first; 0 replaces none.
        impulse_low, impulse_high: only samples at or below the one, or at or above the other, are impulses.
        hot_pixels: (row, column) of pixels of the detector that are replaced first wherever they are.
        noise: of each channel, beyond which nothing is removed: the fields of `NoiseVariance`; one for all channels,
            or none where the noise is not known.
        clipped_low, clipped_high: where the image was clipped, noise and all; None where it was not.
        width: of the blur that explains the correlation of the noise, in pixels; 0 for white noise.
        gray: whether red, green and blue are equal, and stay so.
        reason: why the plane is left alone, or only a share of the correction is taken; for a person.
        strength: the user's factor of the noise, which `noise` and `blend` follow; see `with_strength`.
    """

    gain: float = 0.0
    variance: float = 0.0
    scale: float = 1.0
    centre: float = 0.5
    strides: tuple[int, ...] = ()
    noise_map: bool = False
    blend: float = 1.0
    impulse_height: float = 0.0
    impulse_low: float | None = None
    impulse_high: float | None = None
    hot_pixels: tuple[tuple[int, int], ...] = ()
    noise: tuple[Limit, ...] = ()
    clipped_low: float | None = None
    clipped_high: float | None = None
    width: float = 0.0
    gray: bool = False
    reason: str = ""
    strength: float = 1.0

    @property
    def is_identity(self) -> bool:
        """Whether the plane is left as it is."""
        return not self.blend and not self.replaces_pixels

    @property
    def is_restrained(self) -> bool:
        """Whether less of the correction is taken than was asked for, or nothing."""
        asked = min(1.0, self.strength) if not self.noise_map else 1.0
        return self.blend < asked

    @property
    def replaces_pixels(self) -> bool:
        """Whether impulses or hot pixels are replaced."""
        return bool(self.impulse_height or self.hot_pixels)

    @property
    def stride(self) -> int:
        """The grid of tiles is that of the network times this."""
        return lcm(*self.strides)

    @property
    def limits(self) -> list[NoiseVariance]:
        """The noise of each channel; empty where it is not known."""
        return [NoiseVariance(*one) for one in self.noise]

    @property
    def clipped(self) -> tuple[float, float]:
        """Lowest and highest intensity of the image where it was clipped; infinite where it was not."""
        return (
            -inf if self.clipped_low is None else self.clipped_low,
            inf if self.clipped_high is None else self.clipped_high,
        )

    @property
    def summary(self) -> str:
        """What is done, for a person."""
        because = f", because {self.reason}" if self.reason else ""
        if self.is_identity:
            return f"left alone{because}; noise 'none' denoises it all the same"
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


_ORDINALS = {2: "second", 3: "third", 4: "fourth"}

#: Leaves a plane as it is.
IDENTITY = NoiseTreatment(blend=0.0)


@dataclass(frozen=True)
class NoiseSummary:
    """The noise of a plane's channels together, in units of its range: what candidates are made from.

    Attributes:
        variance: the median over the channels that have noise.
        sigma: standard deviation where it is stronger, at the median intensity or in bright parts.
        width: of the blur that explains its correlation, in pixels.
        box: side of the mean that explains it better, in pixels; 0 for none.
        step: quantization step of the result.
        contrast: of the image within 16 x 16 pixels.
    """

    variance: NoiseVariance
    sigma: float
    width: float
    box: int
    step: float
    contrast: float

    @classmethod
    def of(cls, channels: Sequence[ChannelNoise]) -> NoiseSummary:
        """Return the noise of one channel, or of red, green and blue together: gray stays gray."""
        # A channel without noise, such as the red of an image of green fluorescence, says nothing of the others.
        strongest = max(max(c.sigma, c.bright) for c in channels)
        noisy = [c for c in channels if max(c.sigma, c.bright) > 0.1 * strongest] or list(channels)
        # Noise in proportion to the light is not that of photons, whatever its variance has of a line in other units.
        gain = median(0.0 if c.quadratic else c.variance.gain for c in noisy)
        variance = NoiseVariance(gain, median(c.variance.variance for c in noisy))
        return cls(
            variance,
            median(max(c.sigma, c.bright) for c in noisy),
            median(c.width for c in noisy),
            median_low(c.box for c in noisy),
            max(c.step for c in noisy),
            median(c.contrast for c in noisy),
        )

    @property
    def grows(self) -> bool:
        """Whether a good part of the noise grows with the light."""
        return self.variance.gain > 0 and max(self.variance.variance, 0.0) < (1 - _GROWS) * self.sigma**2

    def photons(self, intensity: float) -> float:
        """Return how many photons an intensity is, by how fast noise grows with the light."""
        return (intensity + self.variance.variance / self.variance.gain) / self.variance.gain

    @property
    def visible(self) -> float:
        """How far noise stands out of the rounding of the values and the local contrast, 0 to 1."""
        if self.sigma <= max(ROUNDING * self.step, 1e-9):
            return 0.0
        ratio = self.sigma / max(self.contrast, 1e-12)
        return min(1.0, max(0.0, (ratio - _HIDDEN) / (_VISIBLE - _HIDDEN)))


def list_candidates(
    noise: NoiseSummary,
    known: TrainingNoise,
    *,
    stabilize: bool | None = None,
    noise_map: bool = False,
    middle: float = 0.5,
) -> list[NoiseTreatment]:
    """Return the treatments that are worth a trial, the simplest first.

    Args:
        noise: of the channels of a plane.
        known: what the model was trained with; a hint of how strong noise it takes.
        stabilize: whether photon noise is stabilized first; by default both ways are tried where noise grows.
        noise_map: whether the model takes a noise map, which may be wrong: treatments without it are tried, too.
        middle: median intensity.
    """
    direct = NoiseTreatment(scale=rounded(min(1.0, known.sigma / max(noise.sigma, 1e-9))))
    starts = [direct]
    if noise.grows and stabilize is not False:
        strongest = rounded(min(1.0, known.sigma))
        stabilized = NoiseTreatment(rounded(noise.variance.gain), rounded(noise.variance.variance), strongest)
        both = [direct, stabilized] if known.knows_light(noise.variance) else [stabilized, direct]
        starts = [stabilized] if stabilize or noise.photons(middle) < _FEW_PHOTONS else both
    if noise.sigma < _FAINT:
        # Something much brighter than the bulk stretches the range; what lies beyond is shown with less contrast.
        starts.append(NoiseTreatment(scale=rounded(_RAISED / max(noise.sigma, 1e-9)), centre=rounded(middle)))
    fitting = [strides for strides, least, largest in _STRIDES if least <= noise.width < largest]
    candidates = [*starts, *(replace(starts[0], strides=strides) for strides in fitting)]
    return [*(replace(one, noise_map=True) for one in candidates), starts[0]] if noise_map else candidates


def finish_treatment(
    treatment: NoiseTreatment, channels: Sequence[ChannelNoise], *, gray: bool = False
) -> NoiseTreatment:
    """Return a treatment with all that follows from the noise itself: its limits and its impulses."""
    found = [c.impulses for c in channels if c.impulses.share]
    return replace(
        treatment,
        impulse_height=rounded(min(i.threshold for i in found)) if found else 0.0,
        impulse_low=_end(max(i.low for i in found)) if found else None,
        impulse_high=_end(min(i.high for i in found)) if found else None,
        noise=noise_limits(channels),
        clipped_low=_end(min(_clipped_low(c) for c in channels)),
        clipped_high=_end(max(c.clipped[1] for c in channels)),
        width=rounded(max(c.width for c in channels)),
        gray=gray,
    )


def with_strength(treatment: NoiseTreatment, strength: float) -> NoiseTreatment:
    """Return a treatment of noise that is so many times as strong as was found, because the user says so.

    The noise map follows, where the network takes one, and the limit of what may be removed. Of a network
    without a map a share of the correction is taken where noise is weaker.
    """
    if strength == 1.0 or treatment.is_identity:
        return treatment
    if strength < 1.0 and not treatment.noise_map:
        return replace(treatment, blend=rounded(treatment.blend * strength), strength=strength)
    noise = tuple(_rounded_limit(one.scaled(strength)) for one in treatment.limits)
    return replace(treatment, noise=noise, strength=strength)


def _clipped_low(noise: ChannelNoise) -> float:
    """Where a channel was clipped in the dark; counts of photons end at zero by themselves."""
    low = noise.clipped[0]
    grows = noise.variance.sigma(low) ** 2 < (1.0 - _GROWS) * noise.sigma**2 if low > -inf else True
    return -inf if grows else low


def noise_limits(channels: Sequence[ChannelNoise]) -> tuple[Limit, ...]:
    """Return what may be removed from each channel: no limits where noise is uncertain, or stripes come on top."""
    if any(c.stripes or not (c.certain or c.is_constant) for c in channels):
        return ()
    return tuple(_rounded_limit(replace(c.variance, floor=c.floor)) for c in channels)


def _rounded_limit(variance: NoiseVariance) -> Limit:
    # With more figures than others: at another black level large terms nearly cancel.
    gain, at_zero, floor, quadratic = (float(f"{value:.10g}") for value in astuple(variance))
    return gain, at_zero, floor, quadratic


def in_range(
    treatment: NoiseTreatment, measured: IntensityRange, used: IntensityRange, known: TrainingNoise
) -> NoiseTreatment:
    """Return a treatment in units of another range: that of an epoch, where noise was measured over all of them.

    Args:
        treatment: in units of `measured`.
        measured, used: the two ranges.
        known: what the model was trained with.
    """
    if measured == used:
        return treatment
    ratio, shift = measured.span / used.span, (used.low - measured.low) / measured.span

    def moved(gain: float, variance: float) -> tuple[float, float]:
        return rounded(gain * ratio), rounded((variance + gain * shift) * ratio**2)

    def place(value: float | None) -> float | None:
        return None if value is None else rounded((value - shift) * ratio)

    gain, variance = moved(treatment.gain, treatment.variance)
    noise = tuple(_rounded_limit(one.in_units(ratio, -shift * ratio)) for one in treatment.limits)
    return replace(
        treatment,
        gain=gain,
        scale=_scale_in_range(treatment, noise, ratio, known),
        centre=rounded((treatment.centre - shift) * ratio) if treatment.scale > 1 and not gain else treatment.centre,
        variance=variance if gain else 0.0,
        impulse_height=rounded(treatment.impulse_height * ratio),
        impulse_low=place(treatment.impulse_low),
        impulse_high=place(treatment.impulse_high),
        clipped_low=place(treatment.clipped_low),
        clipped_high=place(treatment.clipped_high),
        noise=noise,
    )


def _scale_in_range(treatment: NoiseTreatment, noise: Sequence[Limit], ratio: float, known: TrainingNoise) -> float:
    if treatment.gain:
        return treatment.scale
    return rounded(treatment.scale / ratio) if treatment.scale > 1 else _lowered(noise, known)


def _lowered(noise: Sequence[Limit], known: TrainingNoise) -> float:
    """The contrast at which noise is no stronger than a model knows."""
    strongest = median(float(NoiseVariance(*one).sigma(0.75)) for one in noise) if noise else 0.0
    return rounded(min(1.0, known.sigma / max(strongest, 1e-9)))


def _end(value: float) -> float | None:
    return rounded(value) if abs(value) < float("inf") else None


def rounded(value: float) -> float:
    """Return a value with six figures: the same on every machine."""
    return float(f"{value:.6g}")
