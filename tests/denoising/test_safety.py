"""End-to-end guarantees to users, with the bundled models."""

import warnings
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import masked_denoiser

SIDE, SIGMA = 128, 10.0
Y, X = np.mgrid[:SIDE, :SIDE]


def denoise(array, axes="YX"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of noise that is left alone, and of NaN
        return masked_denoiser.denoise(array, axes=axes, device="cpu")


def blobs(side=SIDE):
    """Return smooth structure [side, side] from 0 to 1."""
    y, x = np.mgrid[:side, :side]
    return 0.5 + 0.5 * np.sin(x / 9) * np.sin(y / 11)


TRUTH = 60 + 120 * blobs()
NOISY = (TRUTH + np.random.default_rng(0).normal(0, SIGMA, TRUTH.shape)).round()


@cache
def reference():
    return denoise(NOISY.astype(np.float32)).astype(np.float64)


def max_difference(result):
    """Return the largest difference from the result of the reference image."""
    return np.abs(np.asarray(result, np.float64) - reference()).max()


def test_noise_is_removed():
    assert np.std(reference() - TRUTH) < 0.3 * SIGMA


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float64"])
def test_dtype_affects_only_rounding(dtype):
    result = denoise(NOISY.astype(dtype))
    assert result.dtype == dtype
    assert max_difference(result) <= (1e-3 if dtype == "float64" else 0.501)


@pytest.mark.parametrize(("factor", "shift"), [(1e-3, 0.0), (1e4, 0.0), (1.0, -500.0), (0.37, 4000.0)])
def test_result_is_equivariant_to_scale_and_shift(factor, shift):
    result = denoise((NOISY * factor + shift).astype(np.float32)).astype(np.float64)
    assert max_difference((result - shift) / factor) < 1e-3 * SIGMA


@pytest.mark.parametrize("turn", [np.fliplr, np.transpose])
def test_orientation_has_little_effect(turn):
    assert np.std(turn(denoise(turn(NOISY).astype(np.float32))) - reference()) < 0.2 * SIGMA


@pytest.mark.parametrize("value", [1000.0, 4000.0, 1e7, -1000.0])
def test_speck_is_kept_and_has_only_local_effect(value):
    image = NOISY.astype(np.float32)
    image[8, 9] = value
    result = denoise(image)
    assert result[8, 9] == pytest.approx(value, abs=2 * SIGMA)
    far = np.abs(result - reference())[56:, 56:]
    assert np.percentile(far, 99) < 0.1 * SIGMA
    assert far.max() < 0.7 * SIGMA  # where noise lies at the end of the range, which moves by the rank of one pixel


def test_missing_pixels_are_kept_with_only_local_effect():
    image = NOISY.astype(np.float32)
    image[:24, :32] = -9999
    image[100, 20], image[20, 100], image[4, 5] = np.nan, np.inf, -np.inf
    result = denoise(image)
    missing = ~np.isfinite(image) | (image == -9999)
    np.testing.assert_array_equal(result[missing], image[missing])
    assert result[~missing].min() > 20
    assert np.abs(result - reference())[80:, 80:].max() < 0.1 * SIGMA
    assert np.std((result - TRUTH)[~missing]) < 0.4 * SIGMA


@pytest.mark.parametrize(("side", "dtype"), [(144, "float32"), (160, "float32"), (160, "uint16")])
def test_three_photons_per_pixel_keep_their_sums(side, dtype):
    truth = 3 * (0.3 + 1.4 * blobs(side))
    counts = np.random.default_rng(0).poisson(truth).astype(dtype)
    result = denoise(counts)
    for part in (np.s_[:], np.s_[:72, :72], np.s_[72:], np.s_[:, 40:120]):
        assert result[part].mean() == pytest.approx(counts[part].mean(), rel=0.01)
    assert np.mean((result - truth) ** 2) < 0.1 * np.mean((counts - truth) ** 2)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("period", [4, 6, 10])
def test_clean_grating_keeps_its_contrast(period, dtype):
    grating = (128 + 60 * np.sin(2 * np.pi * (0.8 * X + 0.6 * Y) / period)).round().astype(dtype)
    assert denoise(grating).std() > 0.98 * grating.std()


@pytest.mark.parametrize("period", [4, 8, 16])
def test_noisy_grating_is_not_degraded(period):
    grating = 128 + 60 * np.sin(2 * np.pi * (0.8 * X + 0.6 * Y) / period)
    result = denoise((grating + np.random.default_rng(0).normal(0, 12, grating.shape)).astype(np.float32))
    kept = np.mean((result - result.mean()) * (grating - grating.mean())) / grating.var()
    assert 0.7 < kept < 1.02
    assert np.std(result - grating) < 1.1 * 12


def test_empty_channels_stay_empty():
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[..., 0] = NOISY.clip(0, 255)
    result = denoise(image, "YXS")
    assert not result[..., 1:].any()
    assert np.std(result[..., 0] - TRUTH) < 0.4 * SIGMA


def test_gray_saved_as_rgb_stays_gray():
    image = np.repeat(NOISY.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    result = denoise(image, "YXS")
    assert not np.ptp(result, axis=2).any()
    assert np.std(result[..., 0] - TRUTH) < 0.4 * SIGMA


def test_dark_background_stays_non_negative():
    rng = np.random.default_rng(0)
    spots = gaussian_filter((rng.random((SIDE, SIDE)) > 0.998).astype(float), 3)
    scene = 2 + 100 * spots / spots.max()
    image = (scene + rng.normal(0, 4, spots.shape)).clip(0).astype(np.float32)
    result = denoise(image)
    assert result.min() >= 0
    # Clipping at zero made the ground brighter: the mean of the scene and that of the image are both defensible.
    assert scene.mean() - 0.1 < result.mean() < 1.05 * image.mean()
