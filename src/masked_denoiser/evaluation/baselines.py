"""Classical denoisers as baselines, from established libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from masked_denoiser.denoising.intensity.variance_stabilization import make_stabilizer
from masked_denoiser.denoising.noise_measurement import measure_noise
from masked_denoiser.errors import BaselineError
from masked_denoiser.images.open import open_image

Image = np.ndarray[Any, np.dtype[Any]]
Denoise = Callable[[Image], Image]


def make_baseline(name: str) -> Denoise:
    """Return a denoiser of images [H, W, C] float in [0, 1] that estimates the noise from the image.

    Args:
        name: "noisy" (returns the image), "nlm" (Buades et al., CVPR 2005), "wavelet" (BayesShrink, Chang et al., IEEE
            TIP 2000), "bm3d" (Dabov et al., IEEE TIP 2007), or "vst-bm3d": noise measurement of this package, the
            generalised Anscombe transform, BM3D, and the unbiased inverse of the transform. The last two need the
            package `bm3d`, whose licence is for non-commercial use; all but the first and the last need PyWavelets,
            for scikit-image's estimate of sigma.

    Raises:
        BaselineError: if the name is unknown or a package is missing.
    """
    if name not in BASELINES:
        raise BaselineError(f"unknown classical denoiser {name!r}; choose one of: {', '.join(BASELINES)}")
    try:
        return BASELINES[name]()
    except ImportError as error:
        package = {"pywt": "PyWavelets"}.get(str(error.name), error.name)
        raise BaselineError(f"{name!r} needs the package {package}; install it with: pip install {package}") from error


def _noisy() -> Denoise:
    return lambda image: image


def _nlm() -> Denoise:
    import pywt  # noqa: F401 (imported by skimage's estimate of sigma, but only when called)
    from skimage.restoration import denoise_nl_means

    def denoise(image: Image) -> Image:
        sigma = _estimate_sigma(image)
        out = denoise_nl_means(
            image, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
        )
        return np.asarray(out).reshape(image.shape)  # a channel axis of length 1 is dropped

    return denoise


def _wavelet() -> Denoise:
    import pywt  # noqa: F401 (imported by skimage, but only when called)
    from skimage.restoration import denoise_wavelet

    def denoise(image: Image) -> Image:
        color = image.shape[-1] == 3
        return np.asarray(denoise_wavelet(image, channel_axis=-1, convert2ycbcr=color, rescale_sigma=True))

    return denoise


def _bm3d() -> Denoise:
    from bm3d import bm3d, bm3d_rgb

    def denoise(image: Image) -> Image:
        sigma = _estimate_sigma(image)
        if image.shape[-1] == 3:
            return np.asarray(bm3d_rgb(image, sigma))
        return np.asarray(bm3d(image[..., 0], sigma))[..., None]

    return denoise


def _vst_bm3d() -> Denoise:
    from bm3d import bm3d

    def denoise(image: Image) -> Image:
        noise = measure_noise(open_image(image, axes="YXS" if image.shape[-1] > 1 else "YXC")).estimate
        planes = []
        for plane, channel, (low, high) in zip(np.moveaxis(image, -1, 0), noise.channels, noise.ranges, strict=True):
            unit = (plane - low) / (high - low)
            stabilizer = make_stabilizer(channel.variance)
            if stabilizer is None:
                unit = bm3d(unit, max(channel.sigma, 1e-4))
            else:
                unit = stabilizer.backward(bm3d(stabilizer.forward(unit), stabilizer.sigma))
            planes.append(unit * (high - low) + low)
        return np.stack(planes, axis=-1)

    return denoise


def _estimate_sigma(image: Image) -> float:
    from skimage.restoration import estimate_sigma

    return max(float(estimate_sigma(image, channel_axis=-1, average_sigmas=True)), 1e-4)


BASELINES: dict[str, Callable[[], Denoise]] = {
    "noisy": _noisy,
    "nlm": _nlm,
    "wavelet": _wavelet,
    "bm3d": _bm3d,
    "vst-bm3d": _vst_bm3d,
}
