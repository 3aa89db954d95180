"""What adapters share: the scale of intensities, and stacks denoised plane by plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Image = np.ndarray[Any, Any]


def on_unit_scale(image: Image, denoise: Callable[[Image], Image]) -> Image:
    """Denoise an image in float64 divided by the largest value of its integer type, and return to its intensities.

    Float images are divided by their largest finite value.
    """
    scale = np.iinfo(image.dtype).max if image.dtype.kind in "ui" else float(np.nanmax(np.abs(image))) or 1.0
    return denoise(image.astype(np.float64) / scale) * scale


def by_plane(image: Image, axes: str, denoise: Callable[[Image], Image]) -> Image:
    """Apply `denoise` to an image [Y, X] or [Y, X, S], or to each plane of a stack [Z, Y, X]."""
    return np.stack([denoise(plane) for plane in image]) if axes == "ZYX" else denoise(image)
