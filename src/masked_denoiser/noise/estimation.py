"""Noise measurement of the channels of an image, on some of its tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.noise.blocks import (
    Blocks,
    Image,
    Mask,
    Values,
    bulk_blocks,
    measure_blocks,
    median_contrast,
)
from masked_denoiser.noise.camera_model import camera_parameters, fit_camera_noise
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.correlated.averaging import averaging_excess
from masked_denoiser.noise.correlated.correlation import MIN_CONFIDENCE, Correlation, measure_correlation
from masked_denoiser.noise.flat_regions.variance_bins import (
    VarianceBins,
    bins_of_rare_objects,
    flat_blocks,
    is_noise_in_light,
    joined_bins,
    residual_bins,
    structure_ratio,
    white_noise_bins,
)
from masked_denoiser.noise.impulses import ImpulseNoise, measure_impulses
from masked_denoiser.noise.modalities.prior import NO_PRIOR, NoisePrior
from masked_denoiser.noise.shared_structure import ChannelComparison, channels_share_structure, measure_covariances
from masked_denoiser.noise.stripes import measure_stripes
from masked_denoiser.noise.threads import map_in_threads
from masked_denoiser.noise.units import figures_in_image_units
from masked_denoiser.noise.verdict import describe_noise

#: Two planes [2, H, W], and the mask of their samples without an intensity.
PlanePair = tuple[NDArray[np.float64], Mask | None]

#: Largest share of coloured pixels in an image that is treated as gray.
MAX_COLOURED_SHARE = 0.1

#: Smallest number of blocks for a reliable measurement.
_MIN_BLOCKS = 12

#: Lower limit of the variance at any intensity, as a share of the smallest measured one.
_FLOOR_SHARE = 0.5

#: Dilation of the mask, in pixels, at which channels are compared for correlated noise.
_COMPARED_DILATION = 3


@dataclass(frozen=True)
class NoiseEstimate:
    """Noise of an image.

    Attributes:
        channels: of each channel; red, green and blue are channels.
        ranges: intensities, in units of the image, that are 0 and 1 in the noise of each channel.
        remarks: what else is known of the noise from the modality, as parts of a sentence.
    """

    channels: tuple[ChannelNoise, ...]
    ranges: tuple[tuple[float, float], ...]
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Description of the noise in one line."""
        return ", ".join([describe_noise(self.channels, self.ranges), *self.remarks])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values in units of the image; infinite values are None."""
        pairs = zip(self.channels, self.ranges, strict=True)
        channels = [figures_in_image_units(channel, *ends) for channel, ends in pairs]
        return {"verdict": self.verdict, "channels": channels}


def estimate_channel(
    tiles: Sequence[Image], missing: Sequence[Mask | None] | None = None, step: float = 0.0
) -> tuple[ChannelNoise, VarianceBins]:
    """Measure the noise of a single channel; see `estimate_channels`."""
    masks = None if missing is None else [None if m is None else m[None] for m in missing]
    return estimate_channels([np.asarray(tile, np.float64)[None] for tile in tiles], masks, step)[0]


def estimate_channels(
    stacks: Sequence[NDArray[np.float64]],
    missing: Sequence[Mask | None] | None = None,
    step: float = 0.0,
    neighbours: Sequence[PlanePair] = (),
    prior: NoisePrior = NO_PRIOR,
) -> list[tuple[ChannelNoise, VarianceBins]]:
    """Measure the noise of channels of the same region.

    Args:
        stacks: [channels, H, W] each, float, in units of the intensity range; 1 channel, or red, green and blue.
        missing: mask of the samples without an intensity in each stack, in its shape, or None.
        step: quantization step of the intensities in the same units; 0 if there is none.
        neighbours: the same region of two neighbouring planes of a single channel, if there are any.
        prior: what the modality says about the noise; used for a single channel.

    Returns:
        The noise of each channel, and its measured variance as a function of intensity.
    """
    stacks = [np.nan_to_num(np.asarray(stack, np.float64), posinf=0.0, neginf=0.0) for stack in stacks]
    masks = missing or [None] * len(stacks)
    if len(stacks[0]) == 1:
        planes = [stack[0] for stack in stacks], [None if m is None else m[0] for m in masks]
        single = _estimate_noise(*planes, step, prior=prior)
        is_doubtful = single[0].is_doubtful and bool(neighbours)
        return [(_from_differences(neighbours, step, prior) or single) if is_doubtful else single]
    gray = nearly_gray(stacks, step)
    covariances = None if gray else measure_covariances(stacks)
    shares_structure = not gray and channels_share_structure(stacks, _COMPARED_DILATION)

    def estimate(channel: int) -> tuple[ChannelNoise, VarianceBins]:
        tiles = [stack[channel] for stack in stacks]
        tile_masks = [None if mask is None else mask[channel] for mask in masks]
        others = None if covariances is None else ChannelComparison(covariances, channel, shares_structure)
        return _estimate_noise(tiles, tile_masks, step, others)

    return map_in_threads(estimate, range(len(stacks[0])))


def _from_differences(
    neighbours: Sequence[PlanePair], step: float, prior: NoisePrior
) -> tuple[ChannelNoise, VarianceBins] | None:
    """Return the noise measured on the differences of planes, or None if their structure differs.

    Differences separate texture from noise, but not noise that interpolated planes share, and are used only if the
    measurement on a single plane is doubtful.
    """
    planes = [pair for pair, _ in neighbours]
    if not channels_share_structure(planes, _COMPARED_DILATION):
        return None
    noisy = [(first - second) / np.sqrt(2.0) for first, second in planes]
    masks = [None if mask is None else mask[0] | mask[1] for _, mask in neighbours]
    estimate = _estimate_noise([pair[0] for pair in planes], masks, step, noisy=noisy, prior=prior)
    return estimate if estimate[0].certain else None


def nearly_gray(stacks: Sequence[NDArray[np.float64]], step: float) -> bool:
    """Return whether channels are equal nearly everywhere, as in a gray image with a coloured mark.

    Args:
        stacks: [channels, H, W] each.
        step: quantization step of the intensities; channels may differ by two steps.
    """
    if len(stacks[0]) == 1:
        return False
    coloured = sum(int(((np.ptp(stack, axis=0)) > 2.5 * step + 1e-9).sum()) for stack in stacks)
    return bool(coloured <= MAX_COLOURED_SHARE * sum(stack[0].size for stack in stacks))


def _estimate_noise(
    tiles: Sequence[Image],
    missing: Sequence[Mask | None],
    step: float,
    others: ChannelComparison | None = None,
    *,
    noisy: Sequence[Image] | None = None,
    prior: NoisePrior = NO_PRIOR,
) -> tuple[ChannelNoise, VarianceBins]:
    """Return the noise of a channel, and its measured variance as a function of intensity."""
    impulses = measure_impulses([np.asarray(tile, np.float64) for tile in tiles], step)
    all_blocks = measure_blocks(tiles, missing, impulses, step, noisy)
    blocks = bulk_blocks(all_blocks)
    if len(blocks.mean) < _MIN_BLOCKS:
        return _fallback(tiles, missing, blocks, impulses, step), VarianceBins(np.zeros(0), np.zeros(0), np.zeros(0))
    flat = flat_blocks(blocks)
    share_structure = others is not None and others.share_structure
    blocks, weights = (blocks, np.ones(len(flat))) if others is None else others.without_structure(blocks)
    correlation = measure_correlation(
        blocks,
        flat,
        weights,
        noise_share=None if others is None else others.noise_share,
        shared_by=prior.shared_by,
        averaging=None if share_structure else partial(averaging_excess, noisy or tiles, missing),
    )
    accepted = correlation.length > 1 and correlation.confidence >= MIN_CONFIDENCE
    bins, suspected = _measure_variances(blocks, flat, weights, correlation, accepted=accepted)
    if others is None and not accepted:
        bins = joined_bins(bins, bins_of_rare_objects(all_blocks, bins, structure_ratio(blocks)))
    may_fall = is_noise_in_light(blocks, flat)
    variance = fit_camera_noise(bins, blocks, prior, may_fall=may_fall, exceeds=share_structure)
    sigma = float(variance.sigma(np.median(blocks.mean)))
    stripes = measure_stripes(tiles, sigma)
    noise = ChannelNoise(
        *camera_parameters(variance, np.percentile(blocks.mean, (1, 99)), may_fall=may_fall),
        sigma=sigma,
        bright=float(variance.sigma(np.percentile(blocks.mean, 95))),
        correlation=correlation.length if accepted else 1,
        impulses=impulses,
        stripes=stripes.deviation,
        vertical_stripes=stripes.vertical,
        clipped=blocks.limits,
        certain=True,
        width=correlation.width if accepted else 0.0,
        box=correlation.box if accepted else 0,
        confidence=correlation.confidence,
        evidence=correlation.evidence,
        suspected=suspected,
        contrast=median_contrast(blocks),
        step=step,
        floor=_FLOOR_SHARE * float(bins.variance.min()),
        quadratic=variance.quadratic,
    )
    return noise, bins


def _measure_variances(
    blocks: Blocks, flat: list[NDArray[np.intp]], weights: Values, correlation: Correlation, *, accepted: bool
) -> tuple[VarianceBins, float]:
    """Return the measured variances, and the standard deviation of correlated noise that was not accepted as noise.

    Args:
        blocks, flat: of one channel; see `measure_correlation`.
        weights: of the intensities.
        correlation: of the noise.
        accepted: whether correlated noise is measured, and not white noise.
    """
    plateau = residual_bins(blocks, flat, correlation.length - 1)
    plateau = replace(plateau, variance=plateau.variance / correlation.residual)
    bins = plateau if accepted else white_noise_bins(blocks, flat)
    is_suspected = correlation.length > 1 and not accepted
    suspected = float(np.sqrt(np.median(plateau.variance))) if is_suspected else 0.0
    return replace(bins, count=bins.count * weights), suspected


def _fallback(
    tiles: Sequence[Image], missing: Sequence[Mask | None], blocks: Blocks, impulses: ImpulseNoise, step: float
) -> ChannelNoise:
    """Return the noise of an image that is too small or clipped almost everywhere, assuming white noise."""
    differences = [np.zeros(1)]
    for tile, mask in zip(tiles, missing, strict=True):
        valid = np.asarray(tile, np.float64) if mask is None else np.where(mask, np.nan, tile)
        differences += [np.diff(valid, axis=axis).ravel() for axis in (0, 1) if tile.shape[axis] > 1]
    pooled = np.concatenate(differences)
    # The median would ignore the few photons of an otherwise black image.
    sigma = float(np.sqrt(np.nanmean(pooled**2) / 2))
    return ChannelNoise(0.0, 0.0, sigma, sigma, sigma, 1, impulses, 0.0, blocks.limits, certain=False, step=step)
