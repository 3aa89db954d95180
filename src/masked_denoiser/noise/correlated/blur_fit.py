"""Model of blurred white noise: how its residual grows with the dilation of the mask, and the blur that fits it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from masked_denoiser.noise.blocks import DILATIONS, Values

#: Number of dilations that a blur is fitted to.
_FITTED_DILATIONS = 7

#: Shares of structure tried in addition to blurs, relative to the noise at the first dilation.
_STRUCTURE_SHARES = np.concatenate(([0.0], np.geomspace(1e-4, 0.3, 23)))

#: Radius in pixels of blur kernels, twice the largest dilation.
_KERNEL_RADIUS = 2 * DILATIONS[-1]

#: Sides of box means tried in addition to Gaussians, and the width of the Gaussian of equal variance per pixel of side.
_BOX_SIDES, _WIDTH_PER_SIDE = (2, 3), 0.272


@dataclass(frozen=True)
class Blur:
    """Blur of white noise whose residual grows like a measured one.

    Attributes:
        width, box: see `Correlation`.
        residuals: [dilations], variance of the residual of the noise at each of `DILATIONS` over that of the noise.
        structure: variance of the residual of structure at the first dilation over that of the noise; it grows with the
            square of the dilation.
        variance: variance of the noise over that of the residual at the first dilation.
        misfit: root mean square of the logarithm of observed over expected standard deviations.
    """

    width: float
    box: int
    residuals: Values
    structure: float
    variance: float
    misfit: float


def fit_blur(growth: Values) -> Blur:
    """Return the blur and the share of structure that best explain the growth of a residual.

    Args:
        growth: [dilations], standard deviation of the residual at each of `DILATIONS` over that at the first.
    """
    blurs = [(float(width), 0) for width in np.linspace(0.0, 2.0, 81)]
    blurs += [(_WIDTH_PER_SIDE * box, box) for box in _BOX_SIDES]
    shares = np.array([residual_share(*blur) for blur in blurs])
    squares = np.square(np.array(DILATIONS, np.float64))
    expected = (shares[:, None] + _STRUCTURE_SHARES[:, None] * squares)[..., :_FITTED_DILATIONS]
    ratios = 2.0 * np.log(growth[:_FITTED_DILATIONS]) - np.log(expected)
    misfits = 0.5 * ratios.std(axis=-1)
    best = np.unravel_index(int(np.argmin(misfits)), misfits.shape)
    width, box = blurs[best[0]]
    variance = float(np.exp(ratios[best].mean()))
    return Blur(width, box, shares[best[0]], float(_STRUCTURE_SHARES[best[1]]), variance, float(misfits[best]))


def residual_share(width: float, box: int = 0) -> Values:
    """Return the variance of the residual of blurred white noise of unit variance at each of `DILATIONS`, [dilations].

    The mask is separable; along each axis, its response to noise with correlation c has the variance
    (6 - 8 c(d) + 2 c(2 d)) / 6 at dilation d.
    """
    correlation = blur_correlation(width, box)
    near, far = correlation[list(DILATIONS)], correlation[[2 * dilation for dilation in DILATIONS]]
    return np.asarray(((6.0 - 8.0 * near + 2.0 * far) / 6.0) ** 2)


def blur_correlation(width: float, box: int) -> Values:
    """Return the correlation of blurred white noise along one axis, at distances of 0 to `_KERNEL_RADIUS` pixels."""
    offsets = np.arange(-_KERNEL_RADIUS, _KERNEL_RADIUS + 1)
    kernel = np.exp(-(offsets**2) / (2.0 * max(width, 1e-2) ** 2))
    if box:
        kernel = np.where((offsets >= 0) & (offsets < box), 1.0, 0.0)
    autocorrelation = np.correlate(kernel, kernel, mode="full")
    return np.asarray(autocorrelation[2 * _KERNEL_RADIUS :] / autocorrelation[2 * _KERNEL_RADIUS])
