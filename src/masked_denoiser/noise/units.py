"""Conversion of the noise of a channel to units of its image."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from masked_denoiser.noise.channel_noise import ChannelNoise


def figures_in_image_units(channel: ChannelNoise, black: float, white: float) -> dict[str, Any]:
    """Return the noise of a channel in units of its image.

    Args:
        channel: noise in units of the intensity range.
        black, white: limits of the intensity range.

    Returns:
        The fields of `ChannelNoise`, and black and white; infinite values are None. The offset is at least zero, or at
        least black if that is negative; read noise is the remainder at the offset.
    """
    span = white - black

    def convert(value: float) -> float | None:
        return black + value * span if np.isfinite(value) else None

    noise = channel.impulses
    figures: dict[str, Any] = {
        name: getattr(channel, name) * span
        for name in ("gain", "sigma", "bright", "stripes", "suspected", "contrast", "step")
    }
    at_black, offset, read = channel.variance.variance * span**2, black, channel.read * span
    if figures["gain"] > 0:
        offset = max(black - at_black / figures["gain"], min(black, 0.0))
        read = float(np.sqrt(max(at_black + figures["gain"] * (offset - black), 0.0)))
    figures |= {"floor": channel.floor * span**2, "offset": offset, "read": read, "black": black, "white": white}
    impulses = asdict(noise) | {"height": noise.height * span, "low": convert(noise.low), "high": convert(noise.high)}
    return asdict(channel) | figures | {"clipped": [convert(value) for value in channel.clipped], "impulses": impulses}
