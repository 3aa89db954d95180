"""How far texture averages out over squares of pixels: a criterion for correlated noise.

Noise that a blur of a pixel has correlated is nearly independent between squares of 2 x 2 or 4 x 4 pixels, so that
their means have much less of it. Texture of all sizes, such as haze, breast tissue in mammograms or rough surfaces,
whose spectrum is a power of the frequency, remains. The dilated masks cannot distinguish the two, since a dilated mask
also responds to the finest texture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from masked_denoiser.noise.blocks import Image, Mask, residual
from masked_denoiser.noise.correlated.blur_fit import blur_correlation

#: Sides in pixels of the squares whose means are compared.
_SMALL_SQUARE, _LARGE_SQUARE = 2, 4

#: Side in pixels of the windows over which residuals are averaged, and the percentile of the windows, which is quiet.
_WINDOW, _QUIET_PERCENTILE = 32, 10


def averaging_excess(tiles: Sequence[Image], missing: Sequence[Mask | None], width: float, box: int) -> float:
    """Return how many times more of a texture remains in larger squares than of noise with this correlation.

    Args:
        tiles: [H, W] each.
        missing: mask of the missing pixels of each tile, or None; windows that contain such pixels are excluded.
        width, box: of the blur that explains the correlation; see `Correlation`.

    Returns:
        About 1 for noise; 1, too, if the tiles are too small for a statement.
    """
    pairs = list(zip(tiles, missing, strict=True))
    quiet = []
    for side in (_SMALL_SQUARE, _LARGE_SQUARE):
        variances = np.concatenate([_window_variances(tile, mask, side) for tile, mask in pairs])
        variances = variances[variances > 0]
        quiet.append(float(np.percentile(variances, _QUIET_PERCENTILE)) if variances.size else 0.0)
    if not all(quiet):
        return 1.0
    expected = _binned_variance(_LARGE_SQUARE, width, box) / _binned_variance(_SMALL_SQUARE, width, box)
    return quiet[1] / quiet[0] / expected


def _window_variances(tile: Image, missing: Mask | None, side: int) -> NDArray[np.float64]:
    """Return the variance of the residual of the means of squares in windows of a tile."""
    height, width = (length // side for length in tile.shape)
    window = _WINDOW // side
    if min(height, width) < window + 2:
        return np.zeros(0)
    means = _square_means(np.asarray(tile, np.float64), side)
    squares = residual(means, 1)[1:-1, 1:-1] ** 2
    windows = sliding_window_view(squares, (window, window))[:: window // 2, :: window // 2]
    variances = np.asarray(windows.mean(axis=(2, 3)), np.float64)
    if missing is None:
        return variances.ravel()
    unusable = _square_means(missing.astype(np.float64), side)[1:-1, 1:-1]
    is_whole = sliding_window_view(unusable, (window, window))[:: window // 2, :: window // 2].max(axis=(2, 3)) == 0
    return np.asarray(variances[is_whole], np.float64)


def _square_means(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    height, width = (length // side for length in values.shape)
    cropped = values[: height * side, : width * side]
    return np.asarray(cropped.reshape(height, side, width, side).mean(axis=(1, 3)))


def _binned_variance(side: int, width: float, box: int) -> float:
    """Return the variance of the residual of the means of squares of blurred white noise of unit variance.

    As in `residual_share`, with the correlations of the means of `side` pixels along one axis.
    """
    correlation = blur_correlation(width, box)
    positions = np.arange(side)
    near = positions[:, None] - positions[None, :]
    at_lags = [float(correlation[np.abs(near + lag * side)].mean()) for lag in (0, 1, 2)]
    return ((6.0 * at_lags[0] - 8.0 * at_lags[1] + 2.0 * at_lags[2]) / 6.0) ** 2
