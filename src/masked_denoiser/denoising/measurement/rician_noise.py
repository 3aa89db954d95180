"""Decision whether the noise of a channel is Rician, and how strong it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.noise.flat_regions.variance_bins import VarianceBins
from masked_denoiser.noise.modalities.rician import RicianNoise, measure_background, sigma_of_variances

#: For an image of unknown modality: least share of its background, and largest distance of its distribution from that
#: of Rayleigh. Photon counts of about four photons come as near as 0.024, noise of MRI is below 0.012.
_MIN_BACKGROUND, _MAX_DISTANCE = 0.05, 0.014

#: Least signal, in standard deviations of the noise, at which its variance hardly depends on the signal.
_SIGNAL = 4.0

#: Least number of groups of such regions, and least ratio of the highest to the lowest of their intensities.
_MIN_GROUPS, _MIN_SPREAD = 3, 1.5

#: Limits of the variance of these regions, relative to that expected from the background.
_VARIANCE_RATIOS = (0.7, 1.5)

RICIAN = "Rician, as in magnitude images of MRI"
_IN_BACKGROUND = f"{RICIAN} (measured on the background, {{:.0%}} of the image)"
_IN_SIGNAL = f"{RICIAN} (measured where there is signal, as no background has the distribution of such noise)"
_POSSIBLE = "the background looks like that of a magnitude image of MRI; if it is one, state the modality mri"
_NEGATIVE = "not taken for noise of a magnitude image, as there are negative intensities"
_NONE = "too weak to be recognised as noise of a magnitude image"

#: Standard deviation in quantization steps below which noise is that of rounding alone.
_ROUNDING = 0.3


def stated_rician_noise(
    tiles: Sequence[NDArray[Any]],
    missing: Sequence[NDArray[np.bool_] | None],
    intensity_range: IntensityRange,
    step: float,
    bins: VarianceBins,
) -> tuple[float, str]:
    """Return the standard deviation of the Rician noise of an image of MRI, and how it was measured.

    Args:
        tiles: [H, W] each, as read.
        missing: mask of the missing pixels of each tile, or None.
        intensity_range: of the channel.
        step: quantization step in units of the image.
        bins: variance of the noise as a function of intensity, in units of the range.

    Returns:
        The standard deviation of real and imaginary part in units of the image, 0 if there is no such noise, and a
        part of a sentence for the user.
    """
    if not intensity_range.non_negative:
        return 0.0, _NEGATIVE
    found = measure_background(tiles, missing, step)
    if found is not None:
        return found.sigma, _IN_BACKGROUND.format(found.background)
    sigma = sigma_of_variances(_in_image_units(bins, intensity_range))
    return (sigma, _IN_SIGNAL) if sigma > _ROUNDING * step else (0.0, _NONE)


def recognise_rician_noise(
    tiles: Sequence[NDArray[Any]],
    missing: Sequence[NDArray[np.bool_] | None],
    intensity_range: IntensityRange,
    step: float,
    bins: VarianceBins,
) -> tuple[float, str]:
    """Return the same for an image of unknown modality, with a sigma of 0 unless the evidence is strong.

    It is strong if the background has the distribution of Rayleigh, and if the noise of the signal has the variance
    that follows from it and does not grow with the signal, unlike photon noise.
    """
    if not intensity_range.non_negative:
        return 0.0, ""
    found = measure_background(tiles, missing, step)
    if found is None or found.background < _MIN_BACKGROUND or found.distance > _MAX_DISTANCE:
        return 0.0, ""
    confirmed = _confirm_in_signal(found, _in_image_units(bins, intensity_range))
    if confirmed:
        return found.sigma, _IN_BACKGROUND.format(found.background)
    return 0.0, "" if confirmed is False else _POSSIBLE


def _confirm_in_signal(found: RicianNoise, bins: VarianceBins) -> bool | None:
    """Return whether the noise of the signal is as expected from the background; None if there is too little signal."""
    signal = bins.mean > _SIGNAL * found.sigma
    if signal.sum() < _MIN_GROUPS or bins.mean[signal].max() < _MIN_SPREAD * bins.mean[signal].min():
        return None
    ratios = bins.variance[signal] / found.sigma**2
    low, high = _VARIANCE_RATIOS
    return bool(low < np.percentile(ratios, 25) and np.median(ratios) < high)


def _in_image_units(bins: VarianceBins, intensity_range: IntensityRange) -> VarianceBins:
    span = intensity_range.span
    return VarianceBins(bins.mean * span + intensity_range.low, bins.variance * span**2, bins.count)
