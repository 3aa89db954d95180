"""What is done to an image around the network, because of its noise: decided once a job, and part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, median_low

from masked_denoiser.denoising.training_noise import TrainingNoise
from masked_denoiser.noise.estimation import ChannelNoise
from masked_denoiser.noise.variance_model import NoiseVariance

#: Noise weaker than the first is left alone, from the second on all of the network's correction is taken.
_ALONE, _FULLY = 1.0 / 255, 2.0 / 255

#: More impulses than this are noise, however weak the rest is.
_IMPULSES = 2e-3

#: What is this far from its neighbours, and by so many standard deviations of the other noise more, is an impulse; or
#: by this share of what impulses are usually off, where that is less.
_FAR, _USUAL, _OF_HEIGHT = 0.13, 3.0, 0.6

#: Impulses are off by so many standard deviations of the other noise, or they are its tail: few photons have a long
#: one.
_CLEAR = 5.0

#: Noise grows with the light if this share of its variance or more does, and by more than this at all.
_GROWS, _LEAST_GAIN = 0.3, 1e-8

#: A channel whose noise is weaker than this, a quarter of a grey level of 255, has none.
_NOTHING = 0.25 / 255

#: The longest correlation for which every second pixel will do.
_SHORT = 4


@dataclass(frozen=True)
class NoiseTreatment:
    """What is done to a plane around the network. Figures are in units of its range, in which white is 1.

    Attributes:
        gain, variance: of noise with the variance gain * intensity + variance, which is made equally strong
            everywhere first; a gain of 0 leaves intensities as they are.
        scale: contrast is multiplied by it first, so that noise is no stronger than the network knows; with a gain,
            the largest standard deviation that evened noise may have.
        stride: from 2 on, every second (third, ...) row and column is denoised as an image of its own, in which
            correlated noise is white, and the result once more as a whole.
        share: of the network's correction that is taken; 0 leaves the plane as it is.
        impulses: samples farther than this from their neighbours are replaced first; 0 replaces none.
        levels: gain and variance of the noise of each channel, beyond which not much is taken away; one for all
            channels, or none where the noise is not known.
    """

    gain: float = 0.0
    variance: float = 0.0
    scale: float = 1.0
    stride: int = 1
    share: float = 1.0
    impulses: float = 0.0
    levels: tuple[tuple[float, float], ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether the plane is left as it is."""
        return not self.share and not self.impulses

    @property
    def says(self) -> str:
        """What is done, for a person."""
        if self.nothing:
            return "left alone; noise 'none' denoises it all the same"
        if not self.share:
            return "dead and hot pixels are replaced, the rest is left alone"
        said = ["dead and hot pixels are replaced first"] if self.impulses else []
        if self.gain:
            said.append("photon noise is made even before the network, and undone after it")
        if self.scale < 1 and not self.gain:
            said.append("contrast is lowered to the noise that the model knows")
        if self.stride > 1:
            said.append(f"denoised on every {_ORDINALS[self.stride]} pixel first, since neighbours share noise")
        if 0 < self.share < 1:
            said.append(f"{self.share:.0%} of the correction is taken, as noise is weak")
        return "; ".join(said) or "denoised as it is"


_ORDINALS = {2: "second", 4: "fourth"}


def choose_treatment(
    channels: Sequence[ChannelNoise], known: TrainingNoise, *, weak_alone: bool = True
) -> NoiseTreatment:
    """What to do to a plane.

    Args:
        channels: the noise of its channels, one or red, green and blue, which are treated alike so that gray
            stays gray.
        known: what the model was trained with.
        weak_alone: whether weak noise is left alone; not where a user gave the noise.
    """
    # A channel without noise, such as the red of an image of green fluorescence, says nothing of the others.
    noisy = [c for c in channels if c.sigma > _NOTHING or c.bright > _NOTHING] or list(channels)
    sigma = median(max(c.sigma, c.bright) for c in noisy)
    share = _share(noisy, sigma) if weak_alone else 1.0
    impulses = _threshold(noisy, sigma)
    if not share:
        return NoiseTreatment(share=0.0, impulses=impulses)
    levels = _levels(channels)
    level = NoiseVariance(median(c.level.gain for c in noisy), median(c.level.variance for c in noisy))
    length = median_low(sorted(c.correlation for c in noisy))
    stride = 1 if length <= known.correlated else _stride(length)
    if _grows(level, sigma) and not known.knows_light(level):
        strongest = _rounded(min(1.0, known.sigma))
        return NoiseTreatment(
            _rounded(level.gain), _rounded(level.variance), strongest, stride, share, impulses, levels
        )
    scale = _rounded(min(1.0, known.sigma / max(sigma, 1e-9)))
    return NoiseTreatment(scale=scale, stride=stride, share=share, impulses=impulses, levels=levels)


def _levels(channels: Sequence[ChannelNoise]) -> tuple[tuple[float, float], ...]:
    """What may be taken away from each channel: nothing is said where noise is uncertain, or stripes come on top."""
    if any(c.stripes or not c.certain for c in channels):
        return ()
    return tuple((_rounded(c.level.gain), _rounded(c.level.variance)) for c in channels)


def _threshold(channels: Sequence[ChannelNoise], sigma: float) -> float:
    """Beyond what other noise makes of two pixels that are alike, and well below how far most impulses are off."""
    heights = [c.height for c in channels if c.impulses > _IMPULSES and c.height > _CLEAR * max(c.sigma, c.bright)]
    if not heights:
        return 0.0
    return _rounded(min(_FAR + _USUAL * sigma, _OF_HEIGHT * min(heights)))


def _stride(length: int) -> int:
    """At half of the correlation length neighbours share little, and each step of the stride costs detail.

    Powers of two, so that the channels of an image with different strides still have one grid of tiles.
    """
    return 2 if length <= _SHORT else 4


def _share(channels: Sequence[ChannelNoise], sigma: float) -> float:
    if any(c.stripes for c in channels):
        return 1.0
    return _rounded(min(1.0, max(0.0, (sigma - _ALONE) / (_FULLY - _ALONE))))


def _grows(level: NoiseVariance, sigma: float) -> bool:
    return level.gain > _LEAST_GAIN and max(level.variance, 0.0) < (1 - _GROWS) * sigma**2


def _rounded(value: float) -> float:
    """Six figures: the same on every machine."""
    return float(f"{value:.6g}")
