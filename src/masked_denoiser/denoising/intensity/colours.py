"""Whether red, green and blue show one thing, as in photographs and stained tissue, or several, as merged fluorescence.

A network for RGB images expects edges at the same place in all colours. Where each colour is a fluorophore of its own,
it blurs one with the structure of another: there the colours are denoised one by one.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from masked_denoiser.denoising.intensity.ranges import sample_rectangles
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source

#: Colours show one thing if the details of two of them correlate more than this. Measured: 0.78 and more in 200
#: photographs and stained tissues, 0.2 in cells with three fluorophores.
_RELATED = 0.5
#: Colours with less than this share of the variance of the strongest one tell nothing.
_EMPTY = 0.01
#: Standard deviations, in every second pixel, of the Gaussians between which details lie.
_FINE, _COARSE = 0.75, 3.0
#: Rectangles of an image that are looked at.
_PLACES = 16


def colours_are_related(source: Source, seed: int = 0) -> bool:
    """Return whether the colours of an RGB image share their details; also where there is too little to tell.

    Details of every second pixel are compared with those of the pixels between them, so that noise, which two pixels do
    not share, changes nothing, even where it is the same in all colours.

    Args:
        source: the image; a sample of it is read.
        seed: of the sample.
    """
    around = source.context or source
    planes = [plane for plane in list_planes(around.axes, around.sizes, around.rgb, "rgb") if not plane.copied]
    shared = np.zeros((3, 3))
    for rectangle in islice(sample_rectangles(around, planes, seed), _PLACES):
        shared += _shared_details(np.nan_to_num(rectangle.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0))
    strength = np.diag(shared)
    live = strength > max(_EMPTY * float(strength.max()), 1e-12)
    pairs = [(i, j) for i in range(3) for j in range(i) if live[i] and live[j]]
    correlations = [shared[i, j] / np.sqrt(strength[i] * strength[j]) for i, j in pairs]
    return not correlations or max(correlations) > _RELATED


def _shared_details(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of products of the details of two colours [3, 3], of [3, H, W]."""
    height, width = (side // 2 * 2 for side in pixels.shape[1:])
    halves = (pixels[:, row:height:2, row:width:2] for row in (0, 1))
    one, other = ((_smoothed(half, _FINE) - _smoothed(half, _COARSE)).reshape(3, -1) for half in halves)
    products: NDArray[np.float64] = one @ other.T
    return (products + products.T) / 2


def _smoothed(pixels: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    return np.asarray(gaussian_filter(pixels, (0, width, width), mode="nearest"))
