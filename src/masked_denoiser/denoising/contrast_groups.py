"""Groups of epochs with similar contrast, each of which gets a separate treatment.

The noise of a detector is a function of the intensity, so it is measured over all planes of a channel. But whether it
hides structure depends on the contrast of a plane: noise that is negligible in the first frame of a bleaching series
can dominate the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from masked_denoiser.denoising.intensity.ranges import IntensityRange, common_range
from masked_denoiser.denoising.measurement.sample import NoiseSample
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.rescale import rescale_noise

#: Ratio of contrasts within a group; it grows where a channel would otherwise have more groups than `_MAX_GROUPS`.
_CONTRAST_RATIO = 2.5

#: Largest number of groups of a channel, each of which takes a trial.
_MAX_GROUPS = 4


def group_by_contrast(keys: Sequence[int], ranges: Mapping[int, IntensityRange]) -> list[tuple[int, ...]]:
    """Return the epochs of a channel in groups of similar contrast, in increasing order.

    Args:
        keys: `Plane.range_key` of the epochs.
        ranges: by key.
    """
    order = sorted(keys, key=lambda key: (ranges[key].span, key))
    total_ratio = ranges[order[-1]].span / ranges[order[0]].span
    group_ratio = max(_CONTRAST_RATIO, total_ratio ** (1.0 / _MAX_GROUPS) * (1.0 + 1e-9))
    groups: list[list[int]] = []
    for key in order:
        if not groups or ranges[key].span > group_ratio * ranges[groups[-1][0]].span:
            groups.append([])
        groups[-1].append(key)
    return [tuple(group) for group in groups]


def samples_of_groups(
    sample: NoiseSample, groups: Sequence[tuple[int, ...]], ranges: Mapping[int, IntensityRange]
) -> Iterator[NoiseSample]:
    """Yield the part of a channel's sample that belongs to each group, in units of the range of the group.

    Args:
        sample: of the channel.
        groups: as returned by `group_by_contrast`.
        ranges: by key.
    """
    for group in groups:
        of_group = [i for i, key in enumerate(sample.range_keys) if key in group]
        old, new = sample.intensity_range, common_range([ranges[key] for key in group])
        ratio, shift = old.span / new.span, (old.low - new.low) / new.span
        chosen = of_group or range(len(sample.stacks))  # if no plane of the group was sampled, use the whole sample
        yield replace(
            sample,
            stacks=tuple(sample.stacks[i] * ratio + shift for i in chosen),
            missing=tuple(sample.missing[i] for i in chosen),
            range_keys=tuple(sample.range_keys[i] for i in chosen),
            intensity_range=new,
            step=sample.step * ratio,
            neighbours=(),
        )


def noise_of_group(channels: Sequence[ChannelNoise], sample: NoiseSample, whole: NoiseSample) -> list[ChannelNoise]:
    """Return the noise of a channel, or of red, green and blue, in units of a group and at its intensities.

    Args:
        channels: in units of `whole`.
        sample: part of `whole` that belongs to the group.
        whole: sample of all planes of the channel.
    """
    old, new = whole.intensity_range, sample.intensity_range
    ratio, shift = old.span / new.span, (old.low - new.low) / new.span
    converted = []
    for i, noise in enumerate(channels):
        values = np.concatenate([stack[i, ::2, ::2].ravel() for stack in sample.stacks])
        tiles = [stack[i] for stack in sample.stacks]
        missing = [None if mask is None else mask[i] for mask in sample.missing]
        converted.append(rescale_noise(noise, ratio, shift, values, tiles, missing, sample.step))
    return converted
