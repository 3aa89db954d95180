"""A trial tells good treatments from bad ones without the clean image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, uniform_filter

from masked_denoiser.denoising.noise_treatment import NoiseTreatment
from masked_denoiser.denoising.treatment_trial import Judgement, best_of, choose_places, judge
from masked_denoiser.noise.variance_model import NoiseVariance

SIGMA = 0.06
WHITE = [NoiseVariance(0.0, SIGMA**2)]
DIRECT, OTHER, STRIDED = NoiseTreatment(), NoiseTreatment(scale=0.5), NoiseTreatment(strides=(2, 3))


def flat(seed):
    """A smooth place."""
    return 0.5 + 0.2 * gaussian_filter(np.random.default_rng(seed).normal(size=(96, 96)), 20) / 0.014


def grating(seed):
    """Fine structure everywhere."""
    return 0.5 + 0.25 * np.sin(np.arange(96) * 2 * np.pi / 5 + seed)[None].repeat(96, axis=0)


def places(scene, sigma=SIGMA, width=0.0):
    found = []
    for seed in range(4):
        noise = np.random.default_rng(seed + 9).normal(size=(96, 96))
        noise = gaussian_filter(noise, width, mode="wrap") if width else noise
        found.append((scene(seed) + sigma * noise / noise.std()).astype(np.float32)[None])
    return found


def smooth(tiles, _):
    return uniform_filter(tiles, (0, 0, 9, 9), mode="reflect")


def same(tiles, _):
    return tiles


def sharpen(tiles, _):
    return 2 * tiles - smooth(tiles, _)


def one(denoise, scene, noise=WHITE, width=0.0, sigma=SIGMA):
    (found,) = judge([DIRECT], places(scene, sigma, width), denoise, noise, width)
    return found


def test_a_smoother_of_white_noise_beats_the_identity():
    found = one(smooth, flat)
    assert found.noise_share > 0.9
    assert found.blend == 1
    assert found.score < 0.1 < one(same, flat).score
    assert best_of([found]) is found


def test_erased_structure_is_no_noise():
    found = one(smooth, grating)
    assert found.noise_share < 0.2
    assert found.noise_share < found.blend < 2 * found.noise_share
    assert found.score > 0.8


@pytest.mark.parametrize("denoise", [same, sharpen])
def test_what_only_harms_is_not_taken(denoise):
    assert best_of([one(denoise, flat)]) is None


@pytest.mark.parametrize("scene", [flat, grating])
@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("width", [0.0, 1.0])
def test_the_score_is_the_error(scene, share, width):
    """Within a few percent of the mean square error against the truth, of the correction that is taken."""

    def denoise(tiles, _):
        return tiles + np.float32(share) * (smooth(tiles, _) - tiles)

    found = one(denoise, scene, width=width)
    noisy, truth = np.stack(places(scene, width=width)), np.stack([scene(seed)[None] for seed in range(4)])
    out = noisy + found.blend * (denoise(noisy, None) - noisy)
    error = np.mean((out - truth)[..., 8:-8, 8:-8] ** 2) / SIGMA**2
    assert found.score == pytest.approx(error, abs=0.08)


def test_noise_that_grows_with_the_light_is_judged_at_its_intensity():
    """A denoiser that keeps bright pixels as they are removes the weaker half of the noise."""
    ground = np.where(np.arange(96) < 48, 0.1, 0.9)[None, None].repeat(96, axis=1)
    rng = np.random.default_rng(0)
    tiles = [(rng.poisson(ground * 50) / 50).astype(np.float32) for _ in range(4)]

    def denoise(tiles, _):
        return np.concatenate([smooth(tiles[..., :48], _), tiles[..., 48:]], axis=-1)

    (found,) = judge([DIRECT], tiles, denoise, [NoiseVariance(1 / 50, 0.0)], 0.0)
    assert found.noise_share > 0.8
    assert 0.6 < found.kept < 0.9


def judged(treatment, removed, kept):
    return Judgement(treatment, removed, kept)


def test_the_simpler_of_two_that_are_alike_is_taken():
    direct = judged(DIRECT, 0.8, 0.2)
    assert best_of([direct, judged(OTHER, 0.8, 0.199)]) is direct
    assert best_of([direct, better := judged(OTHER, 0.85, 0.15)]) is better
    assert best_of([direct, judged(STRIDED, 0.85, 0.15)]) is direct  # strides must be clearly better
    assert best_of([direct, best := judged(STRIDED, 0.95, 0.05)]) is best


@given(st.floats(1e-3, 10), st.floats(-0.5, 1.5))
def test_what_is_taken_is_better_than_nothing(removed, kept):
    """By its own score, with the share of the correction that is taken."""
    taken = best_of([judged(DIRECT, removed, kept)])
    assert taken is None or taken.score < 1


def test_places_range_from_flat_to_structured_and_avoid_missing_pixels():
    samples = [np.stack([np.kron(np.arange(9).reshape(3, 3) / 8, np.ones((32, 32)))]) for _ in range(2)]
    samples[0] = samples[0] + gaussian_filter(np.random.default_rng(0).normal(size=(1, 96, 96)), (0, 4, 4))
    missing = np.zeros((1, 96, 96), bool)
    missing[:, :32] = True
    found = choose_places(samples, [None, missing], 32, 4)
    assert [place.shape for place in found] == [(1, 32, 32)] * 4
    spread = [float(place.std()) for place in found]
    assert spread[-1] > 10 * spread[0]
    assert not any((place == place.flat[0]).all() and place.flat[0] < 3 / 8 for place in found)
    assert choose_places(samples[:1], [None], 500, 4)[0].shape == (1, 96, 96)
