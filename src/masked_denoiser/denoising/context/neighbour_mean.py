"""Mean of a plane and its neighbours, at the pixels at which they show the same structure.

A neighbour contributes to a pixel as far as it differs from the plane by no more than noise explains. The difference of
the two planes is smoothed, squared and divided by the variance that the measured noise would give it. The result is 1
on average where only noise differs, and is compared at a pixel, over 7 x 7 and over 33 x 33 pixels: the first detects a
moving bead, the last faint texture that differs everywhere. The weight decreases exponentially with what exceeds
chance, as in the weighted averages of non-local means (Buades, Coll and Morel, CVPR 2005), which compare patches
likewise.

As the measured noise is known, so is that of the weighted mean, and the network's noise map follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from masked_denoiser.noise.variance_model import NoiseVariance

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Sigma in pixels of the Gaussian that smooths differences, and the number of sigmas at which it is cut off.
_SMOOTHING_SIGMA, _TRUNCATE = 1.2, 4.0

#: Side in pixels of the square over which the intensity that determines the noise is averaged.
_INTENSITY_SIDE = 9

#: Squared difference relative to that of noise that chance explains, at a pixel and averaged over two squares.
_PIXEL_CHANCE, _SMALL_CHANCE, _LARGE_CHANCE = 6.0, 2.5, 1.2

#: Sides of these squares in pixels.
_SMALL_SIDE, _LARGE_SIDE = 7, 33

#: The excess over the large square is at most this multiple of that over a square of this side, so that a strong
#: difference affects only what is near.
_NEAR_RATIO, _NEAR_SIDE = 2.0, 15

#: Weights below this are 0, so that planes that differ do not affect each other at all.
_MIN_WEIGHT = 0.02

#: Distance in pixels up to which pixels affect a weight.
REACH = int(_TRUNCATE * _SMOOTHING_SIGMA + 0.5) + _LARGE_SIDE // 2


@dataclass(frozen=True, eq=False)
class Context:
    """Tiles averaged with those of neighbouring planes.

    Attributes:
        mean: [B, C, H, W], weighted mean of a tile and its neighbours, in units of the range of the tile.
        sigma_share: [B, 1, H, W], standard deviation of the noise of `mean`, as a share of that of the tile.
    """

    mean: Values
    sigma_share: Values


@dataclass(frozen=True)
class PlaneNoise:
    """Noise of a plane and its neighbours.

    Attributes:
        variances: of each channel, or one item for all of them, as measured, in units of the range of the plane.
        width: of the blur that explains its correlation, in pixels; 0 for white noise.
        shared: share of the variance that neighbouring planes have in common.
        remaining: squared difference of two planes at which their weight is 1 / e, as a share of the variance.
    """

    variances: Sequence[NoiseVariance]
    width: float = 0.0
    shared: float = 0.0
    remaining: float = 0.1


class NeighbourMean:
    """Weighted mean of a tile and of the same rectangle of its neighbours, which are added one by one.

    Args:
        tile: [C, H, W] in units of the range of its plane.
        noise: of the planes.
        missing: [C, H, W], missing pixels of the tile, which take no neighbours; None for none.
    """

    def __init__(self, tile: Values, noise: PlaneNoise, missing: Mask | None = None) -> None:
        self._tile, self._noise, self._missing = tile, noise, missing
        self._sum = tile.copy()
        self._weights = np.ones((1, *tile.shape[1:]), np.float32)
        self._squares = np.ones_like(self._weights)

    def add(self, other: Values, missing: Mask | None = None) -> None:
        """Add a neighbour.

        Args:
            other: [C, H, W] in the units of the tile.
            missing: [C, H, W], its missing pixels; None for none.
        """
        unusable = _union(self._missing, missing)
        excess = excess_difference(self._tile, other, self._noise, unusable)
        smoothed_share = _smoothed_variance_share(self._noise.width)
        weight = np.exp(-2.0 * smoothed_share / self._noise.remaining * excess)
        weight = np.where(weight < _MIN_WEIGHT, np.float32(0), weight).astype(np.float32)
        if unusable is not None:
            weight[unusable.any(axis=0)] = 0
            other = np.where(unusable, self._tile, other)
        self._sum += weight * other
        self._weights += weight
        self._squares += weight**2

    @property
    def mean(self) -> Values:
        """[C, H, W], equal to the tile where no neighbour has a weight."""
        return np.asarray(self._sum / self._weights, np.float32)

    @property
    def sigma_share(self) -> Values:
        """[1, H, W], standard deviation of the noise of `mean`, as a share of that of the tile."""
        shared = np.float32(self._noise.shared)
        independent = self._squares / self._weights**2
        return np.asarray(np.sqrt(independent * (1 - shared) + shared), np.float32)


def excess_difference(tile: Values, other: Values, noise: PlaneNoise, missing: Mask | None = None) -> Values:
    """Return by how much the squared difference of two planes exceeds what chance explains, [H, W].

    Args:
        tile, other: [C, H, W] in the same units.
        noise: of the planes.
        missing: [C, H, W], pixels that are missing in one of them; None for none.
    """
    squared = relative_difference(tile, other, noise, missing)
    small = _box_mean(squared, (1, _SMALL_SIDE, _SMALL_SIDE))
    strong = np.maximum(squared - np.float32(_PIXEL_CHANCE), small - np.float32(_SMALL_CHANCE)).max(axis=0)
    of_all = squared.mean(axis=0)
    near, large = _box_mean(of_all, _NEAR_SIDE), _box_mean(of_all, _LARGE_SIDE)
    faint = np.minimum(large - np.float32(_LARGE_CHANCE), np.float32(_NEAR_RATIO) * (near - 1))
    return np.asarray(np.maximum(np.maximum(strong, faint), 0), np.float32)


def relative_difference(tile: Values, other: Values, noise: PlaneNoise, missing: Mask | None = None) -> Values:
    """Return the squared difference of two smoothed planes, as a multiple of that of noise alone, [C, H, W].

    Arguments are those of `excess_difference`.
    """
    difference = other - tile
    if missing is not None:
        difference = np.where(missing, np.float32(0), difference)
    smoothed = gaussian_filter(difference, (0, _SMOOTHING_SIGMA, _SMOOTHING_SIGMA), mode="reflect", truncate=_TRUNCATE)
    share = np.float32(2.0 * (1.0 - noise.shared) * _smoothed_variance_share(noise.width))
    models = [*noise.variances] * (len(tile) if len(noise.variances) == 1 else 1)
    variance = np.stack([_variance(model, one, two) for model, one, two in zip(models, tile, other, strict=True)])
    return np.asarray(smoothed**2 / np.maximum(share * variance, 1e-12), np.float32)


def _variance(model: NoiseVariance, tile: Values, other: Values) -> Values:
    """Return the variance of the noise at the mean intensity of two planes, [H, W], or [1, 1] if it is constant."""
    if not model.gain and not model.quadratic:
        return np.full((1, 1), model.sigma(0.0) ** 2, np.float32)
    # Thin bright structure has the noise of its own intensity, dark pixels at most that of their surroundings.
    both = np.asarray((tile + other) / 2, np.float32)
    fine = gaussian_filter(both, _SMOOTHING_SIGMA, mode="reflect", truncate=_TRUNCATE)
    intensity = np.maximum(fine, _box_mean(both, _INTENSITY_SIDE))
    return np.asarray(model.sigma(intensity) ** 2, np.float32)


def _smoothed_variance_share(width: float) -> float:
    """Return the share of the variance of noise that is left by the smoothing.

    Args:
        width: sigma in pixels of the Gaussian blur that explains the correlation of the noise; 0 for white noise.
    """
    return _energy(float(np.hypot(width, _SMOOTHING_SIGMA))) / _energy(width)


def _energy(sigma: float) -> float:
    """Return the sum of squares of a Gaussian kernel in two dimensions: the variance that it leaves of white noise."""
    reach = int(np.ceil(_TRUNCATE * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    return float(((kernel / kernel.sum()) ** 2).sum() ** 2)


def _box_mean(values: Values, side: int | tuple[int, ...]) -> Values:
    return np.asarray(uniform_filter(values, side, mode="reflect"), np.float32)


def _union(one: Mask | None, two: Mask | None) -> Mask | None:
    if one is None or two is None:
        return two if one is None else one
    return one | two
