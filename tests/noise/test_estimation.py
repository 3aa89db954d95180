"""Noise estimation against noise of known strength on tissue, photographs and smooth images."""

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
    """Return bright blobs [512, 512] on a dark background, as in fluorescence."""
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


def estimate(image):
    return estimate_channel([image])[0]


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("sigma", [10, 25, 50])
def test_white_noise_is_estimated_within_a_tenth(content, sigma):
    """Clipping at both ends affects a large share of the pixels at sigma 50."""
    assert estimate(noisy(content, f"gaussian(sigma={sigma})")).sigma * 255 == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(("gain", "read"), [(1, 1), (2, 3), (4, 0), (8, 2)])
def test_photon_noise_is_estimated_within_a_tenth(content, gain, read):
    """The variance is `gain * m + (gain * read)^2`, in grey levels; standard deviations are compared."""
    found = estimate(noisy(content, f"poisson_gaussian(gain={gain}, read={read})"))
    levels = np.percentile(CONTENTS[content], [20, 50, 80])
    true = np.sqrt(gain * levels * 255 + (gain * read) ** 2) / 255
    assert found.variance.sigma(levels) == pytest.approx(true, rel=0.1)
    if gain < 8:  # stronger noise is clipped too much to tell gain and read noise apart
        assert found.gain * 255 == pytest.approx(gain, rel=0.16)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("variance", [0.01, 0.03])
def test_speckle_is_estimated_within_a_tenth(content, variance):
    """The variance is quadratic in intensity; a linear model would be far too low in bright regions."""
    found = estimate(noisy(content, f"speckle(variance={variance})"))
    levels = np.percentile(CONTENTS[content], [30, 50, 70])
    assert found.variance.sigma(levels) == pytest.approx(np.sqrt(variance) * levels, rel=0.1)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("noise", ["gaussian(sigma=15)", "poisson(alpha=2)", "poisson_gaussian(gain=8, read=2)"])
def test_photon_and_read_noise_are_not_mistaken_for_speckle(content, noise):
    assert estimate(noisy(content, noise)).quadratic == 0


