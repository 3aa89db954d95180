"""Noise of red, green and blue is separated from the structure that they share."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from masked_denoiser.noise.estimation import estimate_channels
from masked_denoiser.noise.shared_structure import (
    channels_share_structure,
    measure_covariances,
    noise_shares,
    unique_variances,
)

SIDE = 384

#: Absorption of red, green and blue by hematoxylin and by eosin (Ruifrok and Johnston, 2001).
STAINS = np.float64([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


def white(seed=0, shape=(SIDE, SIDE)):
    return np.random.default_rng(seed).normal(size=shape)


def tissue(*, strength=1.0):
    """Return tissue [3, SIDE, SIDE] whose two stains have fine texture everywhere."""
    fine = np.stack([gaussian_filter(white(seed), 1.2) for seed in (1, 2)])
    coarse = np.stack([gaussian_filter(white(seed), 9) for seed in (3, 4)])
    fine, coarse = (field / field.std(axis=(1, 2), keepdims=True) for field in (fine, coarse))
    amounts = np.clip(0.5 + 0.2 * coarse + strength * 0.2 * fine, 0, None)
    return np.exp(-np.tensordot(STAINS.T, amounts, axes=1))


def nuclei():
    """Return a bright field [3, SIDE, SIDE] with soft, textured nuclei in its lower half."""
    seeds = np.zeros((SIDE, SIDE))
    rng = np.random.default_rng(5)
    seeds[rng.integers(SIDE // 2, SIDE, 60), rng.integers(0, SIDE, 60)] = 1
    outlines = gaussian_filter((gaussian_filter(seeds, 5) > 0.002).astype(float), 1.5)
    chromatin, hue = (gaussian_filter(white(seed), 1.5) for seed in (6, 7))
    stain = outlines * (0.8 + 0.25 * chromatin / chromatin.std())
    colour = STAINS[0][:, None, None] * (1 + 0.15 * hue / hue.std())
    return 0.85 * np.exp(-1.5 * colour * stain)


def noise(kind, sigmas):
    fields = white(8, (3, SIDE, SIDE))
    if kind != "white":
        fields = gaussian_filter(fields, (0, float(kind), float(kind)))
    return fields / fields.std() * np.float64(sigmas)[:, None, None]


def digitize(image):
    return np.rint(np.clip(image, 0, 1) * 255) / 255


def measure(image):
    return [found for found, _ in estimate_channels([digitize(image)], step=1 / 255)]


def test_covariance_of_structure_and_noise_gives_the_shares_of_noise():
    structure = np.float64([[1.0, 0.8, 0.5], [0.2, -0.3, 0.4]])
    shared = structure.T @ structure
    for variances in ([0.1, 0.1, 0.1], [0.04, 0.2, 0.1]):
        finest, coarse = np.diag(variances) + 0.004 * shared, np.diag(variances) + shared
        shares = noise_shares(np.stack([finest, coarse]))[1]
        np.testing.assert_allclose(shares, np.float64(variances) / np.diag(coarse), rtol=0.15)


def test_unique_variances_of_one_factor_are_exact():
    factor = np.float64([1.0, 2.0, 0.5])
    covariance = np.outer(factor, factor) + np.diag([0.3, 0.1, 0.4])
    np.testing.assert_allclose(unique_variances(covariance), [0.3, 0.1, 0.4], rtol=0.02)


def test_channels_without_variance_share_nothing():
    stack = np.stack([np.zeros((SIDE, SIDE)), white(), white(2)])
    shares = measure_covariances([stack]).noise_shares(1, [(-9.0, 9.0)])
    np.testing.assert_allclose(shares, 1.0)
    assert not channels_share_structure([stack], 3)
    np.testing.assert_array_equal(measure_covariances([stack[:, :9]]).noise_shares(1, [(0.0, 1.0)]), 1.0)


@pytest.mark.parametrize(
    ("kind", "sigmas"), [("white", (8, 8, 8)), ("white", (5, 8, 10)), ("0.7", (8, 8, 8)), ("1.0", (9, 9, 9))]
)
def test_noise_is_measured_under_stronger_texture(kind, sigmas):
    found = measure(tissue() + noise(kind, np.float64(sigmas) / 255))
    np.testing.assert_allclose([255 * each.sigma for each in found], sigmas, rtol=0.2)
    assert all((each.correlation > 1) == (kind != "white") for each in found)


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_clean_texture_of_two_stains_is_not_noise(strength):
    for found in measure(tissue(strength=strength)):
        assert found.correlation == 1
        assert 255 * max(found.sigma, found.bright) < 0.75


def test_noise_of_the_background_is_not_exceeded_in_nuclei_of_varying_hue():
    found = measure(nuclei() + noise("1.0", np.float64([1.2, 1.2, 1.2]) / 255))
    for each in found:
        assert 255 * float(each.variance.sigma(0.2)) < 1.8
        assert each.correlation == 1 or 255 * each.sigma == pytest.approx(1.2, rel=0.3)


def test_compressed_colours_are_not_noise():
    image = tissue()
    luma = image.mean(axis=0)
    chroma = np.stack([zoom(zoom(channel - luma, 0.5, order=1), 2, order=1) for channel in image])
    for found in measure(chroma + luma):
        assert found.correlation == 1
        assert 255 * found.sigma < 0.5
