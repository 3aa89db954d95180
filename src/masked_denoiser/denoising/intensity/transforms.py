"""Transforms of intensities around a network: a change of contrast, or the stabilization of their noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.variance_stabilization import make_stabilizer
from masked_denoiser.noise.variance_model import NoiseVariance


class Transform(Protocol):
    """Invertible transform of intensities."""

    def forward(self, intensity: NDArray[Any]) -> NDArray[Any]:
        """Return the transformed intensities."""

    def backward(self, transformed: NDArray[Any]) -> NDArray[Any]:
        """Return the intensities."""

    def transform_sigma(self, sigma: NDArray[Any]) -> NDArray[Any]:
        """Return the standard deviation of the noise after the transform."""


@dataclass(frozen=True)
class _Contrast:
    """Change of contrast about an intensity, which becomes the middle of the network's range."""

    scale: float
    centre: float = 0.5

    def forward(self, intensity: NDArray[Any]) -> NDArray[Any]:
        return intensity if self.scale == 1.0 else (intensity - self.centre) * self.scale + 0.5

    def backward(self, transformed: NDArray[Any]) -> NDArray[Any]:
        return transformed if self.scale == 1.0 else (transformed - 0.5) / self.scale + self.centre

    def transform_sigma(self, sigma: NDArray[Any]) -> NDArray[Any]:
        return sigma * self.scale


def make_transform(gain: float, variance: float, scale: float, centre: float) -> Transform:
    """Return the transform of a noise treatment.

    Args:
        gain, variance: noise that is stabilized; a gain of 0 changes the contrast only.
        scale: factor on the contrast.
        centre: intensity that becomes the middle of the network's range.
    """
    if not gain:
        return _Contrast(scale, centre)
    stabilizer = make_stabilizer(NoiseVariance(gain, variance), scale)
    assert stabilizer is not None
    return stabilizer
