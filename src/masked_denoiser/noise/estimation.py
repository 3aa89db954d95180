"""What noise an image has, in figures and in a line that a person understands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.noise.blocks import Blocks, Image, Mask, measure_blocks
from masked_denoiser.noise.correlation import (
    BELIEVED,
    independent_share,
    measure_correlation,
    share_structure,
)
from masked_denoiser.noise.impulses import ImpulseNoise, measure_impulses
from masked_denoiser.noise.stripes import stripes
from masked_denoiser.noise.variance_model import (
    Groups,
    NoiseVariance,
    fit_variance,
    flat_blocks,
    groups_of,
    white_floor,
)

#: Two planes [2, H, W], and which of their samples hold no intensity.
Pair = tuple[NDArray[np.float64], Mask | None]

#: Share of the pixels of a gray image that may be coloured.
_COLOURED = 0.1

#: Fewer blocks than this tell nothing certain.
_FEW = 12

#: Blocks whose mean lies beyond this, in units of the range, are rare bright objects and tell nothing of the bulk.
_BULK = (-1.0, 3.0)

#: Share of the least variance of all intensities that noise has everywhere.
_FLOOR = 0.5

#: The plateau spread at which channels are compared, by index.
_APART = 3

#: Standard deviations against the contrast of the image: weak and strong noise.
_WEAK, _STRONG = 0.02, 0.12

#: Noise up to so many quantization steps is below the rounding of the values; from so many on it may be photons.
ROUNDING, _FEW_PHOTONS = 0.75, 0.15

#: Share of impulses, and of lone pixels, from which they are mentioned.
_SOME_IMPULSES = 1e-4


@dataclass(frozen=True)
class ChannelNoise:
    """The noise of one channel, in units of the image's range.

    Attributes:
        gain: intensity of one photon: the variance grows by it for each unit of intensity. 0 for noise that does
            not grow with the light.
        offset: intensity without any light; where it cannot be told from read noise, 0.
        read: standard deviation without light.
        sigma: standard deviation at the median intensity.
        bright: standard deviation at the 95th percentile of intensity, where it may be much stronger.
        correlation: the smallest distance in pixels at which noise is independent; 1 for white noise.
        impulses: dead and hot pixels.
        stripes: standard deviation of whole rows or columns against each other.
        clipped: lowest and highest intensity, where the image is clipped there; else infinite.
        certain: whether there were enough flat blocks to measure on.
        width: standard deviation in pixels of the Gaussian blur that explains the correlation; 0 for white noise.
        box: side in pixels of the mean that explains it better; 0 for none.
        confidence: 0 to 1, that what looks like correlated noise is noise.
        evidence: what speaks for or against correlated noise.
        suspected: standard deviation of what looks like correlated noise but may be structure, and is left alone.
        contrast: median standard deviation of the image within 16 x 16 pixels, without noise.
        step: quantization step of the intensities; 0 for none.
        floor: least variance of the noise at any intensity.
    """

    gain: float
    offset: float
    read: float
    sigma: float
    bright: float
    correlation: int
    impulses: ImpulseNoise
    stripes: float
    clipped: tuple[float, float]
    certain: bool
    width: float = 0.0
    box: int = 0
    confidence: float = 1.0
    evidence: str = ""
    suspected: float = 0.0
    contrast: float = 1.0
    step: float = 0.0
    floor: float = 0.0

    @property
    def is_constant(self) -> bool:
        """Whether the channel holds one value only, as the empty channels of a single stain saved as RGB do."""
        return self.clipped[0] == self.clipped[1]

    @property
    def is_doubtful(self) -> bool:
        """Whether there is fine texture that is noise, or may be."""
        return self.suspected > 0 or self.correlation > 1

    @property
    def variance(self) -> NoiseVariance:
        """Variance against intensity."""
        return NoiseVariance(self.gain, self.read**2 - self.gain * self.offset, self.floor)


@dataclass(frozen=True)
class NoiseEstimate:
    """The noise of an image.

    Attributes:
        channels: of each channel; red, green and blue are channels.
        ranges: of each channel, the intensities that are 0 and 1 in its figures, in units of the image.
    """

    channels: tuple[ChannelNoise, ...]
    ranges: tuple[tuple[float, float], ...]

    @property
    def verdict(self) -> str:
        """One line for a person."""
        return _verdict(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, in units of the image; what is infinite is None."""
        pairs = zip(self.channels, self.ranges, strict=True)
        return {"verdict": self.verdict, "channels": [in_units(channel, *ends) for channel, ends in pairs]}


def estimate_channel(
    tiles: Sequence[Image], missing: Sequence[Mask | None] | None = None, step: float = 0.0
) -> tuple[ChannelNoise, Groups]:
    """Measure the noise of one channel by itself: `estimate_channels` for one."""
    stacks = [np.asarray(tile, np.float64)[None] for tile in tiles]
    masks = None if missing is None else [None if m is None else m[None] for m in missing]
    return estimate_channels(stacks, masks, step)[0]


