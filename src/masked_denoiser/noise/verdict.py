"""What noise an image has, in a line that a person understands."""

from __future__ import annotations

from collections.abc import Sequence

from masked_denoiser.noise.channel_noise import ChannelNoise, below_rounding

#: Standard deviations against the contrast of the image: weak and strong noise.
_WEAK, _STRONG = 0.02, 0.12

#: From so many quantization steps on, noise below the rounding may be that of photons.
_FEW_PHOTONS = 0.15

#: Noise whose variance is mostly that without light is of equal strength everywhere.
_EQUAL = 0.7

#: Share of impulses, and of lone pixels, from which they are mentioned.
_SOME_IMPULSES = 1e-4


def describe_noise(channels: Sequence[ChannelNoise], ranges: Sequence[tuple[float, float]]) -> str:
    """Return one line for a person.

    Args:
        channels: of an image, in units of their ranges.
        ranges: of each channel, the intensities that are 0 and 1 in its figures.
    """
    if all(c.is_constant for c in channels):
        return "constant: there is nothing to measure"
    worst = max(range(len(channels)), key=lambda i: channels[i].sigma)
    noise, (black, white) = channels[worst], ranges[worst]
    words = [_strength(noise, white - black)]
    if not below_rounding(noise):
        words.append(_growth(noise))
        if noise.correlation > 1:
            apart = noise.correlation - 1
            words.append(f"shared by neighbours up to {apart} pixel{'s' if apart > 1 else ''} apart")
    if noise.suspected:
        shared = noise.suspected * (white - black)
        words.append(f"fine texture of {shared:.3g} is taken for structure ({noise.evidence})")
    if (share := max(c.impulses.share for c in channels)) > _SOME_IMPULSES:
        words.append(f"{_percent(share)} dead or hot pixels")
    elif (share := max(c.impulses.lone for c in channels)) > _SOME_IMPULSES:
        words.append(f"{_percent(share)} lone bright or dark pixels, which may be structure")
    if any(c.stripes for c in channels):
        words.append("stripes")
    if not all(c.certain for c in channels):
        words.append("measured on very little, so uncertain")
    return ", ".join(words)


def _growth(noise: ChannelNoise) -> str:
    if noise.read**2 >= _EQUAL * noise.sigma**2 or max(noise.gain, noise.quadratic) <= 0:
        return "of equal strength everywhere"
    return "in proportion to the light" if noise.quadratic else "growing with the light"


def _percent(share: float) -> str:
    return f"{share:.2%}" if share < 0.01 else f"{share:.1%}"


def _strength(noise: ChannelNoise, span: float) -> str:
    if below_rounding(noise):
        counts = noise.gain > 0 and noise.sigma > _FEW_PHOTONS * noise.step
        return "no noise above the rounding of its values" + (
            f" (standard deviation {noise.sigma * span:.2g}; only a result of data type float32 can be better)"
            if counts
            else ""
        )
    word = "weak" if noise.sigma < _WEAK else "strong" if noise.sigma > _STRONG else "moderate"
    return f"{word} noise (standard deviation {noise.sigma * span:.3g}, {noise.sigma:.1%} of the intensity range)"
