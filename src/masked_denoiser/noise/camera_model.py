"""Noise of a camera: gain, offset and read noise, from the measured variances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.noise.blocks import Blocks
from masked_denoiser.noise.modalities.prior import NoisePrior
from masked_denoiser.noise.variance_model import NoiseVariance, VarianceBins, fit_variance

#: Largest variance in bright regions, as a share of that in dark ones, of noise that falls with intensity, as that of
#: photons does in an inverted image. Clipping lets it seem to fall a little.
_FALLING = 0.5


def fit_camera_noise(
    bins: VarianceBins, blocks: Blocks, prior: NoisePrior, *, may_fall: bool, exceeds: bool
) -> NoiseVariance:
    """Return the variance as a function of intensity; constant if it falls without being that of an inverted image.

    Args:
        bins: measured variances.
        blocks: of the channel.
        prior: what the modality says about the noise.
        may_fall: whether the residuals of bright regions are those of noise.
        exceeds: whether measured variances are rather too high where there is structure, as those of colours, so that
            the mean is nearer to the truth than the darkest regions; those of single channels are rather too low.
    """
    variance = fit_variance(bins, blocks.limits, counts=blocks.counts, growth=prior.growth)
    if variance.gain >= 0.0 and variance.quadratic >= 0.0:
        return variance
    darkest, brightest = (float(variance.sigma(end)) ** 2 for end in np.percentile(blocks.mean, (1, 99)))
    if may_fall and variance.gain < 0.0 < variance.variance and brightest < _FALLING * darkest:
        return variance
    return fit_variance(bins, blocks.limits, growth="constant") if exceeds else NoiseVariance(0.0, darkest)


def camera_parameters(variance: NoiseVariance, ends: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return gain, offset and read noise of a line. The offset is its zero, but at most the darkest intensity.

    A line cannot distinguish an offset from read noise: a positive variance at intensity zero is attributed to read
    noise, a negative one to an offset.

    Args:
        variance: a line or a parabola.
        ends: the darkest and the brightest intensity.
    """
    if variance.quadratic > 0.0 or variance.gain <= 0.0:
        return min(float(variance.gain), 0.0), 0.0, float(np.sqrt(max(variance.variance, 0.0)))
    offset = float(min(max(0.0, -variance.variance / variance.gain), max(float(ends[0]), 0.0)))
    return float(variance.gain), offset, float(np.sqrt(max(variance.variance + variance.gain * offset, 0.0)))
