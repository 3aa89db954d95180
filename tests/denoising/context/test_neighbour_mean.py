"""Weighted means of planes: what is alike is averaged, and nothing else."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from masked_denoiser.denoising.context.average import average_neighbours
from masked_denoiser.denoising.context.neighbour_mean import REACH, NeighbourMean, PlaneNoise, relative_difference
from masked_denoiser.denoising.context.planes import ContextPlanes, PlaneNeighbours
from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.noise_treatment import NoiseTreatment
from masked_denoiser.images.planes import list_planes
from masked_denoiser.noise.variance_model import NoiseVariance

SIGMA = 0.1
NOISE = PlaneNoise([NoiseVariance(0.0, SIGMA**2)])


def texture(seed, side=96, channels=1):
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=(channels, side, side)), (0, 2, 2))
    return (0.5 + 0.2 * smooth / smooth.std()).astype(np.float32)


def with_noise(clean, seed, width=0.0):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=clean.shape), (0, width, width), mode="wrap")
    return (clean + SIGMA * noise / noise.std()).astype(np.float32)


@pytest.mark.parametrize("width", [0.0, 0.8])
def test_noise_falls_as_the_share_states(width):
    clean, noise = texture(0), PlaneNoise([NoiseVariance(0.0, SIGMA**2)], width)
    mean = NeighbourMean(with_noise(clean, 1, width), noise)
    for seed in range(2, 6):
        mean.add(with_noise(clean, seed, width))
    error = (mean.mean - clean) / (SIGMA * mean.sigma_share)
    assert error.std() == pytest.approx(1.0, abs=0.06)
    assert mean.sigma_share.mean() < 1.1 / np.sqrt(5)


@pytest.mark.parametrize("gain", [0.0, 0.02])
def test_difference_of_noise_alone_is_one(gain):
    clean, model = np.full((1, 160, 160), 0.5, np.float32), NoiseVariance(gain, SIGMA**2 - 0.5 * gain)
    difference = relative_difference(with_noise(clean, 1), with_noise(clean, 2), PlaneNoise([model]))
    assert difference.mean() == pytest.approx(1.0, abs=0.1)


def test_unrelated_planes_are_left_bitwise_alone():
    tile = with_noise(texture(0), 1)
    mean = NeighbourMean(tile, NOISE)
    for seed in range(2, 6):
        mean.add(with_noise(texture(seed), seed + 10))
    np.testing.assert_array_equal(mean.mean, tile)
    np.testing.assert_array_equal(mean.sigma_share, 1.0)


@pytest.mark.parametrize("channel", [0, 2])
def test_bead_of_a_neighbour_leaves_no_ghost(channel):
    y, x = np.mgrid[:96, :96] - 48.0
    bead = np.exp(-(y**2 + x**2) / (2 * 1.3**2))
    clean = texture(0, channels=3)
    neighbour = clean.copy()
    neighbour[channel] += 0.8 * bead
    tile, mean = with_noise(clean, 1), NeighbourMean(with_noise(clean, 1), NOISE)
    mean.add(with_noise(neighbour, 2))
    np.testing.assert_array_equal(mean.mean[:, bead > 0.2], tile[:, bead > 0.2])
    ghost = np.abs(gaussian_filter(mean.mean[channel] - clean[channel], 1.2))
    assert ghost.max() < 4 * SIGMA / np.sqrt(4 * np.pi * 1.2**2)  # as much as noise leaves of itself
    assert mean.sigma_share[0][np.hypot(y, x) > 20].mean() < 0.75  # and far from the bead, both planes are averaged


def test_pixels_farther_than_the_reach_do_not_matter():
    tile, other = with_noise(texture(0, 128), 1), with_noise(texture(0, 128), 2)
    changed = other.copy()
    changed[:, :20, :20] = 5.0
    results = []
    for neighbour in (other, changed):
        mean = NeighbourMean(tile, PlaneNoise([NoiseVariance(0.01, SIGMA**2)]))
        mean.add(neighbour)
        results.append(mean.mean)
    differs = results[0] != results[1]
    assert differs.any()
    # Running sums of a filter differ in the last digit along the rest of a line.
    np.testing.assert_allclose(results[0][:, 20 + REACH :, :], results[1][:, 20 + REACH :, :], atol=1e-6)
    np.testing.assert_allclose(results[0][:, :, 20 + REACH :], results[1][:, :, 20 + REACH :], atol=1e-6)
    assert not np.allclose(results[0][:, 20:, :], results[1][:, 20:, :], atol=1e-6)


def test_shared_noise_is_not_averaged_out():
    clean = texture(0)
    common = with_noise(np.zeros_like(clean), 1)
    planes = [clean + np.sqrt(np.float32(0.5)) * (common + with_noise(0 * clean, seed)) for seed in range(2, 7)]
    mean = NeighbourMean(planes[0], PlaneNoise([NoiseVariance(0.0, SIGMA**2)], shared=0.5))
    for other in planes[1:]:
        mean.add(other)
    assert (mean.mean - clean).std() == pytest.approx(SIGMA * mean.sigma_share.mean(), rel=0.06)
    assert mean.sigma_share.min() > np.sqrt(0.5 + 0.5 / 5) - 1e-6


def test_missing_pixels_and_other_ranges():
    clean = texture(0) * 1000
    own, other = (with_noise(clean / 1000, seed) * 1000 for seed in (1, 2))
    own[0, 10:20, 10:20], other[0, 40:50, 40:50] = np.nan, -9999.0
    scale, epoch = IntensityRange(0.0, 1000.0, 500.0, True), IntensityRange(100.0, 2000.0, 500.0, False, (-9999.0,))
    treatment = NoiseTreatment(noise=((0.0, SIGMA**2, 0.0, 0.0),))
    tile = scale.to_unit(own)
    mean = average_neighbours(own, tile, [(other, epoch)], scale, treatment, ContextPlanes("Z", 1), (0, 0))
    for hole in (np.s_[:, 10:20, 10:20], np.s_[:, 40:50, 40:50]):
        np.testing.assert_array_equal(mean.mean[hole], tile[hole])
        np.testing.assert_array_equal(mean.sigma_share[hole], 1.0)
    away = np.s_[:, 60:, 60:]
    equal = mean.sigma_share[away] < np.sqrt(0.5) + 1e-4  # where both have the same weight
    assert equal.mean() > 0.5
    np.testing.assert_allclose(mean.mean[away][equal], (own + other)[away][equal] / 2000, atol=0.05 * SIGMA)


def test_hot_pixels_are_replaced_in_neighbours():
    clean = texture(0)
    own, other = with_noise(clean, 1), with_noise(clean, 2)
    own[0, 30, 30] = other[0, 30, 30] = 9.0
    treatment = NoiseTreatment(noise=((0.0, SIGMA**2, 0.0, 0.0),), hot_pixels=((130, 230),))
    scale = IntensityRange(0.0, 1.0)
    mean = average_neighbours(own, own, [(other, scale)], scale, treatment, ContextPlanes("Z", 1), (100, 200))
    assert abs(mean.mean[0, 30, 30] - clean[0, 30, 30]) < 4 * SIGMA


def test_neighbours_are_the_nearest_planes_of_the_same_channel():
    planes = list(list_planes("TCZYX", {"T": 3, "C": 2, "Z": 4, "Y": 8, "X": 8}, rgb=False))
    plane = next(p for p in planes if p.index == (("T", 1), ("C", 1), ("Z", 0)))
    neighbours = PlaneNeighbours(planes)
    assert [dict(p.index) for p in neighbours.of(plane, ContextPlanes("Z", 2))] == [
        {"T": 1, "C": 1, "Z": 1},
        {"T": 1, "C": 1, "Z": 2},
    ]
    assert [dict(p.index)["T"] for p in neighbours.of(plane, ContextPlanes("T", 4))] == [0, 2]
    assert neighbours.of(plane, ContextPlanes("S", 1)) == ()
