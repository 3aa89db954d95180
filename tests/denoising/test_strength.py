"""The strength option, from the command line to the pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import masked_denoiser as md
from masked_denoiser.errors import JobError
from masked_denoiser.models.random_weights import random_model
from masked_denoiser.network.ushape_config import UConfig


@pytest.fixture(scope="module")
def noisy():
    """[128, 128] uint8: a smooth image with noise of 20 grey levels."""
    ys, xs = np.mgrid[:128, :128]
    image = 120 + 60 * np.sin(xs / 20) * np.cos(ys / 15)
    return (image + np.random.default_rng(0).normal(0, 20, image.shape)).clip(0, 255).astype(np.uint8)


def correction(image, **options):
    return image - md.denoise(image, axes="YX", device="cpu", dtype="float32", **options)


def test_half_strength_halves_correction_without_noise_map(noisy):
    model = random_model(UConfig(widths=(4, 8), blocks=(1, 0), attention=1, heads=2, window=4), 1)
    model = replace(model, weights={k: v + 0.02 * (k == "head.weight") for k, v in model.weights.items()})
    options = {"model": model, "noise": "sigma=20"}
    whole, half = correction(noisy, **options), correction(noisy, strength=0.5, **options)
    assert whole.std() > 1
    inside = (noisy > 10) & (noisy < 245)  # results are clipped to the range of the data type
    np.testing.assert_allclose(half[inside], whole[inside] / 2, atol=0.1)


def test_half_strength_halves_the_noise_map(noisy):
    whole, half = correction(noisy), correction(noisy, strength=0.5)
    assert 0.4 * whole.std() < half.std() < 0.9 * whole.std()


def test_higher_strength_may_exceed_the_measured_noise(noisy):
    """The given noise is too low and limits the correction; a strength of 2 raises the limit."""
    limited, more = (correction(noisy, noise="sigma=8", strength=s).std() for s in (1.0, 2.0))
    assert more > 1.3 * limited


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"strength": 3.0}, "choose 0.5 to 2"), ({"strength": 0.7, "noise": "none"}, "leave one of them out")],
)
def test_invalid_strength_is_refused(noisy, options, problem):
    with pytest.raises(JobError, match=problem):
        md.denoise(noisy, axes="YX", device="cpu", **options)
