"""Treatment trials: ranking treatments without the clean image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, uniform_filter

from masked_denoiser.denoising.noise_treatment import NoiseTreatment
from masked_denoiser.denoising.treatment_trial import (
    AddedNoise,
    TrialResult,
    choose_patches,
    run_trials,
    select_best,
)
from masked_denoiser.noise.variance_model import NoiseVariance

SIGMA = 0.06
WHITE = [NoiseVariance(0.0, SIGMA**2)]
DIRECT, OTHER, STRIDED = NoiseTreatment(), NoiseTreatment(scale=0.5), NoiseTreatment(strides=(2, 3))


def flat(seed):
    """Return a smooth patch [96, 96]."""
    return 0.5 + 0.2 * gaussian_filter(np.random.default_rng(seed).normal(size=(96, 96)), 20) / 0.014


def grating(seed):
    """Return a patch [96, 96] with fine structure everywhere."""
    return 0.5 + 0.25 * np.sin(np.arange(96) * 2 * np.pi / 5 + seed)[None].repeat(96, axis=0)


def noisy_patches(scene, sigma=SIGMA, width=0.0):
    result = []
    for seed in range(4):
        noise = np.random.default_rng(seed + 9).normal(size=(96, 96))
        noise = gaussian_filter(noise, width, mode="wrap") if width else noise
        result.append((scene(seed) + sigma * noise / noise.std()).astype(np.float32)[None])
    return result


def smooth(tiles, _):
    return uniform_filter(tiles, (0, 0, 9, 9), mode="reflect")


def identity(tiles, _):
    return tiles


def sharpen(tiles, _):
    return 2 * tiles - smooth(tiles, _)


def run_trial(denoise, scene, noise=WHITE, width=0.0, sigma=SIGMA):
    (result,) = run_trials([DIRECT], noisy_patches(scene, sigma, width), denoise, AddedNoise(noise, width))
    return result


def test_smoothing_white_noise_beats_the_identity():
    result = run_trial(smooth, flat)
    assert result.noise_share > 0.9
    assert result.blend == 1
    assert result.score < 0.1 < run_trial(identity, flat).score
    assert select_best([result]) is result


def test_erased_structure_lowers_the_noise_share():
    result = run_trial(smooth, grating)
    assert result.noise_share < 0.2
    assert result.noise_share < result.blend < 2 * result.noise_share
    assert result.score > 0.8


@pytest.mark.parametrize("denoise", [identity, sharpen])
def test_harmful_treatments_are_rejected(denoise):
    assert select_best([run_trial(denoise, flat)]) is None


@pytest.mark.parametrize("scene", [flat, grating])
@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("width", [0.0, 1.0])
def test_score_matches_mean_square_error(scene, share, width):
    """The score is within a few percent of the true mean square error of the applied correction."""

    def denoise(tiles, _):
        return tiles + np.float32(share) * (smooth(tiles, _) - tiles)

    result = run_trial(denoise, scene, width=width)
    noisy, truth = np.stack(noisy_patches(scene, width=width)), np.stack([scene(seed)[None] for seed in range(4)])
    out = noisy + result.blend * (denoise(noisy, None) - noisy)
    error = np.mean((out - truth)[..., 8:-8, 8:-8] ** 2) / SIGMA**2
    assert result.score == pytest.approx(error, abs=0.08)


def test_photon_noise_is_scored_at_its_intensity():
    """A denoiser that leaves bright pixels unchanged removes only the weaker half of the noise."""
    ground = np.where(np.arange(96) < 48, 0.1, 0.9)[None, None].repeat(96, axis=1)
    rng = np.random.default_rng(0)
    tiles = [(rng.poisson(ground * 50) / 50).astype(np.float32) for _ in range(4)]

    def denoise(tiles, _):
        return np.concatenate([smooth(tiles[..., :48], _), tiles[..., 48:]], axis=-1)

    (result,) = run_trials([DIRECT], tiles, denoise, AddedNoise([NoiseVariance(1 / 50, 0.0)]))
    assert result.noise_share > 0.8
    assert 0.6 < result.noise_response < 0.9


def trial_result(treatment, removed, noise_response):
    return TrialResult(treatment, removed, noise_response)


def test_simpler_of_two_similar_treatments_is_selected():
    direct = trial_result(DIRECT, 0.8, 0.2)
    assert select_best([direct, trial_result(OTHER, 0.8, 0.199)]) is direct
    assert select_best([direct, better := trial_result(OTHER, 0.85, 0.15)]) is better
    assert select_best([direct, trial_result(STRIDED, 0.85, 0.15)]) is direct  # strides must be clearly better
    assert select_best([direct, best := trial_result(STRIDED, 0.95, 0.05)]) is best


@given(st.floats(1e-3, 10), st.floats(-0.5, 1.5))
def test_selected_treatment_beats_the_identity(removed, noise_response):
    """Compare by the score of the selected treatment, with its blend."""
    selected = select_best([trial_result(DIRECT, removed, noise_response)])
    assert selected is None or selected.score < 1


def test_patches_range_from_flat_to_structured():
    samples = [np.stack([np.kron(np.arange(9).reshape(3, 3) / 8, np.ones((32, 32)))]) for _ in range(2)]
    samples[0] = samples[0] + gaussian_filter(np.random.default_rng(0).normal(size=(1, 96, 96)), (0, 4, 4))
    missing = np.zeros((1, 96, 96), bool)
    missing[:, :32] = True
    result = choose_patches(samples, [None, missing], 32, 4)
    assert [patch.shape for patch in result] == [(1, 32, 32)] * 4
    spread = [float(patch.std()) for patch in result]
    assert spread[-1] > 10 * spread[0]
    assert not any((patch == patch.flat[0]).all() and patch.flat[0] < 3 / 8 for patch in result)
    assert choose_patches(samples[:1], [None], 500, 4)[0].shape == (1, 96, 96)
