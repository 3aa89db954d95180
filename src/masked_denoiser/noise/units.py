"""The noise of a channel in units of its image."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from masked_denoiser.noise.channel_noise import ChannelNoise


def in_units(channel: ChannelNoise, black: float, white: float) -> dict[str, Any]:
    """Return the figures of a channel in units of its image.

    Args:
        channel: in units of its range.
        black, white: the ends of its range.

    Returns:
        The fields of `ChannelNoise`, and black and white; what is infinite is None. The offset may be anything from
        zero on (from black on, where that is negative); read noise is what is left there.
    """
    span = white - black

    def at(value: float) -> float | None:
        return black + value * span if np.isfinite(value) else None

    found = channel.impulses
    figures: dict[str, Any] = {
        name: getattr(channel, name) * span
        for name in ("gain", "sigma", "bright", "stripes", "suspected", "contrast", "step")
    }
    at_black, offset, read = channel.variance.variance * span**2, black, channel.read * span
    if figures["gain"] > 0:
        offset = max(black - at_black / figures["gain"], min(black, 0.0))
        read = float(np.sqrt(max(at_black + figures["gain"] * (offset - black), 0.0)))
    figures |= {"floor": channel.floor * span**2, "offset": offset, "read": read, "black": black, "white": white}
    impulses = asdict(found) | {"height": found.height * span, "low": at(found.low), "high": at(found.high)}
    return asdict(channel) | figures | {"clipped": [at(value) for value in channel.clipped], "impulses": impulses}
