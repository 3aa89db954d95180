"""Tests of the pixels of a split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masked_denoiser.plugin.compare.split_array import SplitArray, SplitLine


@settings(max_examples=100, deadline=None)
@given(
    position=st.integers(-20, 100).map(lambda quarters: quarters / 4),
    half_width=st.sampled_from([0.0, 0.4, 1.0, 3.0]),
    axis=st.integers(0, 2),
    factor=st.sampled_from([1.0, 2.0, 3.5]),
    data=st.data(),
)
def test_split_shows_before_line_and_after(position, half_width, axis, factor, data):
    shape = (4, 6, 3)
    before, after = np.full(shape, 10, np.uint8), np.full(shape, 20, np.uint8)
    split = SplitArray(before, after, axis, factor, SplitLine(position, half_width, 99))
    centres = (np.arange(shape[axis]) + 0.5) * factor - 0.5  # in pixels of the full resolution
    expected = np.where(centres < position, 10, 20)
    first = int(np.ceil((position - half_width + 0.5) / factor - 0.5))  # drawn at least one pixel wide
    is_first = np.arange(shape[axis]) == first
    expected[is_first | ((centres >= position - half_width) & (centres < position + half_width))] = 99
    whole = np.moveaxis(np.broadcast_to(expected, (*np.delete(shape, axis), shape[axis])), -1, axis)
    np.testing.assert_array_equal(split[...], whole)
    start = data.draw(st.integers(0, shape[axis] - 1))
    key = [slice(None)] * 3
    key[axis] = slice(start, data.draw(st.integers(start + 1, shape[axis])))
    np.testing.assert_array_equal(split[tuple(key)], whole[tuple(key)])


@pytest.mark.parametrize(("dtype", "drawn"), [("uint8", 255), ("int8", 127), ("uint16", 300), ("bool", True)])
def test_line_is_drawn_in_the_range_of_the_dtype(dtype, drawn):
    pixels = np.zeros((2, 4), dtype)
    assert SplitArray(pixels, pixels, 1, 1.0, SplitLine(2.0, 0.5, 300.0))[0].tolist() == [0, 0, drawn, 0]
