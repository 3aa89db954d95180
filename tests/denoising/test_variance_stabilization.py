"""The generalised Anscombe transform: what it promises, on noise drawn from the model."""

import numpy as np
import pytest

from masked_denoiser.denoising.variance_stabilization import make_stabiliser
from masked_denoiser.noise.variance_model import NoiseVariance

CAMERAS = [(0.01, 0.0, 0.0), (0.01, 0.02, 0.0), (0.02, 0.01, 0.1), (0.004, 0.03, 0.05)]


def drawn(gain, read, offset, mean, count=200_000):
    rng = np.random.default_rng(0)
    return gain * rng.poisson((mean - offset) / gain, count) + offset + rng.normal(0, read, count)


@pytest.mark.parametrize(("gain", "read", "offset"), CAMERAS)
@pytest.mark.parametrize("mean", [0.2, 0.4, 0.7, 0.95])
def test_noise_is_of_equal_strength_and_the_inverse_without_bias(gain, read, offset, mean):
    transform = make_stabiliser(NoiseVariance(gain, read**2 - gain * offset))
    noisy = transform.forward(drawn(gain, read, offset, mean))
    assert noisy.std() == pytest.approx(transform.sigma, rel=0.03)
    assert transform.backward(noisy.mean()) == pytest.approx(mean, abs=2e-3)


@pytest.mark.parametrize(("gain", "read", "offset"), CAMERAS)
def test_range_order_and_darkness(gain, read, offset):
    transform = make_stabiliser(NoiseVariance(gain, read**2 - gain * offset))
    values = transform.forward(np.linspace(-0.5, 1, 200))
    assert (np.diff(values) >= 0).all()
    assert transform.forward(np.array([0.0, 1.0])) == pytest.approx([0, 1])
    back = transform.backward(np.linspace(-1, 1.2, 500))
    assert np.isfinite(back).all()
    assert (np.diff(back) >= -1e-12).all()
    dark = drawn(gain, read, offset, offset)
    assert transform.backward(transform.forward(dark).mean()) == pytest.approx(offset, abs=0.01)


def test_strong_noise_is_scaled_to_what_the_network_knows_and_constant_noise_left_alone():
    assert make_stabiliser(NoiseVariance(0.5, 0.0), strongest=0.2).sigma == 0.2
    assert make_stabiliser(NoiseVariance(0.0, 0.01)) is None
    assert make_stabiliser(NoiseVariance(-0.1, 0.01)) is None
