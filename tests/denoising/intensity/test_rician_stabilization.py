"""Properties of the stabilization of Rician noise, on noise drawn from the model."""

import numpy as np
import pytest

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.intensity.rician_stabilization import RicianStabilizer

SIGMA = 7.0


def draw(signal, count=1_000_000, seed=0):
    """Return magnitudes of a complex signal with noise of `SIGMA`."""
    real, imaginary = np.random.default_rng(seed).normal(0, SIGMA, (2, *np.broadcast_shapes(np.shape(signal), count)))
    return np.hypot(signal + real, imaginary)


@pytest.mark.parametrize("snr", [0, 0.3, 0.6, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 8, 11.9, 12.1, 20, 50])
def test_variance_is_equal_everywhere_and_the_inverse_is_unbiased(snr):
    transform = RicianStabilizer(SIGMA)
    stabilized = transform.forward(draw(snr * SIGMA))
    assert stabilized.var() == pytest.approx(SIGMA**2, rel=0.02 if snr >= 0.5 else 0.03)
    assert transform.expected(np.array(snr * SIGMA)) == pytest.approx(stabilized.mean(), abs=0.01 * SIGMA)
    if snr >= 0.3:  # below, a mean that is 0.1 % of sigma too high is a signal of 5 % of sigma
        assert transform.backward(stabilized.mean()) == pytest.approx(snr * SIGMA, abs=0.01 * SIGMA)


def test_transforms_are_monotonic_and_noise_alone_becomes_zero():
    transform = RicianStabilizer(SIGMA)
    assert (np.diff(transform.forward(np.linspace(-10, 500, 20_001))) > 0).all()
    back = transform.backward(np.linspace(-50, 500, 20_001))
    assert (np.diff(back) >= 0).all()
    assert (back >= 0).all()
    floor = float(transform.expected(np.array(0.0)))
    assert transform.backward(np.array([floor - 1.0, floor])) == pytest.approx([0, 0], abs=1e-9)
    signals = np.linspace(0, 60 * SIGMA, 4001)
    assert transform.backward(transform.expected(signals)) == pytest.approx(signals, abs=0.003 * SIGMA)
    assert transform.forward(np.array(1e4)) == pytest.approx(1e4, rel=1e-4)


def test_range_stabilizes_and_restores():
    plain = IntensityRange(0.0, 200.0, typical=50.0, non_negative=True)
    stabilized = plain.with_rician(SIGMA)
    pixels = draw(np.array([[[0.0], [3 * SIGMA], [20 * SIGMA]]]), count=200_000)
    unit = stabilized.to_unit(pixels)
    assert unit.std(axis=-1) * stabilized.span == pytest.approx(np.full((1, 3), SIGMA), rel=0.02)
    means = np.broadcast_to(unit.mean(axis=-1, keepdims=True), unit.shape)
    result = stabilized.subtract(pixels, unit - means, np.dtype(np.float32))
    assert result[..., 0] == pytest.approx(np.array([[0.0, 3 * SIGMA, 20 * SIGMA]]), abs=0.06 * SIGMA)
    unchanged = stabilized.subtract(pixels, np.zeros_like(unit), np.dtype(np.float64))
    assert (unchanged == pixels).all()
    before, after = stabilized.comparable(pixels, result)
    assert np.mean(before - after, axis=-1) == pytest.approx(np.zeros((1, 3)), abs=0.02 * SIGMA)
    assert np.ptp(np.subtract(*stabilized.comparable(pixels, pixels))) == 0
    with pytest.raises(ValueError, match="already"):
        stabilized.with_rician(SIGMA)


def test_standard_deviation_is_converted_to_first_order():
    stabilized = IntensityRange(0.0, 1000.0).with_rician(SIGMA)
    unit = stabilized.to_unit(np.array([5.0, 30.0]) * SIGMA)
    std = stabilized.std_from_unit(np.full(2, SIGMA / stabilized.span), unit)
    assert std[1] == pytest.approx(SIGMA, rel=0.01)
    assert IntensityRange(0.0, 4.0).std_from_unit(np.full(1, 0.5), np.zeros(1)) == pytest.approx([2.0])
