"""Corrections are limited to the noise, and local means are kept."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from masked_denoiser.denoising.correction import limits
from masked_denoiser.denoising.correction.faint_objects import faint_objects
from masked_denoiser.denoising.correction.limits import limit_correction, undo_soft_limit
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.noise.variance_model import NoiseVariance
from tests.stand_in import StandIn

WHITE = NoiseVariance(0.0, 0.02**2)


def noise(sigma, shape=(1, 1, 128, 128)):
    return np.random.default_rng(0).normal(0, sigma, shape).astype(np.float32)


coefficients = st.floats(-0.01, 0.01)


@given(st.lists(st.tuples(coefficients, coefficients, st.floats(0, 1e-3), coefficients), min_size=1, max_size=3))
def test_variance_is_that_of_the_noise(rows):
    """Coefficients may be negative: a variance that is negative without light means an offset."""
    models = [NoiseVariance(*row) for row in rows]
    intensity = np.linspace(-1, 3, 40, dtype=np.float32)[None].repeat(len(models), axis=0)[:, :, None]
    ours = limits.VarianceModel.of(models, torch.device("cpu")).at(torch.from_numpy(intensity)).numpy()
    expected = np.stack([model.sigma(row) ** 2 for model, row in zip(models, intensity, strict=True)])
    np.testing.assert_allclose(np.broadcast_to(ours, expected.shape), expected, rtol=1e-4, atol=1e-8)


def test_corrections_beyond_the_noise_are_limited():
    """Channel 0 has a correction as strong as its noise, channel 1 one three times as strong."""
    truth = np.full((1, 2, 128, 128), 0.5, np.float32)
    tiles = truth + noise(0.02, truth.shape) * np.float32([1, 3])[:, None, None]
    limited = limit_correction(truth, tiles, [WHITE, WHITE])
    np.testing.assert_allclose(limited[0, 0, 8:-8, 8:-8], 0.5, atol=2e-3)  # chance is larger at mirrored edges
    assert (tiles - limited)[0, 1].std() < 1.4 * 0.02


def test_limit_follows_signal_dependent_noise():
    truth = np.repeat(np.float32([0.1, 0.9]), 64)[None, None, None].repeat(128, axis=2)
    tiles = truth + noise(0.1, truth.shape)
    limited = limit_correction(truth, tiles, [NoiseVariance(0.01, 0.0)])  # sigma 0.03 in the dark, 0.095 in the light
    dark, light = (np.std((tiles - limited)[..., 16:-16, part]) for part in (slice(16, 40), slice(88, 112)))
    assert dark < 0.06
    assert light == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("height", [0.2, 40.0, -0.3])
def test_soft_limit_preserves_a_bead(height):
    """A network that flattens everything removes the noise, and no bead changes by 5 sigma."""
    sigma, tiles = 0.02, np.full((1, 1, 96, 96), 0.5, np.float32) + noise(0.02, (1, 1, 96, 96))
    tiles[..., 40, 50] += height
    limit = np.full_like(tiles, 5 * sigma)
    limited = tiles + limit * np.tanh((0.5 - tiles) / limit)
    unlimited = undo_soft_limit(limited, tiles, limit)
    result = limit_correction(limited, tiles, [WHITE], unlimited=unlimited)
    np.testing.assert_allclose(unlimited[0, 0, :20], 0.5, atol=1e-4)
    assert result[0, 0, 40, 50] == pytest.approx(tiles[0, 0, 40, 50], abs=0.1 * sigma)
    assert np.std(result[0, 0, :20]) < 0.1 * sigma


@pytest.mark.parametrize("height", [0.2, 0.5, 40.0, -0.3])
def test_erased_bead_is_restored(height):
    truth = np.full((1, 1, 96, 96), 0.5, np.float32)
    tiles = truth + noise(0.02, truth.shape)
    tiles[..., 40, 50] += height
    limited = limit_correction(truth, tiles, [WHITE])
    assert limited[0, 0, 40, 50] == pytest.approx(tiles[0, 0, 40, 50], abs=0.01 * abs(height))
    assert np.abs(limited[0, 0, :20] - 0.5).max() < 3e-3


@given(st.floats(0, 0.1), st.floats(0, 0.01), st.integers(0, 99))
def test_zero_correction_is_unchanged(gain, variance, seed):
    tiles = np.random.default_rng(seed).uniform(-0.2, 3, (1, 3, 40, 50)).astype(np.float32)
    limited = limit_correction(tiles, tiles, [NoiseVariance(gain, variance)] * 3, clipped=(-0.2, 3.0))
    np.testing.assert_array_equal(limited, tiles)


@pytest.mark.parametrize("photons", [0.5, 3.0, 10.0])
def test_low_photon_counts_keep_local_means(photons):
    """A network trained with L1 returns medians instead of means."""
    counts = np.random.default_rng(0).poisson(photons, (1, 1, 160, 160)).astype(np.float32)
    median = np.full_like(counts, np.floor(photons + 1 / 3 - 0.02 / photons))
    limited = limit_correction(median, counts, [NoiseVariance(1.0, 0.0)])
    for part in (np.s_[..., :80, :80], np.s_[..., 40:80, 100:140], np.s_[...]):
        assert limited[part].mean() == pytest.approx(counts[part].mean(), rel=0.04)
    assert limited.var() < 0.1 * counts.var()


@pytest.mark.parametrize("mean", [0.0, 0.02, 0.98])
def test_clipping_bias_of_the_mean_may_be_corrected(mean):
    truth = np.full((1, 1, 128, 128), mean, np.float32)
    tiles = np.clip(truth + noise(0.1), 0, 1)
    assert abs(tiles.mean() - mean) > 0.02
    whole = limit_correction(truth, tiles, [NoiseVariance(0.0, 0.01)])
    clipped = limit_correction(truth, tiles, [NoiseVariance(0.0, 0.01)], clipped=(0.0, 1.0))
    assert whole.mean() == pytest.approx(tiles.mean(), abs=0.01)
    assert clipped.mean() == pytest.approx(mean, abs=0.004)


def test_bright_regions_do_not_leak_into_dim_ones():
    truth = np.full((1, 1, 128, 128), 1.0, np.float32)
    truth[..., 64:] = 400.0
    counts = np.random.default_rng(0).poisson(truth).astype(np.float32)
    limited = limit_correction(0.995 * truth, counts, [NoiseVariance(1.0, 0.0)])
    assert limited[..., 30:60].mean() == pytest.approx(1.0, abs=0.1)


def test_given_noise_limits_the_correction():
    """A network that flattens everything removes no more than the given noise."""
    image = np.random.default_rng(0).normal(0.5, 0.1, (128, 128)).astype(np.float32)

    def run(given_noise):
        options = Options(noise=given_noise, intensity=(0.0, 1.0))
        prepared = prepare_array(open_image(image, axes="YX"), model=tiny_model(1), options=options, device="cpu")
        prepared.pipeline.runner = StandIn(lambda tiles, *_: np.full_like(tiles, 0.5))
        list(prepared.pipeline.run())
        return np.std(image - prepared.pipeline.sink.array)

    assert run("none") == pytest.approx(0.1, rel=0.05)
    assert run("sigma=0.01") < 0.014
    assert run("sigma=0.1") == pytest.approx(0.1, rel=0.05)


def test_limits_are_computed_on_the_cpu_if_memory_runs_out(monkeypatch):
    truth = np.full((1, 1, 64, 64), 0.5, np.float32)
    tiles = truth + noise(0.05, truth.shape)
    devices, transfer = [], limits.to_device

    def to_device(pixels, device):
        devices.append(device.type)
        if device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return transfer(pixels, device)

    monkeypatch.setattr(limits, "to_device", to_device)
    limited = limit_correction(truth, tiles, [WHITE], device=torch.device("cuda"))
    np.testing.assert_array_equal(limited, limit_correction(truth, tiles, [WHITE]))
    assert devices[:2] == ["cuda", "cpu"]


@pytest.mark.gpu
def test_gpu_limits_as_the_cpu_does():
    truth = np.linspace(0.0, 1.0, 300 * 300, dtype=np.float32).reshape(1, 1, 300, 300).repeat(3, axis=1)
    tiles = np.clip(truth + noise(0.1, truth.shape), 0, 1)
    models = [NoiseVariance(0.01, 0.001), NoiseVariance(0.0, 0.01), NoiseVariance(0.0, 0.0, 1e-5, 0.02)]
    ours, theirs = (
        limit_correction(truth, tiles, models, 0.5, (0.0, 1.0), device=torch.device(d)) for d in ("cuda", "cpu")
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def spots(height, width=1.2, side=128):
    """Return spots 32 pixels apart on nothing, [1, 1, side, side]."""
    image = np.zeros((side, side))
    image[16::32, 16::32] = height * 2 * np.pi * width**2
    return gaussian_filter(image, width)[None, None].astype(np.float32)


def test_light_of_faint_spots_is_put_back():
    """No pixel exceeds the noise by more than 2.2 sigma; a matched filter finds the spots at 9 sigma."""
    objects, sigma = spots(2.2 * 0.02), 0.02
    tiles = 0.5 + objects + noise(sigma, objects.shape)
    limited = limit_correction(np.full_like(tiles, 0.5), tiles, [WHITE])
    alone = limit_correction(np.full_like(tiles, 0.5), tiles - objects, [WHITE])
    near = objects > 0.1 * objects.max()
    assert 0.5 < (limited - alone)[near].sum() / objects[near].sum() < 1.1  # of a network that removes all of it
    assert np.std(alone) < 0.2 * sigma


@pytest.mark.parametrize("width", [0.0, 1.0, 2.0])
def test_noise_is_no_faint_object(width):
    """Neither that of the measured correlation, nor that of another one."""
    white = np.random.default_rng(1).normal(size=(512, 512))
    correlated = gaussian_filter(white, width) if width else white
    removed = torch.from_numpy((correlated / correlated.std()).astype(np.float32))[None, None]
    for measured in {0.0, width}:
        objects = faint_objects(removed, measured, torch.zeros(1, 1, 1, 1))
        assert objects is None or float(objects.square().mean()) < (0.003 if measured == width else 0.03)


@pytest.mark.parametrize("photons", [0.3, 1.0, 5.0])
def test_photon_noise_is_no_faint_object(photons):
    counts = np.random.default_rng(2).poisson(photons, (512, 512)).astype(np.float32)
    removed = torch.from_numpy((counts - photons) / np.sqrt(photons))[None, None].float()
    objects = faint_objects(removed, 0.0, torch.full((1, 1, 1, 1), photons**-0.5))
    assert objects is None or float(objects.square().mean()) < 0.003
