"""PSNR and SSIM by the usual convention: on [0, 1], by default rounded to 8 bit, no border cut; and LPIPS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from masked_denoiser.errors import MetricError

Image = np.ndarray[Any, Any]

#: Side in pixels of the Gaussian window of SSIM.
SMALLEST_SIDE = 11


def to_8_bit(image: Image) -> Image:
    """Clip a float image to [0, 1] and round it to uint8."""
    return np.asarray(np.rint(np.clip(image, 0.0, 1.0) * 255), np.uint8)


def psnr(image: Image, truth: Image, *, rounded: bool = True) -> float:
    """Return the peak signal-to-noise ratio in dB; infinite for equal images.

    Args:
        image, truth: [C, H, W] float in [0, 1].
        rounded: whether both are clipped and rounded to 8 bit first.
    """
    from skimage.metrics import peak_signal_noise_ratio

    compared, reference = (to_8_bit(image), to_8_bit(truth)) if rounded else (image, truth)
    if np.array_equal(compared, reference):
        return float("inf")
    return float(peak_signal_noise_ratio(reference, compared, data_range=255 if rounded else 1))


def ssim(image: Image, truth: Image, *, rounded: bool = True) -> float:
    """Return the structural similarity (Wang et al., IEEE TIP 2004: Gaussian weights, sigma 1.5), mean over channels.

    Args:
        image, truth: [C, H, W] float in [0, 1], at least `SMALLEST_SIDE` pixels high and wide.
        rounded: whether both are clipped and rounded to 8 bit first.

    Raises:
        MetricError: if an image is smaller.
    """
    from skimage.metrics import structural_similarity

    if min(image.shape[1:]) < SMALLEST_SIDE:
        height, width = image.shape[1:]
        raise MetricError(
            f"SSIM needs {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels or more, the image has {height} x {width}; "
            "give a larger one"
        )
    value = structural_similarity(
        *((to_8_bit(image), to_8_bit(truth)) if rounded else (image, truth)),
        channel_axis=0,
        data_range=255 if rounded else 1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)


def make_lpips() -> Callable[[Image, Image], float]:
    """Return the perceptual distance of Zhang et al. (CVPR 2018), by the AlexNet of the package `lpips`.

    Its arguments are two [C, H, W] float images in [0, 1]; it is 0 for equal images.

    Raises:
        MetricError: if the package is missing.
    """
    try:
        from lpips import LPIPS
    except ImportError as error:
        raise MetricError(f"LPIPS needs the package {error.name}; install it with: pip install lpips") from error
    import torch

    network = LPIPS(net="alex", verbose=False).eval()

    def distance(image: Image, truth: Image) -> float:
        colour = [np.broadcast_to(to_8_bit(x) / np.float32(127.5) - 1, (3, *x.shape[1:])) for x in (image, truth)]
        with torch.inference_mode():
            return float(network(*(torch.from_numpy(x.astype(np.float32))[None] for x in colour)))

    return distance
