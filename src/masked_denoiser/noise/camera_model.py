"""Noise of a camera: gain, offset and read noise, from the measured variances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.noise.blocks import Blocks
from masked_denoiser.noise.flat_regions.variance_bins import VarianceBins
from masked_denoiser.noise.modalities.prior import NoisePrior
from masked_denoiser.noise.variance_model import NoiseVariance, fit_variance

#: Largest variance in bright regions, as a share of that in dark ones, of noise that falls with intensity, as that of
#: photons does in an inverted image. Clipping lets it seem to fall a little.
_FALLING = 0.5


def fit_camera_noise(
    bins: VarianceBins, blocks: Blocks, prior: NoisePrior, *, may_fall: bool, exceeds: bool
) -> NoiseVariance:
    """Return the variance as a function of intensity.

    Args:
        bins: measured variances.
        blocks: of the channel.
        prior: what the modality says about the noise.
        may_fall: whether noise that falls with intensity is taken for such, and not for constant noise.
        exceeds: whether measured variances are too high where there is structure, as those of colours may be, so that
            constant noise is fitted as such.
    """
    variance = fit_variance(bins, blocks.limits, counts=blocks.counts, growth=prior.growth, black=prior.black)
    seems_to_fall = variance.gain < 0.0 or variance.quadratic < 0.0
    ends = np.percentile(blocks.mean, (1, 99))
    if not (exceeds and seems_to_fall) or (may_fall and _falls_clearly(variance, ends)):
        return variance
    return fit_variance(bins, blocks.limits, growth="constant")


def camera_parameters(
    variance: NoiseVariance, ends: NDArray[np.float64], *, may_fall: bool
) -> tuple[float, float, float]:
    """Return gain, offset and read noise of a line. The offset is its zero, but at most the darkest intensity.

    A line cannot distinguish an offset from read noise: a positive variance at intensity zero is attributed to read
    noise, a negative one to an offset. Noise that seems to fall is constant, as strong as in the darkest parts: where
    it is measured under structure, it is too low.

    Args:
        variance: a line or a parabola.
        ends: the darkest and the brightest intensity.
        may_fall: whether noise that falls with intensity is taken for such.
    """
    if variance.quadratic > 0.0:
        return float(variance.gain), 0.0, float(np.sqrt(max(variance.variance, 0.0)))
    if variance.gain <= 0.0:
        if may_fall and _falls_clearly(variance, ends):
            return float(variance.gain), 0.0, float(np.sqrt(variance.variance))
        return 0.0, 0.0, float(variance.sigma(ends[0]))
    offset = float(min(max(0.0, -variance.variance / variance.gain), max(float(ends[0]), 0.0)))
    return float(variance.gain), offset, float(np.sqrt(max(variance.variance + variance.gain * offset, 0.0)))


def _falls_clearly(variance: NoiseVariance, ends: NDArray[np.float64]) -> bool:
    """Return whether noise is clearly weaker at the brightest than at the darkest intensity, as in inverted images."""
    darkest, brightest = (float(variance.sigma(end)) ** 2 for end in ends)
    return variance.gain < 0.0 < variance.variance and brightest < _FALLING * darkest
