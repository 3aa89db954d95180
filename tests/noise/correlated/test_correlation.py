"""Spatially correlated noise is distinguished from structure."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage import data

from masked_denoiser.noise.blocks import DILATIONS, measure_blocks, residual
from masked_denoiser.noise.correlated import correlation
from masked_denoiser.noise.correlated.blur_fit import fit_blur, residual_share
from masked_denoiser.noise.correlated.correlation import MIN_CONFIDENCE, measure_correlation
from masked_denoiser.noise.estimation import estimate_channel, estimate_channels
from masked_denoiser.noise.flat_regions.variance_bins import flat_blocks

SIDE = 320


def unit(noise):
    return noise / noise.std()


def white(seed=0, shape=(SIDE, SIDE)):
    return np.random.default_rng(seed).normal(size=shape)


def scene(seed=0):
    """Return smooth content [SIDE, SIDE] within 0 and 1, with flat regions."""
    image = gaussian_filter(white(seed + 100), 14)
    return np.clip(0.5 + 0.3 * image / image.std(), 0.02, 0.98)


def measure(image):
    blocks = measure_blocks([image])
    return measure_correlation(blocks, flat_blocks(blocks))


@pytest.mark.parametrize(("width", "length"), [(0.5, 2), (0.8, 3), (1.2, 4)])
def test_blurred_noise_is_recognised_as_noise(width, length):
    image = scene() + 0.05 * unit(gaussian_filter(white(), width))
    found = estimate_channel([image])[0]
    assert found.confidence >= MIN_CONFIDENCE
    assert abs(found.correlation - length) <= 1
    assert found.width == pytest.approx(width, abs=0.12)
    assert found.sigma == pytest.approx(0.05, rel=0.15)
    assert not found.suspected


@pytest.mark.parametrize("side", [2, 3])
def test_box_filtered_noise_gives_the_box_side(side):
    found = measure(scene() + 0.05 * unit(uniform_filter(white(), side)))
    assert found.confidence >= MIN_CONFIDENCE
    assert found.box in (side, 0)
    assert found.length in (side, side + 1)


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.2])
def test_white_noise_is_uncorrelated(sigma):
    found = estimate_channel([scene() + sigma * white()])[0]
    assert (found.correlation, found.width, found.suspected) == (1, 0.0, 0.0)
    assert found.sigma == pytest.approx(sigma, rel=0.1)


y, x = np.mgrid[:SIDE, :SIDE]
STRUCTURES = {
    "grating": scene() + 0.05 * np.sin(2 * np.pi * (x + 0.6 * y) / 6),
    "dots": scene() + 0.08 * (np.sin(2 * np.pi * x / 7) * np.sin(2 * np.pi * y / 7)),
    "texture alone": 0.5 + 0.05 * unit(gaussian_filter(white(), 0.8)),
    "tissue, red": data.immunohistochemistry()[..., 0] / 255,
    "tissue, green": data.immunohistochemistry()[..., 1] / 255,
    "tissue, blue": data.immunohistochemistry()[..., 2] / 255,
    "bricks": data.brick()[:SIDE, :SIDE] / 255,
    "grass": data.grass()[:SIDE, :SIDE] / 255,
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_is_not_mistaken_for_noise(name):
    found = estimate_channel([STRUCTURES[name]], step=1 / 255)[0]
    assert found.correlation == 1
    assert found.width == found.box == 0
    assert found.sigma < 0.5 * max(found.suspected, 0.02)


def test_texture_shared_by_colours_is_not_noise():
    colour = np.float64([1.0, 0.7, 0.5])[:, None, None]
    image = scene() * colour
    texture = 0.05 * unit(gaussian_filter(white(), 0.8)) * colour
    noise = np.stack([0.05 * unit(gaussian_filter(white(seed), 0.8)) for seed in (3, 4, 5)])
    assert all(found.correlation == 1 for found, _ in estimate_channels([image + texture]))
    own = [found for found, _ in estimate_channels([image + noise])]
    assert all(found.correlation > 1 and found.sigma == pytest.approx(0.05, rel=0.2) for found in own)


@pytest.mark.parametrize("blur", [(0.0, 0), (0.7, 0), (0.9, 0), (0.544, 2), (0.816, 3)])
def test_blur_model_matches_blurred_noise(blur):
    width, box = blur
    big = white(0, (900, 900))
    noise = unit(uniform_filter(big, box, mode="wrap") if box else gaussian_filter(big, width, mode="wrap"))
    seen = np.array([residual(noise, spread).var() for spread in DILATIONS])
    np.testing.assert_allclose(seen, residual_share(width, box), rtol=0.05, atol=0.002)
    found = fit_blur(np.sqrt(seen / seen[0]))
    assert (found.width, found.box) == (pytest.approx(width, abs=0.06), box)
    assert found.structure < 0.01


def fibres(count, seed=0, side=SIDE):
    """Return straight fibres 2.4 pixels wide, so dense that no background is left."""
    rng = np.random.default_rng(seed)
    image = np.zeros((side, side))
    for _ in range(count):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.7, 0.7) * side
        away = (x - side / 2) * np.cos(angle) + (y - side / 2) * np.sin(angle) - offset
        image += rng.uniform(0.3, 1) * np.exp(-(away**2) / 2)
    return image / image.max()


@pytest.mark.parametrize("count", [150, 400, 1500])
@pytest.mark.parametrize("seed", range(3))
def test_dense_fibres_are_not_mistaken_for_noise(count, seed):
    image = fibres(count, seed) + 0.002 * white(seed)
    assert estimate_channel([image])[0].correlation == 1


@pytest.mark.parametrize("width", [0.0, 0.5, 1.0, 1.5])
def test_noise_has_the_expected_coherence(width):
    noise = gaussian_filter(white(0, (900, 900)), width, mode="wrap")
    expected = correlation._COHERENCE + correlation._COHERENCE_OF_BLUR * width**2
    assert measure_blocks([unit(noise)]).coherence.mean() == pytest.approx(expected, abs=0.012)


def estimate_with_neighbour(first, second):
    """Return the noise estimate of one plane, given its neighbour."""
    return estimate_channels([first[None]], neighbours=[(np.stack([first, second]), None)])[0][0]


def test_static_planes_separate_texture_from_noise():
    texture = scene() + 0.05 * unit(gaussian_filter(white(), 0.8))
    assert estimate_channel([texture])[0].correlation > 1  # without neighbours it looks like noise
    found = estimate_with_neighbour(texture + 0.01 * white(1), texture + 0.01 * white(2))
    assert (found.correlation, found.suspected) == (1, 0.0)
    assert found.sigma == pytest.approx(0.01, rel=0.1)


def test_static_planes_reveal_noise_among_fibres():
    image = fibres(400)
    noise = [0.04 * unit(gaussian_filter(white(seed), 0.8)) for seed in (1, 2)]
    assert estimate_channel([image + noise[0]])[0].correlation == 1
    found = estimate_with_neighbour(image + noise[0], image + noise[1])
    assert found.correlation == 3
    assert found.sigma == pytest.approx(0.04, rel=0.15)


def test_unrelated_planes_do_not_change_the_estimate():
    first, second = (fibres(400, seed) + 0.002 * white(seed) for seed in (1, 2))
    assert estimate_with_neighbour(first, second) == estimate_channel([first])[0]
