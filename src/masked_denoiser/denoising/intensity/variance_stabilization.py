"""Variance stabilization: photon noise is made equally strong everywhere before the network, and restored without bias.

The generalized Anscombe transform (Starck, Murtagh and Bijaoui, *Image Processing and Data Analysis*, 1998), and its
closed-form unbiased inverse (Mäkitalo and Foi, *Optimal inversion of the generalized Anscombe transformation for
Poisson-Gaussian noise*, IEEE TIP 2013, eq. 10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.noise.variance_model import NoiseVariance

Values = NDArray[np.float64]

#: Least standard deviation of stabilized noise, as weaker noise is not visible. If intensities then leave the range of
#: the network, further exposures show them.
_MIN_SIGMA = 4.0 / 255


@dataclass(frozen=True)
class VarianceStabilizer:
    """Transform from intensities in [0, 1] to values in [0, 1] with equally strong noise, and back.

    Attributes:
        gain: variance that each unit of intensity adds; greater than 0.
        variance: variance at intensity 0.
        sigma: standard deviation of the noise after `forward`.
    """

    gain: float
    variance: float
    sigma: float

    def forward(self, intensity: NDArray[Any]) -> Values:
        """Return stabilized values; 0 for intensity 0, and at most 1 for intensity 1."""
        return (self._anscombe(np.asarray(intensity, np.float64)) - self._bottom) * self.sigma

    def backward(self, transformed: NDArray[Any]) -> Values:
        """Return the intensities whose expected stabilized values these are, not below that of zero photons."""
        values = np.asarray(transformed, np.float64) / self.sigma + self._bottom
        photons = _unbiased_inverse(values, self.variance / self.gain**2)
        return np.asarray(photons * self.gain)

    def transform_sigma(self, sigma: NDArray[Any]) -> Values:
        """Return the standard deviation of the noise after `forward`, in the shape of that before."""
        return np.full_like(sigma, self.sigma, np.float64)

    @property
    def _bottom(self) -> float:
        return float(self._anscombe(np.zeros(1))[0])

    def _anscombe(self, intensity: Values) -> Values:
        """Return values in standard deviations of the noise. `variance` may be negative, where an offset was added."""
        photons = intensity / self.gain
        return np.asarray(2.0 * np.sqrt(np.maximum(photons + 0.375 + self.variance / self.gain**2, 0.0)))


def _unbiased_inverse(values: Values, read_variance: float) -> Values:
    """Return photons by the closed form of Mäkitalo and Foi; `read_variance` is that without light, in photons squared.

    Below the value of zero photons the closed form rises again, so the result there is that of zero photons.
    """
    least = 2.0 * np.sqrt(0.375)
    d = np.maximum(values, least)
    root = np.sqrt(1.5)
    counts = d**2 / 4 + root / 4 / d - 11 / 8 / d**2 + 5 * root / 8 / d**3 - 1 / 8
    return np.asarray(np.maximum(counts, 0.0) - read_variance)


def make_stabilizer(noise: NoiseVariance, strongest: float = 1.0) -> VarianceStabilizer | None:
    """Return the transform for signal-dependent noise, or None if the noise does not grow with the intensity.

    Args:
        noise: in units of the image's range.
        strongest: largest standard deviation for the network; stronger noise is scaled down to it.
    """
    if noise.gain <= 1e-9:
        return None
    unscaled = VarianceStabilizer(noise.gain, noise.variance, 1.0)
    span = float(unscaled.forward(np.ones(1))[0])
    return VarianceStabilizer(noise.gain, noise.variance, min(max(1.0 / span, _MIN_SIGMA), strongest))
