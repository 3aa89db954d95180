"""Groups of epochs of like contrast, each of which is treated for itself.

A detector has one noise at one intensity, so that noise is measured over all planes of a channel. But what it hides is
another thing in each: noise that is next to nothing in the first frame of a series that bleaches covers the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from masked_denoiser.denoising.intensity.ranges import IntensityRange, common_range
from masked_denoiser.denoising.noise_measurement import NoiseSample
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.estimation import in_other_units

#: Ratio of contrasts within a group, and groups of one channel at most: each takes a trial.
_ALIKE, _MOST = 2.5, 4


def group_by_contrast(keys: Sequence[int], ranges: Mapping[int, IntensityRange]) -> list[tuple[int, ...]]:
    """Return the epochs of a channel in groups of like contrast, from the smallest on.

    Args:
        keys: `Plane.range_key` of the epochs.
        ranges: by key.
    """
    order = sorted(keys, key=lambda key: (ranges[key].span, key))
    largest = ranges[order[-1]].span / ranges[order[0]].span
    alike = max(_ALIKE, largest ** (1.0 / _MOST) * (1.0 + 1e-9))
    groups: list[list[int]] = []
    for key in order:
        if not groups or ranges[key].span > alike * ranges[groups[-1][0]].span:
            groups.append([])
        groups[-1].append(key)
    return [tuple(group) for group in groups]


def samples_of_groups(
    sample: NoiseSample, groups: Sequence[tuple[int, ...]], ranges: Mapping[int, IntensityRange]
) -> Iterator[NoiseSample]:
    """Yield of each group the part of a channel's sample that is of its planes, in units of its own range.

    Args:
        sample: of the channel.
        groups: as of `group_by_contrast`.
        ranges: by key.
    """
    for group in groups:
        of_group = [i for i, key in enumerate(sample.range_keys) if key in group]
        scale = common_range([ranges[key] for key in group])
        ratio, shift = sample.scale.span / scale.span, (sample.scale.low - scale.low) / scale.span
        chosen = of_group or range(len(sample.stacks))  # nothing of it was sampled: judge by all there is
        yield replace(
            sample,
            stacks=tuple(sample.stacks[i] * ratio + shift for i in chosen),
            missing=tuple(sample.missing[i] for i in chosen),
            range_keys=tuple(sample.range_keys[i] for i in chosen),
            scale=scale,
            step=sample.step * ratio,
            neighbours=(),
        )


def noise_of_group(channels: Sequence[ChannelNoise], sample: NoiseSample, whole: NoiseSample) -> list[ChannelNoise]:
    """Return the noise of a channel, or of red, green and blue, in units of a group and at its intensities.

    Args:
        channels: in units of `whole`.
        sample: of the group.
        whole: of the channel.
    """
    ratio = whole.scale.span / sample.scale.span
    shift = (whole.scale.low - sample.scale.low) / sample.scale.span
    found = []
    for i, noise in enumerate(channels):
        values = np.concatenate([stack[i, ::2, ::2].ravel() for stack in sample.stacks])
        tiles = [stack[i] for stack in sample.stacks]
        found.append(in_other_units(noise, ratio, shift, values, tiles, sample.step))
    return found
