"""Properties of the generalised Anscombe transform, on noise drawn from the model."""

import numpy as np
import pytest

from masked_denoiser.denoising.intensity.variance_stabilization import make_stabilizer
from masked_denoiser.noise.variance_model import NoiseVariance

CAMERAS = [(0.01, 0.0, 0.0), (0.01, 0.02, 0.0), (0.02, 0.01, 0.1), (0.004, 0.03, 0.05)]


def draw_samples(gain, read, offset, mean, count=200_000):
    rng = np.random.default_rng(0)
    return gain * rng.poisson((mean - offset) / gain, count) + offset + rng.normal(0, read, count)


@pytest.mark.parametrize(("gain", "read", "offset"), CAMERAS)
@pytest.mark.parametrize("mean", [0.2, 0.4, 0.7, 0.95])
def test_stabilized_variance_and_unbiased_inverse(gain, read, offset, mean):
    transform = make_stabilizer(NoiseVariance(gain, read**2 - gain * offset))
    noisy = transform.forward(draw_samples(gain, read, offset, mean))
    assert noisy.std() == pytest.approx(transform.sigma, rel=0.03)
    assert transform.backward(noisy.mean()) == pytest.approx(mean, abs=2e-3)


@pytest.mark.parametrize(("gain", "read", "offset"), CAMERAS)
def test_stabilizer_is_monotonic_and_unbiased_in_the_dark(gain, read, offset):
    transform = make_stabilizer(NoiseVariance(gain, read**2 - gain * offset))
    values = transform.forward(np.linspace(-0.5, 1, 200))
    assert (np.diff(values) >= 0).all()
    assert transform.forward(np.array([0.0, 1.0])) == pytest.approx([0, 1])
    back = transform.backward(np.linspace(-1, 1.2, 500))
    assert np.isfinite(back).all()
    assert (np.diff(back) >= -1e-12).all()
    dark = draw_samples(gain, read, offset, offset)
    assert transform.backward(transform.forward(dark).mean()) == pytest.approx(offset, abs=0.01)


def test_strong_noise_is_scaled_and_constant_noise_is_not():
    assert make_stabilizer(NoiseVariance(0.5, 0.0), strongest=0.2).sigma == 0.2
    assert make_stabilizer(NoiseVariance(0.0, 0.01)) is None
    assert make_stabilizer(NoiseVariance(-0.1, 0.01)) is None
