"""The strength of the noise as a user may correct it, from the option to the pixels."""

from __future__ import annotations

import numpy as np
import pytest

import masked_denoiser as md
from masked_denoiser.denoising.job import JobError


@pytest.fixture(scope="module")
def noisy():
    """[128, 128] uint8: a smooth image with noise of 20 grey levels."""
    ys, xs = np.mgrid[:128, :128]
    image = 120 + 60 * np.sin(xs / 20) * np.cos(ys / 15)
    return (image + np.random.default_rng(0).normal(0, 20, image.shape)).clip(0, 255).astype(np.uint8)


def correction(image, **options):
    return image - md.denoise(image, axes="YX", device="cpu", dtype="float32", **options)


def test_half_the_strength_takes_half_the_correction(noisy):
    """Of a network without a noise map; one with a map is given half of it."""
    whole, half = correction(noisy), correction(noisy, strength=0.5)
    np.testing.assert_allclose(half, whole / 2, atol=0.5)


def test_more_strength_may_remove_more_than_was_measured(noisy):
    """The noise is given too low, so that the correction is limited to it, and taken to be twice as strong again."""
    limited, more = (correction(noisy, noise="sigma=8", strength=s).std() for s in (1.0, 2.0))
    assert more > 1.3 * limited


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"strength": 3.0}, "choose 0.5 to 2"), ({"strength": 0.7, "noise": "none"}, "leave one of them out")],
)
def test_refusals(noisy, options, problem):
    with pytest.raises(JobError, match=problem):
        md.denoise(noisy, axes="YX", device="cpu", **options)
