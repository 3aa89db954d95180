"""Images that are given as clean ones although they are noisy: a network would learn to keep their noise."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from masked_denoiser.denoising.noise_measurement import measure_noise
from masked_denoiser.images.source import Source
from masked_denoiser.noise.channel_noise import below_rounding
from masked_denoiser.noise.verdict import describe_noise
from masked_denoiser.training.data.checks import raise_if_cancelled

#: Number of images whose noise is measured.
_MEASURED_IMAGES = 3

#: Standard deviation, as a share of the intensity range, from which on an image is noisy.
_NOISY_SIGMA = 0.02


def noisy_image(sources: Sequence[Source], cancel: threading.Event | None = None) -> str:
    """Return the first noisy image among some of the clean images, with its noise; "" if none is.

    Args:
        sources: images that are given as clean.
        cancel: checked before each image.

    Raises:
        StoppedEarlyError: if `cancel` is set.
    """
    step = max(1, len(sources) // _MEASURED_IMAGES)
    for source in sources[::step][:_MEASURED_IMAGES]:
        raise_if_cancelled(cancel)
        estimate = measure_noise(source).estimate
        if any(c.certain and not below_rounding(c) and c.sigma >= _NOISY_SIGMA for c in estimate.channels):
            return f"{source.name}: {describe_noise(estimate.channels, estimate.ranges)}"
    return ""
