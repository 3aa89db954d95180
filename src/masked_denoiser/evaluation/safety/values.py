"""Noise and rounding of synthetic images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from masked_denoiser.evaluation.safety.scenes import Scene

#: Noisy pixels and their truth, of the same shape.
Pair = tuple[NDArray[Any], Scene]

#: Function that makes an image from random numbers.
Maker = Callable[[np.random.Generator], Pair]


def draw_noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator, blur: float = 0.0) -> Scene:
    """Make Gaussian noise of this standard deviation, blurred in rows and columns; channels are independent."""
    values = rng.normal(size=shape)
    if blur:
        values = gaussian_filter(values, (blur, blur, 0.0) if len(shape) == 3 else blur)
    return np.asarray(values * (sigma / values.std()), np.float64)


def to_integers(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Round and clip values to an integer dtype."""
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(values), limits.min, limits.max), dtype)
