"""Adapter of bm3d. It needs the standard deviation of the noise, which scikit-image estimates here."""

from __future__ import annotations

from typing import Any

import numpy as np
from bm3d import bm3d, bm3d_rgb
from planes import by_plane, on_unit_scale
from skimage.restoration import estimate_sigma

Image = np.ndarray[Any, Any]


def denoise(image: Image, axes: str, modality: str) -> Image:
    """Denoise for the estimated sigma, RGB in the opponent colour space of the package."""

    def run(plane: Image) -> Image:
        color = axes == "YXS"
        sigma = float(np.mean(estimate_sigma(plane, channel_axis=-1 if color else None)))
        return np.asarray((bm3d_rgb if color else bm3d)(plane, sigma))

    return on_unit_scale(image, lambda unit: by_plane(unit, axes, run))
