"""Adapter of DIPY: non-local means for Rician noise, with the parameters of its example "Denoise images using NLMEANS".

Its MP-PCA, local PCA and Patch2Self need a series of diffusion-weighted volumes, not one volume.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dipy.denoise.nlmeans import nlmeans
from dipy.denoise.noise_estimate import estimate_sigma

Image = np.ndarray[Any, Any]


def denoise(image: Image, axes: str, modality: str) -> Image:
    """Denoise a volume for the sigma that the package estimates, of one coil."""
    sigma = estimate_sigma(image, N=1)
    return np.asarray(nlmeans(image, sigma=sigma, patch_radius=1, block_radius=2, rician=True))
