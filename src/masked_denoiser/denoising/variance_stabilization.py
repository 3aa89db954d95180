"""Photon noise made equal everywhere before the network, and undone after it without bias.

The generalised Anscombe transform (Starck, Murtagh and Bijaoui, *Image Processing and Data Analysis*, 1998), and its
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

#: Least standard deviation of stabilized noise: weaker noise is not seen. What does not fit then is exposed otherwise.
_LEAST = 4.0 / 255


@dataclass(frozen=True)
class Stabiliser:
    """Intensities in [0, 1] to values in [0, 1] whose noise is equally strong everywhere, and back.

    Attributes:
        gain: variance that each unit of intensity adds; greater than 0.
        variance: variance at intensity 0.
        sigma: standard deviation of the noise after `forward`.
    """

    gain: float
    variance: float
    sigma: float

    def forward(self, intensity: NDArray[Any]) -> Values:
        """Stabilised values; 0 for intensity 0, and at most 1 for intensity 1."""
        return (self._anscombe(np.asarray(intensity, np.float64)) - self._bottom) * self.sigma

    def backward(self, stabilised: NDArray[Any]) -> Values:
        """Intensities whose expected stabilised value this is, not below that of no light."""
        values = np.asarray(stabilised, np.float64) / self.sigma + self._bottom
        photons = _unbiased_inverse(values, self.variance / self.gain**2)
        return np.asarray(photons * self.gain)

    def sigma_after(self, noise: NDArray[Any]) -> Values:
        """Standard deviation of the noise after `forward`, in the shape of that before."""
        return np.full_like(noise, self.sigma, np.float64)

    @property
    def _bottom(self) -> float:
        return float(self._anscombe(np.zeros(1))[0])

    def _anscombe(self, intensity: Values) -> Values:
        """In units of the noise's standard deviation. `variance` may be negative, where an offset was added."""
        photons = intensity / self.gain
        return np.asarray(2.0 * np.sqrt(np.maximum(photons + 0.375 + self.variance / self.gain**2, 0.0)))


def _unbiased_inverse(values: Values, read: float) -> Values:
    """Mäkitalo and Foi's closed form, in photons; `read` is the variance without light, in photons squared.

    Below the transform of no photons at all the closed form bends up again, and the answer is that of no photons.
    """
    least = 2.0 * np.sqrt(0.375)
    d = np.maximum(values, least)
    root = np.sqrt(1.5)
    counts = d**2 / 4 + root / 4 / d - 11 / 8 / d**2 + 5 * root / 8 / d**3 - 1 / 8
    return np.asarray(np.maximum(counts, 0.0) - read)


def make_stabiliser(level: NoiseVariance, strongest: float = 1.0) -> Stabiliser | None:
    """The transform for noise that grows with the light; None where it does not.

    Args:
        level: of the noise, in units of the image's range.
        strongest: standard deviation that the network knows at most: stronger noise is scaled down to it.
    """
    if level.gain <= 1e-9:
        return None
    trial = Stabiliser(level.gain, level.variance, 1.0)
    span = float(trial.forward(np.ones(1))[0])
    return Stabiliser(level.gain, level.variance, min(max(1.0 / span, _LEAST), strongest))