@given(st.floats(0, 0.1), st.floats(-0.01, 0.01), st.floats(0, 0.1), st.floats(0.1, 900), st.floats(-500, 500))
def test_noise_variance_converts_between_units(gain, variance, quadratic, ratio, shift):
    noise = NoiseVariance(gain, variance, 1e-4, quadratic)
    there = noise.in_units(ratio, shift)
    means = np.linspace(0, 1, 5)
    assert there.sigma(means * ratio + shift) == pytest.approx(noise.sigma(means) * ratio, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("content", CONTENTS)
def test_correlated_noise_is_distinguished_from_white_noise(content):
    """A 3 x 3 mean is uncorrelated beyond 3 pixels, with a third of the standard deviation.

    Tissue has fine texture, with which white noise may look blurred by less than half a pixel.
    """
    found = estimate(noisy(content, "correlated(sigma=60)"))
    assert found.correlation == 3
    assert found.sigma * 255 == pytest.approx(20, rel=0.2)
    for recipe in ("none", "gaussian(sigma=20)", "poisson(alpha=2)"):
        found = estimate(noisy(content, recipe))
        assert found.correlation == 1 or (content == "tissue" and found.width < 0.5)


@pytest.mark.parametrize("content", CONTENTS)
def test_impulses_and_stripes_are_measured(content):
    found = estimate(noisy(content, "salt_and_pepper(density=0.02)"))
    assert found.impulses.share == pytest.approx(0.02, abs=0.006)
    assert not found.stripes
    found = estimate(noisy(content, "stripes(sigma=10) + gaussian(sigma=8)"))
    assert found.stripes * 255 == pytest.approx(10, rel=0.15)
    found = estimate(noisy(content, "gaussian(sigma=20)"))
    assert found.impulses.share < 1e-3
    assert not found.stripes


def test_offset_is_separated_from_gain():
    """Counts have a camera offset of 100, where the variance starts."""
    rng = np.random.default_rng(0)
    image = (rng.poisson(cells() * 400) * 2.0 + 100) / 1000
    found = estimate(image)
    assert found.gain * 1000 == pytest.approx(2, rel=0.1)
    assert found.offset * 1000 == pytest.approx(100, rel=0.1)


@given(st.floats(-0.5, 1.5), st.floats(0.01, 0.6))
@settings(max_examples=40)
def test_clipped_moments_match_integration(mean, sigma):
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
def test_degenerate_images_give_a_verdict_without_nan(image, words):
    found = estimate(image)
    assert words in NoiseEstimate((found,), UNCERTAIN).verdict
    assert np.isfinite([found.gain, found.offset, found.read, found.sigma, found.impulses.share, found.stripes]).all()


def test_two_noise_levels_give_an_intermediate_estimate():
    image = np.full((256, 512), 0.5)
    rng = np.random.default_rng(0)
    image[:, :256] += rng.normal(0, 0.02, (256, 256))
    image[:, 256:] += rng.normal(0, 0.08, (256, 256))
    assert 0.018 < estimate(image).sigma < 0.085


@pytest.mark.parametrize("value", [2.0, 8.0, -3.0])
def test_outlier_pixel_does_not_change_the_estimate(value):
    y, x = np.mgrid[:128, :128]
    image = 0.5 + 0.36 * np.sin(x / 9) * np.sin(y / 11) + np.random.default_rng(0).normal(0, 0.06, x.shape)
    expected = estimate(image)
    image[8, 9] = value
    found = estimate(image)
    assert (found.sigma, found.bright) == pytest.approx((expected.sigma, expected.bright), rel=0.05)


@pytest.mark.parametrize("side", [130, 144, 160])
def test_photon_gain_is_found_in_small_images(side):
    y, x = np.mgrid[:side, :side]
    counts = np.random.default_rng(0).poisson(3 * (1 + 0.7 * np.sin(x / 9) * np.sin(y / 11)))
    found = estimate_channel([counts / 12], step=1 / 12)[0]
    assert found.gain * 12 == pytest.approx(1, rel=0.3)


@pytest.mark.parametrize("sigma", [5, 20, 60, 100])
def test_pure_noise_shows_no_gain(sigma):
    """Blocks of a single intensity carry no information about signal-dependent noise."""
    image = np.clip(np.random.default_rng(0).normal(127, sigma, (120, 120)), 0, 255).round() / 255
    found = estimate(image)
    assert found.gain == 0 or sigma > 50
    assert found.sigma * 255 == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("sigma", [1.5, 3, 5])
def test_flat_fields_of_few_steps_show_no_gain(sigma):
    for seed in range(5):
        image = np.random.default_rng(seed).normal(100, sigma, (160, 160)).round()
        found = estimate_channel([image / 255], step=1 / 255)[0]
        assert (found.gain, found.sigma * 255) == (0, pytest.approx(sigma, rel=0.1))


@pytest.mark.parametrize("vertical", [False, True])
def test_random_lines_are_stripes_and_predictable_ones_are_structure(vertical):
    lines = {
        "random": np.random.default_rng(0).normal(0, 0.04, 256),
        "alternating": np.where(np.arange(256) % 2, 0.04, -0.04),
        "period 6": 0.06 * np.sin(np.arange(256) * np.pi / 3),
    }
    for name, profile in lines.items():
        image = CONTENTS["cells"][:256, :256] + np.broadcast_to(profile, (256, 256))
        found = estimate(image if vertical else image.T)
        assert bool(found.stripes) == (name == "random")
        assert found.vertical_stripes == (vertical and name == "random")


def test_white_noise_is_not_measured_on_alternating_pixels():
    rows, columns = np.indices((256, 256))
    checkerboard = (rows + columns) % 2 * 0.5 + rows / 1000
    assert estimate(checkerboard).sigma < 1e-6
    found = estimate(checkerboard + np.random.default_rng(0).normal(0, 0.04, checkerboard.shape))
    assert found.sigma == pytest.approx(0.04, rel=0.15)


def test_noise_is_measured_alike_on_images_of_any_size():
    """Small images have overlapping blocks, since background would otherwise fill the only group of intensities."""
    truth = cells() * 3000
    counts = np.random.default_rng(0).poisson(truth / 10) * 10 / 3000
    gains = [estimate(counts[:side, :side]).gain for side in (88, 104, 136, 168, 512)]
    assert gains == pytest.approx([10 / 3000] * len(gains), rel=0.25)


def test_impulses_are_not_the_pixels_of_a_text():
    text = data.text()[:100, :200] < 90
    image = cells()[:200, :200] * 0.5
    image[50:150][text] = 1.0
    assert not estimate(image).impulses.share
    image[np.random.default_rng(0).random(image.shape) < 0.03] = 0.0  # dead pixels, as well
    assert estimate(image).impulses.share == pytest.approx(0.025, abs=0.01)


@pytest.mark.parametrize("background", [0.02, 0.3])
def test_noise_of_inverted_photons_falls_with_intensity(background):
    truth = cells() - 0.08 + background
    photons = np.random.default_rng(0).poisson(truth * 100) / 100
    inverted = 1 - photons
    found = estimate(inverted)
    assert found.gain == pytest.approx(-0.01, rel=0.25)
    levels = 1 - np.percentile(truth, [10, 50, 95])
    assert found.variance.sigma(levels) == pytest.approx(np.sqrt((1 - levels) * 0.01), rel=0.2)


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_image_of_nothing_but_random_lines_has_no_stripes(noise):
    rng = np.random.default_rng(0)
    image = np.where(rng.random(256) > 0.5, 0.8, 0.2) + rng.normal(0, noise, (256, 256))
    assert not estimate(image).stripes
