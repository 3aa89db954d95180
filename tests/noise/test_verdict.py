"""Descriptions of the noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from masked_denoiser.jobs.api import estimate_noise
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.verdict import describe_noise


@pytest.fixture(scope="module")
def white() -> ChannelNoise:
    return estimate_noise(np.random.default_rng(0).normal(100, 5, (128, 128)), axes="YX").channels[0]


@pytest.mark.parametrize(("step", "advised"), [(1.0, False), (1 / 255, True)])
def test_images_of_two_values_are_not_advised_to_become_floats(white: ChannelNoise, step: float, advised: bool) -> None:
    """Their quantization step is the whole range, below which no photon noise can be hidden."""
    noise = replace(white, gain=0.01, sigma=0.2 * step, bright=0.2 * step, step=step, suspected=0.0)
    text = describe_noise([noise], [(0.0, 255.0)])
    assert text.startswith("no noise above the rounding of its values")
    assert ("float32" in text) == advised


def test_no_noise_is_not_described_as_weak(white: ChannelNoise) -> None:
    """As in an image with impulses, which are described themselves."""
    noise = replace(white, sigma=0.0, bright=0.1, suspected=0.0)
    assert describe_noise([noise], [(0.0, 255.0)]).startswith("no noise that all pixels have")
