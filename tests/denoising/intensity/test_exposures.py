"""Exposures are invertible, and each pixel depends only on its neighbours."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import maximum_filter

from masked_denoiser.denoising.intensity.exposures import REACH, expose

values = st.floats(-1e5, 1e6, width=32)
specks = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 23), values), max_size=8)


def scene(seed=0, shape=(2, 3, 20, 24)):
    return np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)


def apply_exposures(tiles, network=lambda seen: seen, first=0):
    return sum(one.weight * one.to_values(network(one.network_input)) for one in expose(tiles, first))


@given(specks, st.integers(0, 2))
def test_identity_round_trip(spots, first):
    tiles = scene()
    for y, x, value in spots:
        tiles[1, 2, y, x] = value
    away = np.abs(tiles).max()
    np.testing.assert_allclose(apply_exposures(tiles, first=first), tiles, rtol=1e-5, atol=1e-6 * max(away, 16))
    np.testing.assert_array_equal(apply_exposures(tiles)[0], tiles[0])  # the tile without specks


@given(arrays(np.float32, (1, 1, 9, 11), elements=values))
def test_network_input_is_within_0_and_1(tiles):
    exposures = expose(tiles)
    assert all(0 <= one.network_input.min() <= one.network_input.max() <= 1 for one in exposures)
    np.testing.assert_allclose(sum(one.weight for one in exposures), 1, atol=1e-5)


def test_bulk_of_the_image_has_one_exposure():
    tiles = scene()
    (only,) = expose(tiles)
    np.testing.assert_array_equal(only.network_input, tiles)


@given(st.integers(0, 39), st.integers(0, 39), values)
def test_speck_has_only_local_effect(y, x, value):
    """Use a network that changes its input pixel by pixel."""
    tiles = scene(shape=(1, 1, 40, 40))
    changed = tiles.copy()
    changed[0, 0, y, x] = value
    one, other = (apply_exposures(t, lambda seen: seen**2)[0, 0] for t in (tiles, changed))
    far = np.ones((40, 40), bool)
    far[max(0, y - REACH) : y + REACH + 1, max(0, x - REACH) : x + REACH + 1] = False
    np.testing.assert_allclose(one[far], other[far], rtol=0, atol=1e-6)


def test_every_pixel_has_an_unclipped_exposure():
    """On a bright object with a gradient, no neighbour of a pixel is clipped in its exposure."""
    tiles = np.geomspace(0.01, 1e4, 64, dtype=np.float32)[None, None, None].repeat(32, axis=2)
    exposures = expose(tiles)
    assert len(exposures) > 4
    for one in exposures:
        clipped = np.abs(one.to_values(one.network_input) - tiles) > 1e-3 * tiles + 1e-5
        neighbourhood = maximum_filter(clipped, (1, 1, 3, 3))
        assert not one.weight[neighbourhood].any()
