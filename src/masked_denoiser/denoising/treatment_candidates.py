"""Candidate treatments for the measured noise, of which a trial selects one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import median, median_low

from masked_denoiser.denoising.noise_treatment import SIGNAL_DEPENDENT_SHARE, NoiseTreatment, to_six_digits
from masked_denoiser.denoising.training_noise import TrainingNoise
from masked_denoiser.noise.channel_noise import ROUNDING_STEPS, ChannelNoise
from masked_denoiser.noise.variance_model import NoiseVariance

#: Noise of fewer photons than this at the median intensity is always stabilized: it is far from normal, so networks
#: mistake its bright pixels for structure, and a trial, which adds normal noise, does not show that.
_FEW_PHOTONS = 4.0

#: Ratios of noise to the contrast within 16 x 16 pixels: up to the first the image is left alone, from the second on
#: the whole correction is applied.
_HIDDEN_RATIO, _VISIBLE_RATIO = 0.08, 0.14

#: Noise below the first standard deviation, in units of the range, is also tried with contrast that raises it to the
#: second.
_FAINT_SIGMA, _RAISED_SIGMA = 0.008, 0.04

#: (strides, least blur width, largest blur width) in pixels, of strides to try on correlated noise. Two strides in turn
#: leave less noise than one, and lose no more detail.
_STRIDES_BY_WIDTH: tuple[tuple[tuple[int, ...], float, float], ...] = (
    ((2, 3), 0.3, 0.85),
    ((3, 2), 0.55, inf),
    ((4,), 0.8, inf),
)


@dataclass(frozen=True)
class NoiseSummary:
    """Noise of all channels of a plane in one set of figures, in units of its range.

    Attributes:
        variance: median over the channels that have noise.
        sigma: standard deviation at the median intensity or in bright parts, whichever is larger.
        width: of the blur that explains the correlation, in pixels.
        box: side of the mean filter that explains it better, in pixels; 0 for none.
        step: quantization step of the result.
        contrast: of the image within 16 x 16 pixels.
        stripes: standard deviation of whole rows or columns; 0 without stripes.
        vertical_stripes: whether these are columns.
    """

    variance: NoiseVariance
    sigma: float
    width: float
    box: int
    step: float
    contrast: float
    stripes: float = 0.0
    vertical_stripes: bool = False

    @classmethod
    def of(cls, channels: Sequence[ChannelNoise]) -> NoiseSummary:
        """Return the noise of one channel, or of red, green and blue together, so that gray stays gray."""
        # A channel without noise, such as red in an image of green fluorescence, must not affect the median.
        strongest = max(max(c.sigma, c.bright) for c in channels)
        noisy = [c for c in channels if max(c.sigma, c.bright) > 0.1 * strongest] or list(channels)
        # Speckle is not photon noise, even if a change of units gave its variance a linear term.
        gain = median(0.0 if c.quadratic else c.variance.gain for c in noisy)
        variance = NoiseVariance(gain, median(c.variance.variance for c in noisy))
        return cls(
            variance,
            median(max(c.sigma, c.bright) for c in noisy),
            median(c.width for c in noisy),
            median_low(c.box for c in noisy),
            max(c.step for c in noisy),
            median(c.contrast for c in noisy),
            median(c.stripes for c in noisy),
            all(c.vertical_stripes for c in noisy if c.stripes),
        )

    @property
    def is_signal_dependent(self) -> bool:
        """Whether a considerable share of the noise grows with the intensity."""
        constant = max(self.variance.variance, 0.0)
        return self.variance.gain > 0 and constant < (1 - SIGNAL_DEPENDENT_SHARE) * self.sigma**2

    def photons(self, intensity: float) -> float:
        """Return the number of photons at an intensity, derived from the growth of the noise."""
        return (intensity + self.variance.variance / self.variance.gain) / self.variance.gain

    @property
    def visibility(self) -> float:
        """Visibility of the noise above the rounding of the values and the local contrast, from 0 to 1."""
        if self.sigma <= max(ROUNDING_STEPS * self.step, 1e-9):
            return 0.0
        ratio = self.sigma / max(self.contrast, 1e-12)
        return min(1.0, max(0.0, (ratio - _HIDDEN_RATIO) / (_VISIBLE_RATIO - _HIDDEN_RATIO)))


def list_candidates(
    noise: NoiseSummary,
    training: TrainingNoise,
    *,
    stabilize: bool | None = None,
    noise_map: bool = False,
    median_intensity: float = 0.5,
) -> list[NoiseTreatment]:
    """Return the treatments that are worth a trial, the simplest first.

    Args:
        noise: of all channels of a plane.
        training: noise that the model was trained with, which suggests how strong noise may be.
        stabilize: whether to stabilize photon noise first; by default both are tried on signal-dependent noise.
        noise_map: whether the model accepts a noise map. As a map may be wrong, treatments without it are also tried.
        median_intensity: of the plane, in units of its range.
    """
    direct = NoiseTreatment(scale=to_six_digits(min(1.0, training.sigma / max(noise.sigma, 1e-9))))
    unstrided = [direct]
    if noise.is_signal_dependent and stabilize is not False:
        gain, variance = to_six_digits(noise.variance.gain), to_six_digits(noise.variance.variance)
        stabilized = NoiseTreatment(gain, variance, to_six_digits(min(1.0, training.sigma)))
        both = [direct, stabilized] if training.covers_photon_noise(noise.variance) else [stabilized, direct]
        unstrided = [stabilized] if stabilize or noise.photons(median_intensity) < _FEW_PHOTONS else both
    if noise.sigma < _FAINT_SIGMA:
        # Objects far brighter than the bulk stretch the range; intensities beyond it are shown with less contrast.
        scale, centre = to_six_digits(_RAISED_SIGMA / max(noise.sigma, 1e-9)), to_six_digits(median_intensity)
        unstrided.append(NoiseTreatment(scale=scale, centre=centre))
    fitting = [strides for strides, least, largest in _STRIDES_BY_WIDTH if least <= noise.width < largest]
    candidates = [*unstrided, *(replace(unstrided[0], strides=strides) for strides in fitting)]
    return [*(replace(c, noise_map=True) for c in candidates), unstrided[0]] if noise_map else candidates