def estimate_channels(
    stacks: Sequence[NDArray[np.float64]],
    missing: Sequence[Mask | None] | None = None,
    step: float = 0.0,
    neighbours: Sequence[Pair] = (),
) -> list[tuple[ChannelNoise, Groups]]:
    """Measure the noise of channels that show the same place.

    Args:
        stacks: [channels, H, W] each, float, in units of the image's range; 1 channel, or red, green and blue.
        missing: of each stack, which samples hold no intensity, in its shape; None for none.
        step: quantization step of the intensities, in the same units; 0 for none.
        neighbours: where there are any, the same place of two neighbouring planes of a single channel, [2, H, W], and
            which samples hold no intensity; None for none.

    Returns:
        Of each channel the noise, and variance against intensity as it was measured.
    """
    stacks = [np.nan_to_num(np.asarray(stack, np.float64), posinf=0.0, neginf=0.0) for stack in stacks]
    masks = missing or [None] * len(stacks)
    if len(stacks[0]) == 1:
        alone = _estimate([stack[0] for stack in stacks], [None if m is None else m[0] for m in masks], step)
        return [_in_doubt(neighbours, step) or alone if alone[0].is_doubtful and neighbours else alone]
    gray = nearly_gray(stacks, step)
    shares = (np.ones(3), np.ones(3)) if gray else _independent(stacks)
    together = not gray and share_structure(stacks, _APART)
    return [
        _estimate(
            [stack[i] for stack in stacks],
            [None if mask is None else mask[i] for mask in masks],
            step,
            (float(shares[0][i]), float(shares[1][i])),
            shares_structure=together,
        )
        for i in range(len(stacks[0]))
    ]


def _in_doubt(neighbours: Sequence[Pair], step: float) -> tuple[ChannelNoise, Groups] | None:
    """Measure noise on the difference of planes that show the same, half of its variance; None where they do not.

    It tells texture from noise, but not from noise that planes share because they were interpolated: it is asked only
    where a plane by itself leaves a doubt.
    """
    planes = [pair for pair, _ in neighbours]
    if not share_structure(planes, _APART):
        return None
    noisy = [(first - second) / np.sqrt(2.0) for first, second in planes]
    masks = [None if mask is None else mask[0] | mask[1] for _, mask in neighbours]
    found = _estimate([pair[0] for pair in planes], masks, step, noisy=noisy)
    return found if found[0].certain else None


def nearly_gray(stacks: Sequence[NDArray[np.float64]], step: float) -> bool:
    """Return whether channels [channels, H, W] are equal nearly everywhere, as in a gray image with a coloured mark.

    Args:
        stacks: [channels, H, W] each.
        step: quantization step of the intensities; channels may differ by two.
    """
    if len(stacks[0]) == 1:
        return False
    differ = sum(int(((np.ptp(stack, axis=0)) > 2.5 * step + 1e-9).sum()) for stack in stacks)
    return bool(differ <= _COLOURED * sum(stack[0].size for stack in stacks))


