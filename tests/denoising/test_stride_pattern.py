"""Periodic patterns from strides are removed, and nothing else."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from masked_denoiser.denoising.correction.stride_pattern import pattern_reach, remove_pattern

SIDE = 120
SCENE = gaussian_filter(np.random.default_rng(0).normal(size=(SIDE, SIDE)), 3) * 2


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_stride_pattern_is_removed(stride):
    offsets = np.random.default_rng(1).normal(0, 0.004, (stride, stride))
    pattern = np.tile(offsets - offsets.mean(), (SIDE // stride, SIDE // stride))
    result = remove_pattern((SCENE + pattern)[None, None].astype(np.float32), (stride,), np.float32(0.1))[0, 0]
    inner = np.s_[16:-16, 16:-16]
    assert np.std((result - SCENE)[inner]) < 0.5 * pattern.std()


@pytest.mark.parametrize("period", [2, 3])
def test_grating_of_the_same_period_is_kept(period):
    grating = 0.3 * np.cos(2 * np.pi * np.arange(SIDE) / period) * np.ones((SIDE, 1))
    images = grating[None, None].astype(np.float32)
    assert np.abs(remove_pattern(images, (period,), np.float32(0.05)) - images).max() <= 0.15 * 0.05 + 1e-6


def test_pattern_reach_bounds_the_effect():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(1, 1, SIDE, SIDE)).astype(np.float32)
    other = images.copy()
    other[..., 60, 60] += 5
    changed = np.argwhere(remove_pattern(images, (2, 3), np.float32(1)) != remove_pattern(other, (2, 3), np.float32(1)))
    assert np.abs(changed[:, 2:] - 60).max() <= pattern_reach((2, 3))
