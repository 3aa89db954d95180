"""Noise estimation against noise of known strength on tissue, photographs and smooth ground."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import norm
from skimage import data

from masked_denoiser.noise.estimation import NoiseEstimate, estimate_channel
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import add_noise
from masked_denoiser.noise.variance_model import NoiseVariance, clipped_moments


def cells():
    """Bright blobs on a dark ground, as in fluorescence."""
    spots = np.random.default_rng(0).random((512, 512)) > 0.9985
    image = gaussian_filter(spots.astype(float), 9)
    return 0.08 + 0.7 * image / image.max()


CONTENTS = {
    "tissue": data.immunohistochemistry()[..., 2] / 255,
    "camera": data.camera() / 255,
    "cells": cells(),
}
UNCERTAIN = ((0.0, 1.0),)


def noisy(content, recipe, seed=0):
    clean = torch.from_numpy(CONTENTS[content].astype(np.float32))[None, None]
    return add_noise(clean, parse_noise(recipe), torch.Generator().manual_seed(seed)).numpy()[0, 0]


def measured(image):
    return estimate_channel([image])[0]


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("sigma", [10, 25, 50])
def test_white_noise_within_a_tenth(content, sigma):
    """Clipped at both ends: at sigma 50 a good part of all pixels."""
    assert measured(noisy(content, f"gaussian(sigma={sigma})")).sigma * 255 == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(("gain", "read"), [(1, 1), (2, 3), (4, 0), (8, 2)])
def test_photon_noise_within_a_tenth_at_every_intensity(content, gain, read):
    """The variance is `gain * m + (gain * read)^2`, in grey levels; what is compared is the standard deviation."""
    found = measured(noisy(content, f"poisson_gaussian(gain={gain}, read={read})"))
    levels = np.percentile(CONTENTS[content], [20, 50, 80])
    true = np.sqrt(gain * levels * 255 + (gain * read) ** 2) / 255
    assert found.variance.sigma(levels) == pytest.approx(true, rel=0.1)
    if gain < 8:  # stronger noise is clipped too much to tell gain and read noise apart
        assert found.gain * 255 == pytest.approx(gain, rel=0.16)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("variance", [0.01, 0.03])
def test_speckle_within_a_tenth_at_every_intensity(content, variance):
    """Its variance is that of a parabola, of which a line would be far below in the bright."""
    found = measured(noisy(content, f"speckle(variance={variance})"))
    levels = np.percentile(CONTENTS[content], [30, 50, 70])
    assert found.variance.sigma(levels) == pytest.approx(np.sqrt(variance) * levels, rel=0.1)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("noise", ["gaussian(sigma=15)", "poisson(alpha=2)", "poisson_gaussian(gain=8, read=2)"])
def test_photons_and_read_noise_are_not_taken_for_speckle(content, noise):
    assert measured(noisy(content, noise)).quadratic == 0


@given(st.floats(0, 0.1), st.floats(-0.01, 0.01), st.floats(0, 0.1), st.floats(0.1, 900), st.floats(-500, 500))
def test_noise_is_the_same_in_other_units(gain, variance, quadratic, ratio, shift):
    noise = NoiseVariance(gain, variance, 1e-4, quadratic)
    there = noise.in_units(ratio, shift)
    means = np.linspace(0, 1, 5)
    assert there.sigma(means * ratio + shift) == pytest.approx(noise.sigma(means) * ratio, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("content", CONTENTS)
def test_correlated_noise_is_recognised_and_white_noise_is_not_taken_for_it(content):
    """A 3 x 3 mean: independent from 3 pixels on, a third of the standard deviation.

    Tissue has fine texture of its own, beside which white noise may look blurred by less than half a pixel.
    """
    found = measured(noisy(content, "correlated(sigma=60)"))
    assert found.correlation == 3
    assert found.sigma * 255 == pytest.approx(20, rel=0.2)
    for recipe in ("none", "gaussian(sigma=20)", "poisson(alpha=2)"):
        found = measured(noisy(content, recipe))
        assert found.correlation == 1 or (content == "tissue" and found.width < 0.5)


@pytest.mark.parametrize("content", CONTENTS)
def test_impulses_and_stripes(content):
    found = measured(noisy(content, "salt_and_pepper(density=0.02)"))
    assert found.impulses.share == pytest.approx(0.02, abs=0.006)
    assert not found.stripes
    found = measured(noisy(content, "stripes(sigma=10) + gaussian(sigma=8)"))
    assert found.stripes * 255 == pytest.approx(10, rel=0.15)
    found = measured(noisy(content, "gaussian(sigma=20)"))
    assert found.impulses.share < 1e-3
    assert not found.stripes


def test_an_offset_is_told_from_gain():
    """Counts with a camera's offset of 100: variance begins there, not at zero."""
    rng = np.random.default_rng(0)
    image = (rng.poisson(cells() * 400) * 2.0 + 100) / 1000
    found = measured(image)
    assert found.gain * 1000 == pytest.approx(2, rel=0.1)
    assert found.offset * 1000 == pytest.approx(100, rel=0.1)