def _independent(stacks: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of the residuals that other channels do not explain, at the finest spread and farther apart."""
    return independent_share(stacks, 1), independent_share(stacks, _APART)


def _estimate(
    tiles: Sequence[Image],
    missing: Sequence[Mask | None],
    step: float,
    independent: tuple[float, float] = (1.0, 1.0),
    *,
    shares_structure: bool = False,
    noisy: Sequence[Image] | None = None,
) -> tuple[ChannelNoise, Groups]:
    impulses = measure_impulses([np.asarray(tile, np.float64) for tile in tiles], step)
    blocks = _bulk(measure_blocks(tiles, missing, impulses, step, noisy))
    if len(blocks.mean) < _FEW:
        return _unknown(tiles, missing, blocks, impulses, step), Groups(np.zeros(0), np.zeros(0), np.zeros(0))
    flat = flat_blocks(blocks)
    correlation = measure_correlation(blocks, flat, independent[1], shares_structure=shares_structure)
    believed = correlation.length > 1 and correlation.confidence >= BELIEVED
    suspected = groups_of(blocks, flat, correlation.length - 1)
    suspected = replace(suspected, variance=suspected.variance / correlation.residual)
    groups, share = (suspected, independent[1]) if believed else (white_floor(blocks, flat), independent[0])
    groups = replace(groups, variance=groups.variance * _believed_share(share))
    variance = fit_variance(groups, blocks.limits, counts=blocks.counts)
    middle = float(np.median(blocks.mean))
    gain, offset, read = _as_camera(variance, dark=float(np.percentile(blocks.mean, 1)))
    noise = ChannelNoise(
        gain=gain,
        offset=offset,
        read=read,
        sigma=float(variance.sigma(middle)),
        bright=float(variance.sigma(np.percentile(blocks.mean, 95))),
        correlation=correlation.length if believed else 1,
        impulses=impulses,
        stripes=stripes(tiles, float(variance.sigma(middle))),
        clipped=blocks.limits,
        certain=True,
        width=correlation.width if believed else 0.0,
        box=correlation.box if believed else 0,
        confidence=correlation.confidence,
        evidence=correlation.evidence,
        suspected=0.0 if believed or correlation.length == 1 else float(np.sqrt(np.median(suspected.variance))),
        contrast=_contrast(blocks),
        step=step,
        floor=_FLOOR * float(groups.variance.min()),
    )
    return noise, groups


def in_other_units(
    noise: ChannelNoise, ratio: float, shift: float, values: NDArray[np.float64], tiles: Sequence[Image], step: float
) -> ChannelNoise:
    """Return the noise of a channel as it is at other intensities, in units that are intensity * ratio + shift.

    Args:
        noise: in the units of before.
        ratio, shift: from the units of before to those of the result.
        values: intensities, in the units of the result: sigma and bright are those of their 50th and 95th percentile.
        tiles: [H, W] each, in the units of the result, whose contrast is measured.
        step: quantization step, in the units of the result.
    """
    line = noise.variance
    gain, floor = line.gain * ratio, line.floor * ratio**2
    variance = NoiseVariance(gain, line.variance * ratio**2 - gain * shift, floor)
    found, clipped = noise.impulses, tuple(end * ratio + shift for end in noise.clipped)
    offset, read = (noise.offset * ratio + shift) if gain else 0.0, noise.read * ratio
    blocks = _bulk(measure_blocks(tiles, None, None, step))
    return replace(
        noise,
        gain=gain,
        offset=offset,
        read=read if gain else float(variance.sigma(float(np.median(values)))),
        sigma=float(variance.sigma(float(np.median(values)))),
        bright=float(variance.sigma(float(np.percentile(values, 95)))),
        impulses=replace(
            found, height=found.height * ratio, low=found.low * ratio + shift, high=found.high * ratio + shift
        ),
        stripes=noise.stripes * ratio,
        clipped=(clipped[0], clipped[1]),
        suspected=noise.suspected * ratio,
        contrast=_contrast(blocks) if len(blocks.mean) else noise.contrast * ratio,
        step=step,
        floor=floor,
    )


def _believed_share(independent: float) -> float:
    """Noise that is nearly independent between channels is taken whole: a little is shared by chance."""
    return 1.0 if independent > 0.8 else independent


def _bulk(blocks: Blocks) -> Blocks:
    inside = (blocks.mean >= _BULK[0]) & (blocks.mean <= _BULK[1])
    return replace(
        blocks,
        mean=blocks.mean[inside],
        structure=blocks.structure[inside],
        residual=blocks.residual[:, inside],
        kurtosis=blocks.kurtosis[inside],
        coherence=blocks.coherence[inside],
    )


def _contrast(blocks: Blocks) -> float:
    """Median standard deviation within blocks, of what smoothing leaves and white noise does not explain."""
    return float(np.sqrt(np.median(np.maximum(blocks.structure, 0.0))))


def _as_camera(variance: NoiseVariance, dark: float) -> tuple[float, float, float]:
    """Gain, offset and read noise from a line. The offset is where noise would end, but no brighter than the dark.

    One line cannot tell an offset from read noise: with a variance above zero at intensity zero all of it is read
    noise; below zero there must have been an offset.
    """
    if variance.gain <= 0.0:
        return 0.0, 0.0, float(variance.sigma(dark))
    offset = float(min(max(0.0, -variance.variance / variance.gain), max(dark, 0.0)))
    return float(variance.gain), offset, float(np.sqrt(max(variance.variance + variance.gain * offset, 0.0)))


def _unknown(
    tiles: Sequence[Image], missing: Sequence[Mask | None], blocks: Blocks, impulses: ImpulseNoise, step: float
) -> ChannelNoise:
    """Too small an image, or one that is clipped all over: the noise of what there is, as if it were white."""
    steps = [np.zeros(1)]
    for tile, mask in zip(tiles, missing, strict=True):
        known = np.asarray(tile, np.float64) if mask is None else np.where(mask, np.nan, tile)
        steps += [np.diff(known, axis=axis).ravel() for axis in (0, 1) if tile.shape[axis] > 1]
    pooled = np.concatenate(steps)
    # The median would not see the few photons of an image that is black for the rest.
    sigma = float(np.sqrt(np.nanmean(pooled**2) / 2))
    return ChannelNoise(0.0, 0.0, sigma, sigma, sigma, 1, impulses, 0.0, blocks.limits, certain=False, step=step)


def _verdict(estimate: NoiseEstimate) -> str:
    channels = estimate.channels
    if all(c.is_constant for c in channels):
        return "constant: there is nothing to measure"
    worst = max(range(len(channels)), key=lambda i: channels[i].sigma)
    noise, (black, white) = channels[worst], estimate.ranges[worst]
    words = [_strength(noise, white - black)]
    if not below_rounding(noise):
        grows = noise.gain > 0 and noise.read**2 < 0.7 * noise.sigma**2
        words.append("growing with the light" if grows else "of equal strength everywhere")
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


def _percent(share: float) -> str:
    return f"{share:.2%}" if share < 0.01 else f"{share:.1%}"


def below_rounding(noise: ChannelNoise) -> bool:
    """Return whether noise is no stronger than the rounding of the values, even in bright parts."""
    return max(noise.sigma, noise.bright) <= max(ROUNDING * noise.step, 1e-9)


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
