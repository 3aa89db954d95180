"""Variance stabilization of Rician noise, that of the magnitude of a complex signal, as in MRI.

A magnitude of zero is measured as 1.25 standard deviations on average (the Rayleigh distribution), so that the mean of
such noise depends on the signal as much as its variance does (Gudbjartsson and Patz, *The Rician distribution of noisy
MRI data*, MRM 1995). The transform makes the variance equal everywhere, and the inverse returns the signal whose
transformed noise has a given mean: the approach of Foi (*Noise estimation and removal in MR imaging: the
variance-stabilization approach*, ISBI 2011), with an own transform.

Far from zero the transform is sqrt(z^2 - 1/2) for z standard deviations. Nearer to zero its slope is linear between
`_SLOPES`, which minimise the sum of (deviation - 1)^2 over signals of 0 to 12 standard deviations, plus 0.01^2 times
the squared skewness up to 3, plus 0.15^2 times the squared second differences of the logarithms of the slopes. The
variance is within 2.2 % of 1 for every signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

Values = NDArray[np.float64]

#: Slopes of the transform at equal distances from 0 to `_FAR`, in units in which the standard deviation is 1.
_SLOPES = (
    9.484, 5.755, 3.494, 2.151, 1.399, 1.008, 0.8327, 0.7928, 0.847, 0.9624, 1.089, 1.159, 1.138, 1.058, 0.9837, 0.9668,
)  # fmt: skip
_FAR = 4.0

#: Distances at which the transform and the means of transformed noise are tabulated; ends of both tables.
_STEP, _SIGNAL_STEP = 0.01, 0.05
_MAX_MAGNITUDE, _MAX_SIGNAL = 24.0, 12.0


@dataclass(frozen=True)
class RicianStabilizer:
    """Transform of magnitudes, in units of the image, to values in the same units whose noise is equally strong.

    Attributes:
        sigma: standard deviation of the real and of the imaginary part; that of the noise after `forward`.
    """

    sigma: float

    def forward(self, magnitude: NDArray[Any]) -> Values:
        """Return stabilized values, nearly equal to the magnitudes where these are large.

        The transform increases strictly; below zero, where no magnitude lies, its slope is 1.
        """
        z = np.asarray(magnitude, np.float64) / self.sigma
        stabilized = np.where(z < _FAR, np.interp(z, *_transform_table()), _far(z))
        return np.asarray((stabilized + np.minimum(z, 0.0)) * self.sigma)

    def expected(self, signal: NDArray[Any]) -> Values:
        """Return the means of the stabilized noise of signals, of which `backward` is the inverse."""
        means, signals = _inverse_table()
        s = np.abs(np.asarray(signal, np.float64)) / self.sigma
        near = np.interp(s * s, signals**2, means)
        return np.asarray(np.where(s < signals[-1], near, s + 0.25 / np.maximum(s, 1e-9)) * self.sigma)

    def backward(self, stabilized: NDArray[Any]) -> Values:
        """Return the signals whose stabilized noise has these means; 0 for what lies below the mean of noise alone."""
        means, signals = _inverse_table()
        d = np.asarray(stabilized, np.float64) / self.sigma
        # The mean is an even function of the signal, so that squares are interpolated. Far from zero it is that of
        # sqrt(z^2 - 1/2), which exceeds the signal s by 1 / (4 s) + O(1 / s^3).
        near = np.sqrt(np.interp(d, means, signals**2))
        far = 0.5 * (d + np.sqrt(np.maximum(d * d - 1.0, 0.0)))
        return np.asarray(np.where(d < means[-1], near, far) * self.sigma)


def _far(z: Values) -> Values:
    """Return the transform of z >= `_FAR` standard deviations."""
    return np.sqrt(np.maximum(z * z - 0.5, 0.0))


@cache
def _transform_table() -> tuple[Values, Values]:
    """Return magnitudes from 0 to `_FAR` in standard deviations, and their stabilized values."""
    end = _FAR / np.sqrt(_FAR**2 - 0.5)
    z = np.linspace(0.0, _FAR, round(_FAR / _STEP) + 1)
    slope = np.interp(z, np.linspace(0.0, _FAR, len(_SLOPES) + 1), (*_SLOPES, end))
    rise = np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(z))])
    return z, rise - rise[-1] + _far(np.array(_FAR))


@cache
def _inverse_table() -> tuple[Values, Values]:
    """Return the means of stabilized noise for signals from 0 to `_MAX_SIGNAL` standard deviations, and the signals."""
    signals = np.linspace(0.0, _MAX_SIGNAL, round(_MAX_SIGNAL / _SIGNAL_STEP) + 1)
    z = np.linspace(0.0, _MAX_MAGNITUDE, round(_MAX_MAGNITUDE / _STEP) + 1)
    stabilized = RicianStabilizer(1.0).forward(z)
    means = np.empty_like(signals)
    for i, signal in enumerate(signals):
        density = z * np.exp(-0.5 * (z - signal) ** 2) * ive(0, z * signal)
        means[i] = density @ stabilized / density.sum()
    return np.maximum.accumulate(means), signals
