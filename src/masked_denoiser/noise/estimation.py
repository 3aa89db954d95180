"""Measure the noise of the channels of an image on some of its tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.noise.blocks import Blocks, Image, Mask, measure_blocks
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.correlation import (
    BELIEVED,
    independent_share,
    measure_correlation,
    share_structure,
)
from masked_denoiser.noise.impulses import ImpulseNoise, measure_impulses
from masked_denoiser.noise.stripes import stripes
from masked_denoiser.noise.units import in_units
from masked_denoiser.noise.variance_model import (
    NoiseVariance,
    VarianceBins,
    fit_variance,
    flat_blocks,
    groups_of,
    white_floor,
)
from masked_denoiser.noise.verdict import describe_noise

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
        return describe_noise(self.channels, self.ranges)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, in units of the image; what is infinite is None."""
        pairs = zip(self.channels, self.ranges, strict=True)
        return {"verdict": self.verdict, "channels": [in_units(channel, *ends) for channel, ends in pairs]}


def estimate_channel(
    tiles: Sequence[Image], missing: Sequence[Mask | None] | None = None, step: float = 0.0
) -> tuple[ChannelNoise, VarianceBins]:
    """Measure the noise of one channel by itself: `estimate_channels` for one."""
    stacks = [np.asarray(tile, np.float64)[None] for tile in tiles]
    masks = None if missing is None else [None if m is None else m[None] for m in missing]
    return estimate_channels(stacks, masks, step)[0]


def estimate_channels(
    stacks: Sequence[NDArray[np.float64]],
    missing: Sequence[Mask | None] | None = None,
    step: float = 0.0,
    neighbours: Sequence[Pair] = (),
) -> list[tuple[ChannelNoise, VarianceBins]]:
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


def _in_doubt(neighbours: Sequence[Pair], step: float) -> tuple[ChannelNoise, VarianceBins] | None:
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
) -> tuple[ChannelNoise, VarianceBins]:
    impulses = measure_impulses([np.asarray(tile, np.float64) for tile in tiles], step)
    blocks = _bulk(measure_blocks(tiles, missing, impulses, step, noisy))
    if len(blocks.mean) < _FEW:
        return _unknown(tiles, missing, blocks, impulses, step), VarianceBins(np.zeros(0), np.zeros(0), np.zeros(0))
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
        quadratic=variance.quadratic,
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
    variance = noise.variance.in_units(ratio, shift)
    gain, floor = variance.gain, variance.floor
    found, clipped = noise.impulses, tuple(end * ratio + shift for end in noise.clipped)
    offset, read = _in_other_units(noise, variance, ratio, shift)
    blocks = _bulk(measure_blocks(tiles, None, None, step))
    return replace(
        noise,
        gain=gain,
        offset=offset,
        read=read if gain or noise.quadratic else float(variance.sigma(float(np.median(values)))),
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


def _in_other_units(noise: ChannelNoise, variance: NoiseVariance, ratio: float, shift: float) -> tuple[float, float]:
    """Offset and read noise in other units, where `variance` holds."""
    if not noise.quadratic:
        return (noise.offset * ratio + shift) if variance.gain else 0.0, noise.read * ratio
    below = min(variance.variance, 0.0)
    offset = -below / variance.gain if variance.gain else 0.0
    return offset, float(np.sqrt(max(variance.variance, 0.0)))


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
    if variance.quadratic > 0.0:
        return 0.0, 0.0, float(np.sqrt(max(variance.variance, 0.0)))
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
