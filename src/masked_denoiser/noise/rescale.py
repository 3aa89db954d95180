"""Conversion of measured noise to other units and other intensities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.noise.blocks import Image, Mask, bulk_blocks, measure_blocks, median_contrast
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.variance_model import NoiseVariance


def rescale_noise(
    noise: ChannelNoise,
    ratio: float,
    shift: float,
    values: NDArray[np.float64],
    tiles: Sequence[Image],
    missing: Sequence[Mask | None],
    step: float,
) -> ChannelNoise:
    """Return the noise of a channel in other units, intensity * ratio + shift, and at other intensities.

    Args:
        noise: noise in the original units.
        ratio, shift: conversion from the original units.
        values: intensities in the new units, whose 50th and 95th percentiles determine `sigma` and `bright`.
        tiles: [H, W] each, in the new units, to measure the contrast.
        missing: mask of the pixels of each tile without an intensity, or None.
        step: quantization step in the new units.
    """
    variance = noise.variance.in_units(ratio, shift)
    gain, floor = variance.gain, variance.floor
    old, clipped = noise.impulses, tuple(end * ratio + shift for end in noise.clipped)
    offset, read = _rescaled_offset(noise, variance, ratio, shift)
    impulses = replace(old, height=old.height * ratio, low=old.low * ratio + shift, high=old.high * ratio + shift)
    blocks = bulk_blocks(measure_blocks(tiles, missing, impulses, step))
    return replace(
        noise,
        gain=gain,
        offset=offset,
        read=read if gain or noise.quadratic else float(variance.sigma(float(np.median(values)))),
        sigma=float(variance.sigma(float(np.median(values)))),
        bright=float(variance.sigma(float(np.percentile(values, 95)))),
        impulses=impulses,
        stripes=noise.stripes * ratio,
        clipped=(clipped[0], clipped[1]),
        suspected=noise.suspected * ratio,
        contrast=median_contrast(blocks) if len(blocks.mean) else noise.contrast * ratio,
        step=step,
        floor=floor,
    )


def _rescaled_offset(noise: ChannelNoise, variance: NoiseVariance, ratio: float, shift: float) -> tuple[float, float]:
    """Return offset and read noise in other units, in which the noise has this variance."""
    if not noise.quadratic:
        return (noise.offset * ratio + shift) if variance.gain else 0.0, noise.read * ratio
    at_zero = min(variance.variance, 0.0)
    offset = -at_zero / variance.gain if variance.gain else 0.0
    return offset, float(np.sqrt(max(variance.variance, 0.0)))
