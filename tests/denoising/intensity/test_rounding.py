"""Rounding that keeps local means, independently of tiling."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter

from masked_denoiser.denoising.intensity.rounding import REACH, round_keeping_means


def smooth(low, high, shape=(1, 140, 150), seed=0):
    image = gaussian_filter(np.random.default_rng(seed).normal(size=shape), (0, 15, 15))
    return low + (high - low) * (image - image.min()) / np.ptp(image)


def local(image):
    return uniform_filter(image, (1, 2 * REACH + 1, 2 * REACH + 1))


def local_errors(rounded, values):
    """Return the absolute errors of local means."""
    return np.abs(local(rounded) - local(values))


@pytest.mark.parametrize("values", [np.full((1, 140, 150), 2.3), np.full((1, 99, 99), 0.04), smooth(0.05, 0.45)])
def test_local_means_are_kept(values):
    out = round_keeping_means(values, (0, 0))
    assert np.array_equal(out, np.rint(out))
    assert local_errors(out, values).max() < 0.05
    assert abs(out.mean() - values.mean()) < 0.005


@pytest.mark.parametrize("ends", [(0, 1), (0.2, 6), (0, 3), (1, 12), (-40, 40)])
def test_local_means_are_better_than_with_plain_rounding(ends):
    values = smooth(*ends)
    out = round_keeping_means(values, (0, 0))
    assert np.abs(out - values).max() < 1
    assert local_errors(out, values).std() < 0.7 * local_errors(np.rint(values), values).std()
    assert local_errors(out, values).max() < 0.15
    assert abs(out.mean() - values.mean()) < 0.01


def test_strongly_varying_values_are_rounded_normally():
    values = np.random.default_rng(0).uniform(0, 100, (1, 140, 150))
    out = round_keeping_means(values, (0, 0))
    assert (out == np.rint(values)).mean() > 0.8
    assert np.abs(out - values).max() < 0.8


@pytest.mark.parametrize("count", [0.0, 3.0, -7.0])
def test_integers_are_unchanged(count):
    np.testing.assert_array_equal(round_keeping_means(np.full((2, 70, 70), count), (5, 9)), count)


def test_tile_matches_the_whole_image():
    values = smooth(0, 5, (2, 300, 310))
    halo = 110
    whole = round_keeping_means(values, (0, 0))
    tile = round_keeping_means(values[:, 128 - halo : 176 + halo, 128 - halo : 192 + halo], (128 - halo, 128 - halo))
    np.testing.assert_array_equal(tile[:, halo : halo + 48, halo : halo + 64], whole[:, 128:176, 128:192])
