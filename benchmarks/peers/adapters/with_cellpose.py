"""Adapter of cellpose 3: its denoising network, whose weights are downloaded at the first use."""

from __future__ import annotations

from typing import Any

import numpy as np
from cellpose.denoise import DenoiseModel
from planes import by_plane

Image = np.ndarray[Any, Any]


def denoise(image: Image, axes: str, modality: str) -> Image:
    """Denoise with the network for cells of the default diameter of 30 pixels; colours by themselves."""
    model = DenoiseModel(model_type="denoise_cyto3", gpu=False)

    def run(plane: Image) -> Image:
        low, high = np.percentile(plane, (1, 99))  # the network returns images on this scale
        restored = np.asarray(model.eval(plane, channels=[0, 0], diameter=30.0)).reshape(plane.shape)
        return np.asarray(restored * (high - low) + low)

    if axes == "YXS":
        return np.stack([run(channel) for channel in np.moveaxis(image, -1, 0)], axis=-1)
    return by_plane(image, axes, run)
