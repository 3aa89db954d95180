"""Adapter of scikit-image, with the parameters of its gallery: "Denoising a picture", "Non-local means denoising for
preserving textures", "Calibrating Denoisers Using J-Invariance".
"""  # noqa: D205

from __future__ import annotations

from typing import Any

import numpy as np
from planes import by_plane, on_unit_scale
from skimage.restoration import (
    calibrate_denoiser,
    denoise_nl_means,
    denoise_tv_chambolle,
    denoise_wavelet,
    estimate_sigma,
)

Image = np.ndarray[Any, Any]


def nl_means(image: Image, axes: str, modality: str) -> Image:
    """Denoise with fast non-local means, for the estimated sigma."""

    def denoise(plane: Image) -> Image:
        channel_axis = -1 if axes == "YXS" else None
        sigma = float(np.mean(estimate_sigma(plane, channel_axis=channel_axis)))
        return np.asarray(
            denoise_nl_means(
                plane,
                h=0.8 * sigma,
                sigma=sigma,
                fast_mode=True,
                patch_size=5,
                patch_distance=6,
                channel_axis=channel_axis,
            )
        )

    return on_unit_scale(image, lambda unit: by_plane(unit, axes, denoise))


def wavelet(image: Image, axes: str, modality: str) -> Image:
    """Denoise with BayesShrink, whose sigma is estimated for each channel."""

    def denoise(plane: Image) -> Image:
        color = axes == "YXS"
        return np.asarray(
            denoise_wavelet(
                plane,
                channel_axis=-1 if color else None,
                convert2ycbcr=color,
                method="BayesShrink",
                mode="soft",
                rescale_sigma=True,
            )
        )

    return on_unit_scale(image, lambda unit: by_plane(unit, axes, denoise))


def total_variation(image: Image, axes: str, modality: str) -> Image:
    """Denoise with total variation, whose weight is calibrated on the image itself by J-invariance."""

    def denoise(plane: Image) -> Image:
        channel_axis = -1 if axes == "YXS" else None
        calibrated = calibrate_denoiser(
            plane,
            denoise_tv_chambolle,
            {"weight": np.arange(0.01, 0.3, 0.02), "channel_axis": [channel_axis]},
        )
        return np.asarray(calibrated(plane))

    return on_unit_scale(image, lambda unit: by_plane(unit, axes, denoise))
