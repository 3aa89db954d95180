"""Adapter of bmnd.

Its Poisson model needs counts of photons, which 8-bit images do not hold. Its Gaussian model needs the standard
deviation of the noise, which scikit-image estimates here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from bmnd import BM3DProfile, BM4DProfile, bmnd
from planes import on_unit_scale
from skimage.restoration import estimate_sigma

Image = np.ndarray[Any, Any]


def denoise(image: Image, axes: str, modality: str) -> Image:
    """Denoise for the estimated sigma: images and colours by themselves, stacks as volumes."""

    def run(unit: Image) -> Image:
        profile = BM4DProfile() if axes == "ZYX" else BM3DProfile()
        return np.asarray(bmnd(unit.astype(np.float32), profile, sigma=float(estimate_sigma(unit))))

    def each_channel(unit: Image) -> Image:
        return np.stack([run(channel) for channel in np.moveaxis(unit, -1, 0)], axis=-1)

    return on_unit_scale(image, each_channel if axes == "YXS" else run)
