import numpy as np
import pytest

from masked_denoiser.denoising.check import tiny_model
from masked_denoiser.denoising.correction_limits import take_no_more
from masked_denoiser.denoising.denoiser import Denoised
from masked_denoiser.denoising.job import Options
from masked_denoiser.denoising.prepare import prepare_array
from masked_denoiser.images.open import open_image
from masked_denoiser.noise.variance_model import NoiseVariance


def test_what_is_noise_goes_and_what_is_more_stays():
    """By channel: one whose removal is as strong as its noise, one of which three times as much was taken."""
    noise = np.random.default_rng(0).normal(0, 0.02, (1, 2, 96, 96)).astype(np.float32)
    truth = np.full_like(noise, 0.5)
    tiles = truth + noise * np.float32([1, 6])[:, None, None]
    held = take_no_more(truth, tiles, [NoiseVariance(0.0, 0.02**2), NoiseVariance(0.0, 0.02**2)])
    np.testing.assert_allclose(held[0, 0], 0.5, atol=1e-6)
    removed = (tiles - held)[0, 1]
    assert removed.std() == pytest.approx(2 * 0.02, rel=0.1)  # twice the noise, of six times as much


def test_noise_that_grows_is_held_to_what_it_is_there():
    truth = np.repeat(np.float32([0.1, 0.9]), 64)[None, None, None].repeat(64, axis=2)
    tiles = truth + np.random.default_rng(0).normal(0, 0.1, truth.shape).astype(np.float32)
    held = take_no_more(truth, tiles, [NoiseVariance(0.01, 0.0)])  # sigma 0.03 in the dark, 0.095 in the light
    dark, light = (np.std((tiles - held)[..., 16:48, part]) for part in (slice(16, 40), slice(88, 112)))
    assert dark == pytest.approx(0.063, rel=0.15)
    assert light == pytest.approx(0.1, rel=0.1)


def test_the_users_word_counts():
    """A network that flattens everything takes no more than the noise that was given."""
    image = np.random.default_rng(0).normal(0.5, 0.1, (128, 128)).astype(np.float32)

    def run(noise):
        options = Options(noise=noise, intensity=(0.0, 1.0))
        prepared = prepare_array(open_image(image, axes="YX"), model=tiny_model(1), options=options, device="cpu")
        prepared.pipeline.denoiser = lambda tiles, _: Denoised(np.full_like(tiles, 0.5), None)
        list(prepared.pipeline.run())
        return np.std(image - prepared.pipeline.sink.array)

    assert run("none") == pytest.approx(0.1, rel=0.05)
    assert run("sigma=0.01") == pytest.approx(0.02, rel=0.1)
    assert run("sigma=0.1") == pytest.approx(0.1, rel=0.05)
