"""Measurement of Rician noise, on magnitudes drawn from the model and on other kinds of noise."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from masked_denoiser.noise.modalities.rician import correct_sigma, fit_rayleigh, measure_background


def magnitude(signal, sigma, seed=0, blur=0.0):
    """Return the magnitudes of a real signal with complex noise."""
    noise = np.random.default_rng(seed).normal(size=(2, *signal.shape))
    noise = gaussian_filter(noise, (0, *(blur,) * signal.ndim))
    real, imaginary = noise * sigma / noise.std()
    return np.hypot(signal + real, imaginary)


def disc(side=192, height=100.0):
    """Return a disc with a soft ramp in it on a background of zero."""
    rows, columns = np.mgrid[:side, :side] / side * 2 - 1
    return np.where(np.hypot(rows, columns) < 0.7, height * (0.6 + 0.4 * rows), 0.0)


@pytest.mark.parametrize("step", [0.0, 1.0])
@pytest.mark.parametrize("blur", [0.0, 0.6])
@pytest.mark.parametrize("sigma", [1.0, 2.0, 5.0, 10.0])
def test_sigma_of_the_background(sigma, blur, step):
    image = magnitude(disc(), sigma, blur=blur)
    image = np.rint(image) if step else image
    found = measure_background([image], [None], step)
    assert found.sigma == pytest.approx(sigma, rel=0.03 if sigma > 1 else 0.05)
    assert found.background > 0.3
    assert found.distance < 0.02


def test_background_that_is_hidden_or_absent():
    image = magnitude(disc(), 5.0)
    inside = disc() > 0
    assert measure_background([np.where(inside, image, 0.0)], [None], 0.0) is None
    assert measure_background([image], [~inside], 0.0) is None
    assert measure_background([image[60:130, 60:130]], [None], 0.0) is None


OTHER_NOISE = {
    "half of a normal distribution": lambda rng, shape: np.abs(rng.normal(size=shape)),
    "exponential": lambda rng, shape: rng.exponential(size=shape),
    "normal, clipped": lambda rng, shape: np.maximum(rng.normal(1.9, 1.0, shape), 0.0),
    "gamma with the moments of Rayleigh": lambda rng, shape: rng.gamma(3.66, 1.0, shape),
    "four coils": lambda rng, shape: np.sqrt((rng.normal(size=(8, *shape)) ** 2).sum(axis=0)),
}


@pytest.mark.parametrize("name", OTHER_NOISE)
def test_other_noise_is_no_background(name):
    image = OTHER_NOISE[name](np.random.default_rng(0), (256, 256))
    found = measure_background([image], [None], 0.0)
    assert found is None or found.distance > 0.02


@pytest.mark.parametrize("snr", [0.0, 1.0, 2.0, 3.0, 6.0, 30.0])
def test_correction_of_the_deviation(snr):
    values = magnitude(np.full(2_000_000, snr * 4.0), 4.0)
    assert correct_sigma(np.array([values.mean()]), np.array([values.std()])) == pytest.approx([4.0], rel=0.01)


def test_rayleigh_is_fitted_although_signal_is_among_the_noise():
    values = np.concatenate([magnitude(np.zeros(50_000), 3.0), magnitude(np.full(5_000, 30.0), 3.0)])
    assert fit_rayleigh(values) == pytest.approx(3.0, rel=0.02)
    assert fit_rayleigh(np.zeros(10)) == 0
