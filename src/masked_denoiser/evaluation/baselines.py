"""Classical denoisers to compare with, from libraries that are known for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from masked_denoiser.denoising.noise_measurement import estimate_noise
from masked_denoiser.denoising.variance_stabilization import make_stabiliser
from masked_denoiser.errors import BaselineError

Image = np.ndarray[Any, np.dtype[Any]]
Denoise = Callable[[Image], Image]


def baseline(name: str) -> Denoise:
    """Return a denoiser of images [H, W, C] float in [0, 1] that estimates the noise by itself.

    Args:
        name: "noisy" (does nothing), "nlm" (Buades et al., CVPR 2005), "wavelet" (BayesShrink, Chang et al., IEEE TIP
            2000), "bm3d" (Dabov et al., IEEE TIP 2007), or "vst-bm3d": the noise measured as this program measures it,
            the generalised Anscombe transform, BM3D, and the transform's unbiased inverse. The last two need the
            package `bm3d`, whose licence is for non-commercial use; all but the first and the last need PyWavelets,
            for scikit-image's estimate of sigma.

    Raises:
        BaselineError: for another name, or where the package is missing.
    """
    if name not in BASELINES:
        raise BaselineError(f"no classical denoiser is called {name!r}; there are: {', '.join(BASELINES)}")
    try:
        return BASELINES[name]()
    except ImportError as error:
        package = {"pywt": "PyWavelets"}.get(str(error.name), error.name)
        raise BaselineError(f"{name!r} needs the package {package}; install it with: pip install {package}") from error


def _noisy() -> Denoise:
    return lambda image: image


def _nlm() -> Denoise:
    import pywt  # noqa: F401 (skimage's estimate of sigma imports it only when it is used)
    from skimage.restoration import denoise_nl_means

    def denoise(image: Image) -> Image:
        sigma = _sigma(image)
        out = denoise_nl_means(
            image, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
        )
        return np.asarray(out).reshape(image.shape)  # of one channel it drops the axis

    return denoise


def _wavelet() -> Denoise:
    import pywt  # noqa: F401 (skimage imports it only when it is used)
    from skimage.restoration import denoise_wavelet

    def denoise(image: Image) -> Image:
        color = image.shape[-1] == 3
        return np.asarray(denoise_wavelet(image, channel_axis=-1, convert2ycbcr=color, rescale_sigma=True))

    return denoise


def _bm3d() -> Denoise:
    from bm3d import bm3d, bm3d_rgb

    def denoise(image: Image) -> Image:
        sigma = _sigma(image)
        if image.shape[-1] == 3:
            return np.asarray(bm3d_rgb(image, sigma))
        return np.asarray(bm3d(image[..., 0], sigma))[..., None]

    return denoise


def _vst_bm3d() -> Denoise:
    from bm3d import bm3d

    def denoise(image: Image) -> Image:
        noise = estimate_noise(image, axes="YXS" if image.shape[-1] > 1 else "YXC")
        planes = []
        for plane, channel, (low, high) in zip(np.moveaxis(image, -1, 0), noise.channels, noise.ranges, strict=True):
            unit = (plane - low) / (high - low)
            stabiliser = make_stabiliser(channel.variance)
            if stabiliser is None:
                unit = bm3d(unit, max(channel.sigma, 1e-4))
            else:
                unit = stabiliser.backward(bm3d(stabiliser.forward(unit), stabiliser.sigma))
            planes.append(unit * (high - low) + low)
        return np.stack(planes, axis=-1)

    return denoise


def _sigma(image: Image) -> float:
    from skimage.restoration import estimate_sigma

    return max(float(estimate_sigma(image, channel_axis=-1, average_sigmas=True)), 1e-4)


BASELINES: dict[str, Callable[[], Denoise]] = {
    "noisy": _noisy,
    "nlm": _nlm,
    "wavelet": _wavelet,
    "bm3d": _bm3d,
    "vst-bm3d": _vst_bm3d,
}
