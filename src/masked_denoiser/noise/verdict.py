"""Description of the noise of an image in one line."""

from __future__ import annotations

from collections.abc import Sequence

from masked_denoiser.noise.channel_noise import ChannelNoise, below_rounding

#: Standard deviations, in units of the intensity range, below which noise is weak and above which it is strong.
_WEAK_SIGMA, _STRONG_SIGMA = 0.02, 0.12

#: Standard deviation in quantization steps above which noise below the rounding may be photon noise.
_PHOTON_NOISE_STEPS = 0.15

#: Quantization step, in units of the intensity range, from which on an image has too few values to have photon noise.
_COARSE_STEP = 0.25

#: Share of the variance without light from which on noise is described as independent of intensity.
_UNIFORM_SHARE = 0.7

#: Description of fine texture that was not measured as noise.
TREATED_AS_STRUCTURE = "is treated as structure"

#: Share of impulses, or of isolated pixels, above which they are mentioned.
_MENTIONED_SHARE = 1e-4


def describe_noise(channels: Sequence[ChannelNoise], ranges: Sequence[tuple[float, float]]) -> str:
    """Return a description of the noise in one line.

    Args:
        channels: noise of each channel, in units of its intensity range.
        ranges: intensity range of each channel, in units of the image.
    """
    if all(c.is_constant for c in channels):
        return "constant, so that there is no noise to measure"
    strongest = max(range(len(channels)), key=lambda i: channels[i].sigma)
    noise, (black, white) = channels[strongest], ranges[strongest]
    parts = [_strength(noise, white - black)]
    if noise.sigma and not below_rounding(noise):
        parts.append(_intensity_dependence(noise))
        if noise.correlation > 1:
            distance = noise.correlation - 1
            parts.append(f"correlated over up to {distance} pixel{'s' if distance > 1 else ''}")
    if noise.suspected:
        sigma = noise.suspected * (white - black)
        parts.append(f"fine texture (standard deviation {sigma:.3g}) {TREATED_AS_STRUCTURE} (it {noise.evidence})")
    if (share := max(c.impulses.share for c in channels)) > _MENTIONED_SHARE:
        parts.append(f"{_percent(share)} dead or hot pixels")
    elif (share := max(c.impulses.lone for c in channels)) > _MENTIONED_SHARE:
        parts.append(f"{_percent(share)} isolated bright or dark pixels, which may be structure")
    if any(c.stripes for c in channels):
        parts.append("stripes")
    uncertain = sum(not (c.certain or c.is_constant) for c in channels)
    if uncertain == len(channels) or not any(c.certain for c in channels):
        parts.append("measured on few pixels, so uncertain")
    elif uncertain:
        parts.append(f"{uncertain} of {len(channels)} channels nearly everywhere clipped or missing")
    return ", ".join(parts)


def _intensity_dependence(noise: ChannelNoise) -> str:
    if noise.gain < 0:
        return "falling with intensity"
    if noise.read**2 >= _UNIFORM_SHARE * noise.sigma**2 or max(noise.gain, noise.quadratic) <= 0:
        return "independent of intensity"
    return "proportional to intensity" if noise.quadratic else "growing with intensity"


def _percent(share: float) -> str:
    return f"{share:.2%}" if share < 0.01 else f"{share:.1%}"


def _strength(noise: ChannelNoise, span: float) -> str:
    if below_rounding(noise):
        photon_noise = noise.gain > 0 and noise.sigma > _PHOTON_NOISE_STEPS * noise.step and noise.step < _COARSE_STEP
        return "no noise above the rounding of its values" + (
            f" (standard deviation {noise.sigma * span:.2g}; only float32 output can improve it)"
            if photon_noise
            else ""
        )
    if not noise.sigma:
        return "no noise that all pixels have"
    strength = "weak" if noise.sigma < _WEAK_SIGMA else "strong" if noise.sigma > _STRONG_SIGMA else "moderate"
    return f"{strength} noise (standard deviation {noise.sigma * span:.3g}, {noise.sigma:.1%} of the intensity range)"
