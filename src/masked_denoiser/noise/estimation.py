"""What noise an image has, in figures and in a line that a person understands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.noise.blocks import BLOCK, SPREADS, Blocks, Image, measure_blocks
from masked_denoiser.noise.variance_model import Groups, NoiseVariance, fit_level, flat_blocks, groups_of

#: Fewer blocks than this tell nothing certain.
_FEW = 12


@dataclass(frozen=True)
class _Sign:
    """By what noise is told from structure: see `correlation_length`."""

    longest: int
    spreads: int
    grows: float
    alike: float


#: Short correlation shows by little; long correlation, which is much like structure, must show clearly.
_SIGNS = (_Sign(longest=4, spreads=6, grows=1.45, alike=1.5), _Sign(longest=7, spreads=9, grows=5.0, alike=1.7))

#: A residual has reached its plateau at the first spread with this share of what any later one has.
_PLATEAU = 0.92

#: Correlated noise weaker than this cannot be told from soft structure.
_LEAST_CORRELATED = 1.5 / 255

#: Below this standard deviation, a quarter of a grey level of 255, there is no noise to speak of.
_NOTHING = 0.25 / 255
_WEAK, _STRONG = 3.0 / 255, 25.0 / 255

#: Share of impulses from which they are said.
_SOME_IMPULSES = 1e-3

#: Stripes weaker than this cannot be told from edges along the rows or columns of the image.
_LEAST_STRIPES = 2.5 / 255

#: Segments of a line, to tell stripes, which go through all of them, from structure.
_SEGMENTS = 4


@dataclass(frozen=True)
class ChannelNoise:
    """The noise of one channel, in units of the image's range: 1 is its white.

    Attributes:
        gain: intensity of one photon: the variance grows by it for each unit of intensity. 0 for noise that does
            not grow with the light.
        offset: intensity without any light; where it cannot be told from read noise, 0.
        read: standard deviation without light.
        sigma: standard deviation at the median intensity.
        bright: standard deviation at the 95th percentile of intensity, where it may be much stronger.
        correlation: the smallest distance in pixels at which noise is independent; 1 for white noise.
        impulses: share of dead and hot pixels.
        height: how far these are from their neighbours, in the median; 0 where there are none.
        stripes: standard deviation of whole rows or columns against each other.
        clipped: lowest and highest intensity, where the image is clipped there; else infinite.
        certain: whether there were enough flat blocks to measure on.
    """

    gain: float
    offset: float
    read: float
    sigma: float
    bright: float
    correlation: int
    impulses: float
    height: float
    stripes: float
    clipped: tuple[float, float]
    certain: bool

    @property
    def level(self) -> NoiseVariance:
        """Variance against intensity."""
        return NoiseVariance(self.gain, self.read**2 - self.gain * self.offset)


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
        return _verdict(self.channels)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, in units of the image; what is infinite is None."""
        pairs = zip(self.channels, self.ranges, strict=True)
        return {"verdict": self.verdict, "channels": [in_units(channel, *ends) for channel, ends in pairs]}


def estimate_channel(tiles: Sequence[Image]) -> tuple[ChannelNoise, Groups]:
    """Measures the noise of one channel.

    Args:
        tiles: [H, W] each, float, in units of the image's range; values that are not finite count as 0.

    Returns:
        The noise, and variance against intensity as it was measured.
    """
    tiles = [np.nan_to_num(np.asarray(tile, np.float64), posinf=0.0, neginf=0.0) for tile in tiles]
    blocks = measure_blocks(tiles)
    if len(blocks.mean) < _FEW:
        return _unknown(tiles, blocks), Groups(np.zeros(0), np.zeros(0), np.zeros(0))
    flat = flat_blocks(blocks)
    stride = correlation_length(blocks, flat)
    groups = groups_of(blocks, flat, stride - 1)
    level = fit_level(groups, blocks.limits)
    middle = float(np.median(blocks.mean))
    if stride > 1 and level.sigma(middle) < _LEAST_CORRELATED:
        stride, groups = 1, groups_of(blocks, flat, 0)
        level = fit_level(groups, blocks.limits)
    gain, offset, read = _as_camera(level, dark=float(np.percentile(blocks.mean, 1)))
    return ChannelNoise(
        gain=gain,
        offset=offset,
        read=read,
        sigma=float(level.sigma(middle)),
        bright=float(level.sigma(np.percentile(blocks.mean, 95))),
        correlation=stride,
        impulses=blocks.impulses,
        height=blocks.height,
        stripes=stripes(tiles, float(level.sigma(middle))),
        clipped=blocks.limits,
        certain=True,
    ), groups


def correlation_length(blocks: Blocks, flat: list[NDArray[np.intp]]) -> int:
    """The distance in pixels from which noise is independent; 1 for white noise, and where structure hides it.

    The residual of correlated noise grows with the spread of the mask, as that of structure does. But it does not go
    on growing, and flat blocks of one intensity have it alike (upper over lower quartile of the variance).
    """
    grows, alike = [], []
    for group in flat:
        residual = blocks.residual[:, group]
        middle = np.median(residual, axis=1)
        if middle[0] > 1e-14:
            low, high = np.percentile(residual, (25, 75), axis=1)
            grows.append(np.sqrt(middle / middle[0]))
            alike.append(high / np.maximum(low, 1e-14))
    if not grows:
        return 1
    grow, spread = np.median(grows, axis=0), np.median(alike, axis=0)
    for sign in _SIGNS:
        later = np.maximum.accumulate(grow[: sign.spreads][::-1])[::-1]
        at = int(np.argmax(grow[: sign.spreads] >= _PLATEAU * later))
        if grow[at] >= sign.grows and spread[at] <= sign.alike and SPREADS[at] <= sign.longest:
            return SPREADS[at]
    return 1


