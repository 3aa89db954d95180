"""Tests of the calibration of a model's error."""

from __future__ import annotations

import numpy as np
import pytest

from masked_denoiser.errors import ModelError
from masked_denoiser.models.uncertainty import Uncertainty

CALIBRATION = Uncertainty((0.01, 0.1), (2.0, 4.0), (0.5, 0.1))


def test_variances_of_spread_and_noise_are_added():
    spread = np.full((1, 1, 9, 9), 0.02, np.float32)
    for sigma, expected in ((0.01, (2, 0.5)), (0.1, (4, 0.1)), (0.055, (3, 0.3)), (1.0, (4, 0.1))):
        noise = np.full((1, 1, 9, 9), sigma, np.float32)
        std = np.hypot(expected[0] * 0.02, expected[1] * sigma)
        np.testing.assert_allclose(CALIBRATION.calibrate(spread, noise), std, rtol=1e-5)
    np.testing.assert_allclose(CALIBRATION.calibrate(spread, None), 3 * 0.02, rtol=1e-5)


def test_card_round_trip():
    assert Uncertainty.from_dict(CALIBRATION.to_dict()) == CALIBRATION
    assert Uncertainty.from_dict({}) is None


@pytest.mark.parametrize(
    "values",
    [
        {"sigmas": [0.1]},
        {"sigmas": [0.1], "factors": ["a"], "shares": [0]},
        {"sigmas": [0.1], "factors": [1.0, 2.0], "shares": [0]},
        {"sigmas": [0.1, 0.05], "factors": [1.0, 2.0], "shares": [0, 0]},
        {"sigmas": [0.1], "factors": [float("nan")], "shares": [0]},
        {"sigmas": [0.1], "factors": [-1.0], "shares": [0]},
        {"sigmas": [], "factors": [], "shares": []},
    ],
)
def test_invalid_calibration_is_refused(values):
    with pytest.raises(ModelError, match="calibration"):
        Uncertainty.from_dict(values)
