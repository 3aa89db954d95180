"""Noise whose strength differs from place to place is found, with any tiles, and is not mistaken for edges."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from masked_denoiser.denoising.intensity.ranges import measure_ranges
from masked_denoiser.denoising.noise_by_place import PLACE_REACH, place_factors
from masked_denoiser.denoising.noise_settings import resolve_noise
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.models.catalogue import load_model

SIDE, SIGMA = 320, np.float32(0.03)


def noise(width, seed=0):
    field = np.random.default_rng(seed).normal(size=(SIDE, SIDE))
    field = gaussian_filter(field, width) if width else field
    return field / field.std()


def factors(pixels, width=0.0, origin=(0, 0)):
    return place_factors(np.float32(pixels)[None, None], np.full((1, 1, 1, 1), SIGMA), width, (origin,))[0, 0]


@pytest.mark.parametrize("width", [0.0, 0.7, 1.2])
def test_strength_of_each_place_is_found(width):
    stronger_to_the_right = np.linspace(0.7, 1.1, SIDE)
    found = factors(0.5 + SIGMA * stronger_to_the_right * noise(width), width)
    np.testing.assert_allclose(found[:, 40:-40].mean(axis=0), stronger_to_the_right[40:-40], rtol=0.1)
    assert np.abs(found / stronger_to_the_right - 1)[:, 40:-40].max() < 0.35


def test_edges_are_not_noise():
    image = np.zeros((SIDE, SIDE))
    image[:, 100:] = 0.4
    image[150:170] = 0.8
    np.testing.assert_allclose(factors(image + SIGMA * noise(0)).mean(), factors(SIGMA * noise(0)).mean(), atol=0.025)


@pytest.mark.parametrize("origin", [(0, 64), (72, 8), (40, 104)])
def test_factors_do_not_depend_on_tiles(origin):
    pixels = 0.5 + SIGMA * np.linspace(0.7, 1.1, SIDE) * noise(0.7)
    part = tuple(slice(start, start + 200) for start in origin)
    inner = slice(PLACE_REACH, 200 - PLACE_REACH)
    of_tile, of_image = factors(pixels[part], 0.7, origin), factors(pixels, 0.7)[part]
    np.testing.assert_array_equal(of_tile[inner, inner], of_image[inner, inner])


@pytest.mark.parametrize(("modality", "expected"), [("ct", True), ("other", False)])
def test_noise_follows_the_place_in_tomography(modality, expected):
    source = open_image(np.float32(100 + 10 * noise(0.7)), axes="YX")
    planes = list(list_planes(source.axes, source.sizes, source.rgb))
    ranges = measure_ranges(source, planes)
    choice = resolve_noise("sigma=10", source, planes, ranges, load_model("general-gray"), 0, modality=modality)
    assert [treatment.by_place for treatment in choice.treatments.values()] == [expected]


def test_noise_of_colours_is_not_averaged():
    colours = np.float32([[0.5 + SIGMA * noise(0, seed) for seed in range(3)]])
    found = place_factors(colours, np.full((1, 1, 1, 1), SIGMA), 0.0, ((0, 0),))
    assert found.mean() == pytest.approx(1, abs=0.03)
