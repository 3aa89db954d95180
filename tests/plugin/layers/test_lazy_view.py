"""Tests of lazy levels of pyramids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.plugin.layers.lazy_view import LazyLevel, lazy_levels


@given(data=st.data())
def test_indices_in_turn_give_the_pixels_of_numpy(data):
    whole = np.arange(5 * 6 * 7).reshape(5, 6, 7)
    lazy, expected = LazyLevel(whole), whole
    for _ in range(3):
        key = []
        for side in expected.shape:
            slices = st.slices(side).filter(lambda k: k.step is None or k.step > 0)
            key.append(data.draw(st.one_of(slices, st.integers(-side, side - 1)) if side else slices))
        lazy, expected = lazy[tuple(key)], expected[tuple(key)]
        assert lazy.shape == expected.shape
    np.testing.assert_array_equal(np.asarray(lazy), expected)


def test_slices_are_read_when_they_are_converted():
    class Unreadable:
        shape, dtype = (9, 9), np.dtype("uint8")

        def __getitem__(self, key):
            assert key == (slice(3, 5, 1), slice(0, 9, 1))
            return np.ones((2, 9), "uint8")

    view = LazyLevel(Unreadable())[1:8][2:4]
    assert np.asarray(view).sum() == 18
    with pytest.raises(AssertionError):
        LazyLevel(Unreadable())[1:8, 3]
    with pytest.raises(IndexError):
        LazyLevel(Unreadable())[::-1]
    pixels = np.zeros((2, 2))
    assert lazy_levels([pixels])[0] is pixels
