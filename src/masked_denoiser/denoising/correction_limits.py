"""What a network's result is held to: what was measured of the noise.

A blind network guesses the noise by itself, and now and then takes fine structure for it. But how strong the noise is
has been measured, so no more of it can be taken away than there is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from masked_denoiser.noise.variance_model import NoiseVariance

Batch = NDArray[np.float32]

#: How far away a pixel's local mean looks.
MEAN_REACH = 16

#: Up to so many photons a pixel local means are kept, and from so many on they are the network's.
_FEW, _MANY = 5.0, 10.0

#: So many times the measured noise may be taken away: measurements may be too low, and noise is uneven.
_MARGIN = 2.0

#: Noise weaker than this, half a grey level of 255, is rounding.
_LEAST = 0.5 / 255


def keep_local_mean(denoised: Batch, tiles: Batch, level: NoiseVariance) -> Batch:
    """Gives a result the local means of its input, over 33 x 33 pixels, where there are few photons.

    The inverse of the Anscombe transform is unbiased for a network that gives the mean of stabilised values. One that
    was trained with L1 gives their median; at a few photons a pixel, which are far from symmetric, that is much darker.
    Noise has nearly no part in the mean of a thousand pixels.

    Args:
        denoised, tiles: [B, C, H, W].
        level: of the noise; its gain is not 0.
    """
    mean, off = _local(tiles), _local(tiles - denoised)
    photons = (mean + level.variance / level.gain) / level.gain
    weight = np.clip((_MANY - photons) / (_MANY - _FEW), 0.0, 1.0)
    return np.asarray(denoised + weight * off, np.float32)


def take_no_more(denoised: Batch, tiles: Batch, levels: Sequence[NoiseVariance]) -> Batch:
    """Takes less away where more was taken than twice the measured noise, over 33 x 33 pixels.

    Args:
        denoised, tiles: [B, C, H, W].
        levels: of the noise of each channel; one for all of them.
    """
    removed = tiles - denoised
    mean, strength = _local(tiles), np.sqrt(np.maximum(_local(removed**2), 0.0))
    gain, variance = (
        np.array([getattr(level, name) for level in levels], np.float32)[:, None, None] for name in ("gain", "variance")
    )
    allowed = _MARGIN * np.sqrt(np.maximum(gain * mean + variance, _LEAST**2))
    share = np.minimum(1.0, allowed / np.maximum(strength, 1e-6))
    return np.asarray(tiles - share * removed, np.float32)


def _local(batch: Batch) -> Batch:
    side = 2 * MEAN_REACH + 1
    return np.asarray(uniform_filter(batch, size=(1, 1, side, side), mode="reflect"), np.float32)