@given(st.floats(-0.5, 1.5), st.floats(0.01, 0.6))
@settings(max_examples=40)
def test_moments_of_clipped_noise_against_integration(mean, sigma):
    grid = np.linspace(-6, 7, 200_001)
    weights = norm.pdf(grid, mean, sigma) * (grid[1] - grid[0])
    clipped = np.clip(grid, 0, 1)
    first = (clipped * weights).sum()
    second = ((clipped - first) ** 2 * weights).sum()
    ours = clipped_moments(np.array([mean]), np.array([sigma]), (0.0, 1.0))
    assert ours[0][0] == pytest.approx(first, abs=1e-5)
    assert ours[1][0] == pytest.approx(second, abs=1e-5)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((64, 64)), "constant"),
        (np.full((64, 64), 0.3), "constant"),
        (np.ones((300, 300)), "constant"),
        (np.random.default_rng(0).random((3, 40)), "uncertain"),
        (np.random.default_rng(0).random((1, 1)), "constant"),
        (np.random.default_rng(0).random((400, 3)), "uncertain"),
        (np.where(np.random.default_rng(0).random((200, 200)) < 0.5, 0.0, 1.0), "noise"),
        (np.full((64, 64), np.nan), "constant"),
    ],
)
def test_odd_images_get_a_verdict_and_never_nan(image, words):
    found = measured(image)
    assert words in NoiseEstimate((found,), UNCERTAIN).verdict
    assert np.isfinite([found.gain, found.offset, found.read, found.sigma, found.impulses.share, found.stripes]).all()


def test_two_noise_levels_in_one_image_give_one_between_them():
    image = np.full((256, 512), 0.5)
    rng = np.random.default_rng(0)
    image[:, :256] += rng.normal(0, 0.02, (256, 256))
    image[:, 256:] += rng.normal(0, 0.08, (256, 256))
    assert 0.018 < measured(image).sigma < 0.085


@pytest.mark.parametrize("value", [2.0, 8.0, -3.0])
def test_one_lone_pixel_tells_nothing_of_the_noise(value):
    y, x = np.mgrid[:128, :128]
    image = 0.5 + 0.36 * np.sin(x / 9) * np.sin(y / 11) + np.random.default_rng(0).normal(0, 0.06, x.shape)
    expected = measured(image)
    image[8, 9] = value
    found = measured(image)
    assert (found.sigma, found.bright) == pytest.approx((expected.sigma, expected.bright), rel=0.05)


@pytest.mark.parametrize("side", [130, 144, 160])
def test_photon_counts_grow_with_the_light_however_small_the_image(side):
    y, x = np.mgrid[:side, :side]
    counts = np.random.default_rng(0).poisson(3 * (1 + 0.7 * np.sin(x / 9) * np.sin(y / 11)))
    found = estimate_channel([counts / 12], step=1 / 12)[0]
    assert found.gain * 12 == pytest.approx(1, rel=0.3)


@pytest.mark.parametrize("sigma", [5, 20, 60, 100])
def test_noise_alone_without_any_image(sigma):
    """Blocks of one intensity tell nothing about growth with the light, and must not be taken to."""
    image = np.clip(np.random.default_rng(0).normal(127, sigma, (120, 120)), 0, 255).round() / 255
    found = measured(image)
    assert found.gain == 0 or sigma > 50
    assert found.sigma * 255 == pytest.approx(sigma, rel=0.1)
