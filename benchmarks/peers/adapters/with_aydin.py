"""Adapter of aydin: the defaults of its denoiser Noise2Self with feature generation and regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from aydin.restoration.denoise.noise2selffgr import noise2self_fgr

Image = np.ndarray[Any, Any]


def denoise(image: Image, axes: str, modality: str) -> Image:
    """Denoise by training on the image itself."""
    return np.asarray(noise2self_fgr(image, chan_axes=[axis == "S" for axis in axes]))
