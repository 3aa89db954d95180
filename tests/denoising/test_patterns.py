"""Patterns, marks and unequal noise, end to end with the bundled models: structure stays, and noise goes."""

import warnings
from zlib import crc32

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

import masked_denoiser
from masked_denoiser.evaluation.safety.patterns import PATTERN_CASES

#: Images from which nothing may be removed: they are clean, or their texture cannot be distinguished from noise.
UNCHANGED = ("clean", "interlaced", "fractal")

#: Least gain in dB of all others.
LEAST_GAIN = 3.0


def denoise(array, axes, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of noise that is left alone
        return masked_denoiser.denoise(array, axes=axes, device="cpu", **options)


def make(name):
    axes, maker = next((axes, maker) for case, axes, maker in PATTERN_CASES if case == name)
    return *maker(np.random.default_rng([1, crc32(name.encode())])), axes


def square_error(pixels, truth):
    return float(np.mean((pixels.astype(np.float64) - truth) ** 2))


@pytest.mark.parametrize("name", [name for name, _, _ in PATTERN_CASES])
def test_structure_stays_and_noise_goes(name):
    noisy, truth, axes = make(name)
    result = denoise(noisy, axes)
    if any(word in name for word in UNCHANGED):
        np.testing.assert_array_equal(result, noisy)
    else:
        assert 10 * np.log10(square_error(noisy, truth) / square_error(result, truth)) > LEAST_GAIN
        assert result.mean() == pytest.approx(noisy.mean(), rel=0.006)


def test_no_pixel_exceeds_the_intensity_at_which_the_detector_saturates():
    noisy, _, axes = make("12 bits, saturated")
    assert denoise(noisy, axes).max() == noisy.max() == 4095


def test_background_of_inverted_photons_keeps_its_means():
    noisy, truth, axes = make("inverted photon counts")
    errors = uniform_filter(denoise(noisy, axes) - truth, 33)[16:-16, 16:-16]
    assert np.abs(errors[truth[16:-16, 16:-16] > 240]).max() < 1


def test_mean_of_rare_photons_is_kept():
    counts = np.random.default_rng(0).poisson(0.02, (128, 128)).astype(np.uint16)
    result = denoise(counts, "YX", dtype="float32")
    assert result.std() < 0.1 * counts.std()
    assert result.mean() == pytest.approx(counts.mean(), rel=0.02)