def stripes(tiles: Sequence[Image], sigma: float) -> float:
    """Standard deviation of whole rows, or columns, against their neighbours; 0 where there are no stripes.

    Segments of a line that are far apart share its stripe, but neither noise nor structure: the covariance of their
    second differences is 6 times the variance of the stripes.
    """
    both = []
    for turn in (False, True):
        each = [c for tile in tiles if (c := _shared(tile.T if turn else tile)) is not None]
        both.append(float(np.median(each)) if each else 0.0)
    variance = max(both) / 6.0
    found = float(np.sqrt(max(variance, 0.0)))
    return found if found > max(0.15 * sigma, _LEAST_STRIPES) and max(both) > 4.0 * max(min(both), 0.0) else 0.0


def _shared(tile: Image) -> float | None:
    """Covariance between segments of the second differences of their row means."""
    if tile.shape[1] < _SEGMENTS * 8 or tile.shape[0] < BLOCK:
        return None
    parts = [part.mean(axis=1) for part in np.array_split(np.asarray(tile, np.float64), _SEGMENTS, axis=1)]
    bends = np.stack([p[:-2] - 2 * p[1:-1] + p[2:] for p in parts])
    products = bends[:-2] * bends[2:]
    return float(np.mean(products))


def _as_camera(level: NoiseVariance, dark: float) -> tuple[float, float, float]:
    """Gain, offset and read noise from a line. The offset is where noise would end, but no brighter than the dark.

    One line cannot tell an offset from read noise: with a variance above zero at intensity zero all of it is read
    noise; below zero there must have been an offset.
    """
    if level.gain <= 0.0:
        return 0.0, 0.0, float(level.sigma(dark))
    offset = float(min(max(0.0, -level.variance / level.gain), max(dark, 0.0)))
    return float(level.gain), offset, float(np.sqrt(max(level.variance + level.gain * offset, 0.0)))


def _unknown(tiles: Sequence[Image], blocks: Blocks) -> ChannelNoise:
    """Too small an image, or one that is clipped all over: the noise of what there is, as if it were white."""
    steps = [np.diff(tile, axis=axis).ravel() for tile in tiles for axis in (0, 1) if tile.shape[axis] > 1]
    pooled = np.concatenate([*steps, np.zeros(1)])
    # The median would not see the few photons of an image that is black for the rest.
    sigma = float(np.sqrt(np.mean(pooled**2) / 2))
    return ChannelNoise(
        0.0, 0.0, sigma, sigma, sigma, 1, blocks.impulses, blocks.height, 0.0, blocks.limits, certain=False
    )


def _verdict(channels: tuple[ChannelNoise, ...]) -> str:
    if all(c.clipped[0] == c.clipped[1] for c in channels):
        return "constant: there is nothing to measure"
    worst = max(channels, key=lambda channel: channel.sigma)
    sigma = worst.sigma
    said = [_strength(sigma)]
    if sigma > _NOTHING:
        grows = worst.gain > 0 and worst.read**2 < 0.7 * sigma**2
        said.append("growing with the light" if grows else "of equal strength everywhere")
        if worst.correlation > 1:
            said.append(f"shared by neighbours up to {worst.correlation - 1} pixels apart")
    if (share := max(c.impulses for c in channels)) > _SOME_IMPULSES:
        said.append(f"{share:.1%} dead or hot pixels")
    if any(c.stripes for c in channels):
        said.append("stripes")
    if not all(c.certain for c in channels):
        said.append("measured on very little, so uncertain")
    return ", ".join(said)


def _strength(sigma: float) -> str:
    figure = f"sigma {sigma * 255:.1f} of 255 grey levels"
    if sigma <= _NOTHING:
        return "no noise to speak of"
    return f"{'weak' if sigma < _WEAK else 'strong' if sigma > _STRONG else 'moderate'} noise ({figure})"


def in_units(channel: ChannelNoise, black: float, white: float) -> dict[str, Any]:
    """The figures of a channel in units of its image.

    Args:
        channel: in units of its range.
        black, white: the ends of its range.

    Returns:
        The fields of `ChannelNoise`, and black and white. The offset may be anything from zero on (from black on, where
        that is negative), and not only within the range; read noise is what is left there.
    """
    span = white - black
    gain, at_black = channel.gain * span, channel.level.variance * span**2
    figures = {name: getattr(channel, name) * span for name in ("sigma", "bright", "height", "stripes")}
    offset, read = black, channel.read * span
    if gain > 0:
        offset = max(black - at_black / gain, min(black, 0.0))
        read = float(np.sqrt(max(at_black + gain * (offset - black), 0.0)))
    clipped = [black + value * span if np.isfinite(value) else None for value in channel.clipped]
    figures |= {"gain": gain, "offset": offset, "read": read, "black": black, "white": white}
    return asdict(channel) | figures | {"clipped": clipped}
