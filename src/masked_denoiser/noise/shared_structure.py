"""Fine structure and noise of channels or neighbouring planes: what they share is structure, the rest is noise.

Structure of two colours, such as brightness and hue or two stains, has a covariance matrix of rank two, to which noise
adds a diagonal matrix. If noise is equally strong in red, green and blue, its variance is thus the smallest eigenvalue
of the covariance of the residuals (as for patches in Pyatykh, Hesser and Zheng, *Image noise level estimation by
principal component analysis*, IEEE TIP 2013), even if structure is three times as strong. If it is not, the same holds
in units of the noise of each channel, of which the finest residuals, which have least structure, give the ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from masked_denoiser.noise.blocks import BLOCK, DILATIONS, MARGIN, Blocks, Values, blocks_of, residual
from masked_denoiser.noise.flat_regions.variance_bins import intensity_groups
from masked_denoiser.noise.threads import map_in_threads

#: Channels share fine structure if less than this share of the residual of the most structured blocks is independent.
_MAX_INDEPENDENT_SHARE = 0.5

#: Blocks with less than this share of the median residual are constant.
_MIN_RESIDUAL_SHARE = 0.02

#: Share of the blocks of similar intensity, those with the least structure, that are compared, and their least number.
_FLAT_SHARE, _MIN_BLOCKS = 0.25, 6

#: Number of groups of intensities, and least number of blocks of a group.
_MAX_GROUPS, _BLOCKS_PER_GROUP = 12, 24

#: Dilations, as indices of `DILATIONS`, at which noise is usually independent, and structure strongest.
_LARGE_DILATIONS = slice(3, 6)

#: Share of noise in the finest residuals of a channel from which on they give the ratio of its noise to that of others.
_MIN_FINEST_SHARE = 0.85

#: Largest ratio of the mean share of noise of all channels to that of a channel.
_MAX_RATIO_OF_MEAN = 1.5

#: Share of noise from which on everything counts as noise.
_NEARLY_ALL = 0.8

#: Ratio of two eigenvalues of the covariance that noise alone may have by chance, if it is blurred by 1.5 pixels.
_CHANCE_RATIO = 1.6

#: Number of iterations of the factor analysis.
_ITERATIONS = 40


@dataclass(frozen=True, eq=False)
class ChannelCovariances:
    """Covariances of the residuals of channels in each block.

    Attributes:
        mean: [channels, blocks], mean intensity.
        structure: [blocks], variance after smoothing, summed over the channels.
        covariance: [dilations, blocks, channels, channels], for each of `DILATIONS`.
    """

    mean: Values
    structure: Values
    covariance: Values

    def noise_shares(self, channel: int, intensities: Sequence[tuple[float, float]]) -> Values:
        """Return the share of the variance of the residual that is noise, in the flattest blocks of each group.

        Args:
            channel: index of the channel.
            intensities: lowest and highest mean intensity of the blocks of each group.

        Returns:
            [groups, dilations]; 1 if there are no blocks.
        """
        if not self.structure.size:
            return np.ones((len(intensities), len(DILATIONS)))
        groups = [self.covariance[:, self._flat(channel, *ends)].mean(axis=1) for ends in intensities]
        return np.asarray(noise_shares(np.stack(groups))[..., channel])

    def overall_shares(self, channel: int) -> Values:
        """Return the share that is noise, of all intensities where this is certain, [dilations].

        It is the mean over all channels, but at most 1.5 times that of the channel: if others have more noise, what is
        left of the structure of this one is not certain to be noise.
        """
        shares = []
        for number, mean in enumerate(self.mean):
            groups = np.array_split(np.sort(mean), max(1, min(_MAX_GROUPS, mean.size // _BLOCKS_PER_GROUP)))
            of_groups = self.noise_shares(number, [(float(g[0]), float(g[-1])) for g in groups if g.size])
            shares.append(np.average(of_groups, axis=0, weights=reliability(of_groups)))
        return np.asarray(np.minimum(np.mean(shares, axis=0), _MAX_RATIO_OF_MEAN * shares[channel]))

    def _flat(self, channel: int, low: float, high: float) -> NDArray[np.intp]:
        """Return the indices of the flattest blocks between two intensities, or else of those nearest to them."""
        mean = self.mean[channel]
        distance = np.maximum(np.maximum(low - mean, mean - high), 0.0)
        nearest = np.argsort(distance, kind="stable")
        similar = nearest[: max(_MIN_BLOCKS, int(np.count_nonzero(distance == 0.0)))]
        order = similar[np.argsort(self.structure[similar], kind="stable")]
        return order[: max(_MIN_BLOCKS, int(_FLAT_SHARE * len(order)))]


@dataclass(frozen=True, eq=False)
class ChannelComparison:
    """Comparison of a channel with the other colours of the same region.

    Attributes:
        covariances: of all channels.
        channel: index of this channel.
        share_structure: whether the channels share their structure, so that independent residuals must be noise.
    """

    covariances: ChannelCovariances
    channel: int
    share_structure: bool

    @property
    def noise_share(self) -> Values | None:
        """Share of the residuals that is noise, [dilations]; None if the channels do not share their structure."""
        return self.covariances.overall_shares(self.channel) if self.share_structure else None

    def without_structure(self, blocks: Blocks) -> tuple[Blocks, Values]:
        """Return blocks with only the noise of their residuals, and the weights of the intensities, [groups]."""
        groups = intensity_groups(blocks)
        ends = [(float(blocks.mean[group].min()), float(blocks.mean[group].max())) for group in groups]
        shares = self.covariances.noise_shares(self.channel, ends)
        noise = blocks.residual.copy()
        for group, share in zip(groups, shares, strict=True):
            noise[:, group] *= share[:, None]
        return replace(blocks, residual=noise), reliability(shares)


def reliability(shares: Values) -> Values:
    """Return the weights of intensities: where noise is a small share, structure may remain in it, [groups].

    Args:
        shares: [groups, dilations], share of the variance that is noise.
    """
    at_large = shares[:, _LARGE_DILATIONS].mean(axis=1)
    return np.asarray((at_large + 1e-3) / (1.1 - at_large))


def measure_covariances(stacks: Sequence[Values]) -> ChannelCovariances:
    """Measure the covariances of the residuals of channels.

    Args:
        stacks: [channels, H, W] each; those smaller than a block with its margin are excluded.
    """
    usable = [stack for stack in stacks if min(stack.shape[1:]) >= BLOCK + 2 * MARGIN]
    channels = len(stacks[0])
    if not usable:
        return ChannelCovariances(
            np.zeros((channels, 0)), np.zeros(0), np.zeros((len(DILATIONS), 0, channels, channels))
        )
    means, structure, covariance = zip(*map_in_threads(_measure_stack, usable), strict=True)
    return ChannelCovariances(
        np.concatenate(means, axis=1), np.concatenate(structure), np.concatenate(covariance, axis=1)
    )


def _measure_stack(stack: Values) -> tuple[Values, Values, Values]:
    """Return mean, structure and covariance of the blocks of a stack; see `ChannelCovariances`."""
    structure = _channel_blocks(uniform_filter(stack, (0, 5, 5))).var(axis=2).sum(axis=1)
    covariance = np.stack([_block_covariances(stack, dilation) for dilation in DILATIONS])
    return _channel_blocks(stack).mean(axis=2).T, structure, covariance


def noise_shares(covariance: Values) -> Values:
    """Return the share of the variance of the residual of each channel that is noise, [..., dilations, channels].

    Args:
        covariance: [..., dilations, channels, channels]; channels without variance share nothing.
    """
    variances = np.einsum("...ii->...i", covariance)
    largest = variances.max(axis=-1, keepdims=True)
    has_variance = variances > 1e-9 * np.maximum(largest, 1e-300)
    covariance = covariance + np.where(has_variance, 0.0, largest + 1.0)[..., None] * np.eye(covariance.shape[-1])
    variances = np.einsum("...ii->...i", covariance)
    finest = np.maximum(unique_variances(covariance[..., 0, :, :]), 1e-9 * variances[..., 0, :])[..., None, :]
    units = np.sqrt(finest)
    scaled = covariance / (units[..., :, None] * units[..., None, :])
    noise = finest * _smallest(np.linalg.eigvalsh(scaled))
    # Structure in the finest residuals of a channel falsifies its ratio to the others.
    is_ratio_known = finest > _MIN_FINEST_SHARE * variances[..., :1, :]
    equal = _smallest(np.linalg.eigvalsh(covariance))
    shares = np.maximum(np.where(is_ratio_known, noise, equal), 0.0) / variances
    # Some is shared by chance.
    return np.asarray(np.where(has_variance & (shares < _NEARLY_ALL), shares, 1.0))


def _smallest(eigenvalues: NDArray[np.floating]) -> Values:
    """Return the mean of the eigenvalues that are as small as the smallest, but for chance, [..., 1]."""
    smallest = np.maximum(eigenvalues[..., :1], 0.0)
    return np.asarray(eigenvalues.mean(axis=-1, keepdims=True, where=eigenvalues <= _CHANCE_RATIO * smallest + 1e-300))


def unique_variances(covariance: Values) -> Values:
    """Return the variance of each channel that is independent of the others, [..., channels].

    By factor analysis with one factor and iterated principal factors.

    Args:
        covariance: [..., channels, channels], not singular.
    """
    identity = np.eye(covariance.shape[-1])
    scale = np.sqrt(np.einsum("...ii->...i", covariance))
    correlation = covariance / (scale[..., :, None] * scale[..., None, :])
    unique = 1.0 / np.einsum("...ii->...i", np.linalg.inv(correlation + 1e-6 * identity))
    for _ in range(_ITERATIONS):
        strengths, factors = np.linalg.eigh(correlation - unique[..., None] * identity)
        shared = factors[..., -1] ** 2 * np.maximum(strengths[..., -1:], 0.0)
        unique = np.clip(1.0 - shared, 0.0, 1.0)
    return np.asarray(unique * scale**2)


def channels_share_structure(stacks: Sequence[Values], dilation: int) -> bool:
    """Return whether channels share fine structure, as in photographs and stained tissue.

    In fluorescence images they do not: independent residuals may be structure as well as noise.

    Args:
        stacks: [channels, H, W] each: red, green and blue, or the same region of neighbouring planes.
        dilation: dilation of the mask in pixels.
    """
    usable = [stack for stack in stacks if min(stack.shape[1:]) >= BLOCK + 2 * MARGIN]
    covariances = [covariance for stack in usable for covariance in _block_covariances(stack, dilation)]
    if not covariances:
        return False
    stacked = np.array(covariances)
    total = np.trace(stacked, axis1=1, axis2=2)
    # Constant blocks, such as compressed blank paper, have no information.
    informative = np.flatnonzero(total > _MIN_RESIDUAL_SHARE * np.median(total))
    if not informative.size:
        return False
    structured = informative[np.argsort(total[informative], kind="stable")][-max(6, informative.size // 20) :]
    covariance = stacked[structured].mean(axis=0)
    variances = np.diag(covariance)
    usable_channels = variances > 1e-12 * max(float(variances.max()), 1e-300)
    if usable_channels.sum() < 2 or not usable_channels.all():
        return False
    regularized = covariance + 1e-6 * np.diag(variances)
    unexplained = 1.0 / np.diag(np.linalg.inv(regularized)) / np.diag(regularized)
    return bool(unexplained.max() < _MAX_INDEPENDENT_SHARE)


def _block_covariances(stack: Values, dilation: int) -> Values:
    """Return the covariances of the residuals of the channels in each block, [blocks, channels, channels]."""
    blocks = _channel_blocks(residual(stack, dilation))
    return np.asarray(blocks @ blocks.transpose(0, 2, 1) / blocks.shape[2])


def _channel_blocks(images: Values) -> Values:
    """Return the blocks of images [channels, H, W] without their margin, [blocks, channels, BLOCK * BLOCK]."""
    inner = images[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    return np.stack([blocks_of(channel) for channel in inner], axis=1)
