"""Variance of noise in groups of flat blocks of similar intensity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.noise.blocks import Blocks, Values

#: Share of the blocks of an intensity, those with the least structure, on which noise is measured.
_FLAT_SHARE = 0.25

#: Minimum number of blocks in a group of similar intensity, and maximum number of groups.
_BLOCKS_PER_GROUP, _MAX_GROUPS = 24, 24

#: Least number of blocks of rare bright objects, and their least distance from the other groups, as a share of the
#: range of those.
_MIN_RARE, _MIN_RARE_DISTANCE = 6, 0.5

#: Ratio of the variances of structure in the residuals at the first and second dilation: its default if it cannot be
#: measured, its limits, and the minimum number of intensities to measure it on.
_DEFAULT_RATIO, _RATIO_LIMITS, _MIN_RATIOS = 0.25, (0.03, 0.5), 3

#: Largest variance of white noise, as a multiple of the least variance of residuals at larger dilations.
_MAX_OTHERS = 1.25

#: Largest growth of the variance of the residual from the first to the second dilation of white noise on flat regions.
_MAX_GROWTH_OF_WHITE = 1.25

#: Quantiles of blocks with little and with more structure, and the minimum excess of structure in the latter.
_COMPARED_QUANTILES, _MIN_EXCESS = ((0.0, 0.25), (0.4, 0.75)), 0.5

#: Largest variance of blocks in a robust mean, as a multiple of the median.
_MAX_MEDIAN_RATIO = 2.5


@dataclass(frozen=True, eq=False)
class VarianceBins:
    """Groups of flat blocks of similar intensity: mean intensity, variance and number of blocks of each."""

    mean: Values
    variance: Values
    count: Values


def flat_blocks(blocks: Blocks) -> list[NDArray[np.intp]]:
    """Return the indices of the flattest blocks of each group of intensities, from dark to bright."""
    return [
        group[np.argsort(blocks.structure[group], kind="stable")[: max(6, int(_FLAT_SHARE * len(group)))]]
        for group in intensity_groups(blocks)
    ]


def intensity_groups(blocks: Blocks) -> list[NDArray[np.intp]]:
    """Return the indices of the blocks in groups of similar intensity, from dark to bright."""
    order = np.argsort(blocks.mean, kind="stable")
    return np.array_split(order, max(1, min(_MAX_GROUPS, len(order) // _BLOCKS_PER_GROUP)))


def white_noise_bins(blocks: Blocks, flat: list[NDArray[np.intp]]) -> VarianceBins:
    """Return mean and white noise variance of each group, from the residuals at the first and second dilation.

    The variance of white noise is equal at both, that of structure is smaller at the first by a ratio q, so that the
    variance of white noise is (v1 - q v2) / (1 - q) for residuals of variance v1 and v2. As white noise is in the
    residuals of all dilations, the others limit it, too: a pattern of alternating pixels is not in all of them.
    """
    fine, coarse, third = (residual_bins(blocks, flat, dilation) for dilation in (0, 1, 2))
    ratio = structure_ratio(blocks)
    white = (fine.variance - ratio * coarse.variance) / (1.0 - ratio)
    others = np.minimum(coarse.variance, third.variance)
    return VarianceBins(fine.mean, np.clip(white, 0.0, np.minimum(fine.variance, _MAX_OTHERS * others)), fine.count)


def bins_of_rare_objects(blocks: Blocks, bins: VarianceBins, ratio: float) -> VarianceBins:
    """Return the white noise variance of bright objects that are rare, such as a few cells on a dark field.

    The brightest blocks are halved again and again, as those of rare objects are a small part of a group. Halves count
    that are much brighter than all other groups, and whose residuals are those of white noise: beads and edges have
    structure at larger distances.

    Args:
        blocks: of the channel, rare ones included.
        bins: of the groups, of which the last may be a mixture of background and rare objects.
        ratio: of the variances of structure in the residuals at the first and second dilation.
    """
    darkest, brightest = float(bins.mean[0]), float(bins.mean[-2:][0])
    order = np.argsort(blocks.mean, kind="stable")
    rest = order[-max(_MIN_RARE, len(order) // _MAX_GROUPS) :]
    rows = []
    while len(rest) >= _MIN_RARE:
        half = len(rest) // 2 if len(rest) >= 2 * _MIN_RARE else len(rest)
        group, rest = rest[:half], rest[half:]
        flat = group[np.argsort(blocks.structure[group], kind="stable")[: max(_MIN_RARE, int(_FLAT_SHARE * half))]]
        mean = float(blocks.mean[flat].mean())
        fine, coarse = (float(np.median(blocks.residual[dilation, flat])) for dilation in (0, 1))
        is_rare = mean > brightest + _MIN_RARE_DISTANCE * (brightest - darkest)
        if is_rare and 0 < coarse < _MAX_GROWTH_OF_WHITE * fine:
            rows.append((mean, min((fine - ratio * coarse) / (1.0 - ratio), fine), float(len(flat))))
    return VarianceBins(*np.array(rows, np.float64).reshape(-1, 3).T)


def joined_bins(bins: VarianceBins, others: VarianceBins) -> VarianceBins:
    """Return the groups of both."""
    pairs = ((getattr(bins, name), getattr(others, name)) for name in ("mean", "variance", "count"))
    return VarianceBins(*(np.concatenate(pair) for pair in pairs))


def is_noise_in_light(blocks: Blocks, flat: list[NDArray[np.intp]]) -> bool:
    """Return whether the residuals of the brighter third of the intensities are those of white noise.

    If they are those of structure, the noise there is uncertain, and usually measured too low.
    """
    fine, coarse = residual_bins(blocks, flat, 0).variance, residual_bins(blocks, flat, 1).variance
    bright = slice(-max(1, len(fine) // 3), None)
    return bool(np.median(coarse[bright] / np.maximum(fine[bright], 1e-300)) < _MAX_GROWTH_OF_WHITE)


def structure_ratio(blocks: Blocks) -> float:
    """Return the ratio of the variances of structure in the residuals at the first and second dilation.

    It is measured on blocks of similar intensity with little and with more structure, whose noise is equal.
    """
    ratios = []
    for group in intensity_groups(blocks):
        fine, coarse = blocks.residual[0, group], blocks.residual[1, group]
        order = np.argsort(coarse, kind="stable")
        low, high = (order[int(a * len(order)) : max(1, int(b * len(order)))] for a, b in _COMPARED_QUANTILES)
        excess = float(np.median(coarse[high]) - np.median(coarse[low]))
        if excess > _MIN_EXCESS * float(np.median(coarse[low])):
            ratios.append(float(np.median(fine[high]) - np.median(fine[low])) / excess)
    return float(np.clip(np.median(ratios), *_RATIO_LIMITS)) if len(ratios) >= _MIN_RATIOS else _DEFAULT_RATIO


def residual_bins(blocks: Blocks, flat: list[NDArray[np.intp]], dilation: int) -> VarianceBins:
    """Return mean and variance of the residual of each group at a dilation, given as an index of `DILATIONS`."""
    rows = [(blocks.mean[f].mean(), _robust_mean(blocks.residual[dilation, f]), float(len(f))) for f in flat]
    return VarianceBins(*np.array(rows, np.float64).T)


def _robust_mean(variances: Values) -> float:
    """Return the mean variance of blocks, except those far above the median with structure or an isolated bright pixel.

    A median would be biased: with few photons per pixel, it is far below the mean.
    """
    median = float(np.median(variances))
    if median <= 0:
        return float(np.mean(variances))
    return float(np.mean(variances[variances <= _MAX_MEDIAN_RATIO * median]))
