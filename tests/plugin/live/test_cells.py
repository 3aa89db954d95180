"""Tests of the order of cells, of their cache, and of levels that show them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from masked_denoiser.plugin.live.cell_cache import CellCache, LiveLevel
from masked_denoiser.plugin.live.cells import View, cell_side, next_rectangle, visible_cells
from masked_denoiser.tiling.plan import Span

GRIDS = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))
CENTRES = st.tuples(st.floats(0, 9), st.floats(0, 9))


@given(missing=GRIDS, centre=CENTRES, most=st.integers(1, 30))
def test_rectangles_cover_missing_cells_once(missing, centre, most):
    left = missing.copy()
    while (part := next_rectangle(left, centre, most)) is not None:
        key = tuple(slice(cells.start, cells.stop) for cells in part)
        assert left[key].all()
        assert 1 <= left[key].size <= most
        nearest = min((y + 0.5 - centre[0]) ** 2 + (x + 0.5 - centre[1]) ** 2 for y, x in np.argwhere(left))
        inside = [(y + 0.5 - centre[0]) ** 2 + (x + 0.5 - centre[1]) ** 2 for y in part[0] for x in part[1]]
        assert min(inside) == pytest.approx(nearest)
        left[key] = False
    assert not left.any()


# The middle four cells of 4 x 4 come first, and leave four edges.
@pytest.mark.parametrize(("missing", "most", "count"), [(np.ones((3, 4)), 12, 1), (np.ones((4, 4)), 4, 5)])
def test_rectangles_are_as_large_as_allowed(missing, most, count):
    left, rectangles = missing.astype(bool), 0
    while (part := next_rectangle(left, (2.0, 2.0), most)) is not None:
        left[part[0].start : part[0].stop, part[1].start : part[1].stop] = False
        rectangles += 1
    assert rectangles == count


@pytest.mark.parametrize("window", [8, 64, 96, 192])
def test_cells_begin_on_window_grid(window):
    assert cell_side(window) % window == 0
    assert 128 <= cell_side(window) < 128 + window


def test_visible_cells_overlap_view():
    view = View(0, (), Span(127, 256), Span(128, 129))
    assert visible_cells(view, 128) == (range(2), range(1, 2))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_level_shows_cells_over_source(data):
    """Compare any block of a level with the whole array, into which the cells were pasted."""
    axes = data.draw(st.sampled_from(["YX", "ZYX", "YXS", "CZYX", "XYZ"]))
    sides = {"Y": 11, "X": 9, "Z": 3, "C": 2, "S": 3}
    shape = tuple(sides[letter] for letter in axes)
    whole = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    cache, colour = CellCache(10**6), "S" if "S" in axes else ""
    level = LiveLevel(0, whole.copy(), axes, cache)
    level.set_cells(4, colour)
    outer = [letter for letter in axes if letter not in ("Y", "X", colour)]
    for _ in range(data.draw(st.integers(0, 5))):
        position = tuple((letter, data.draw(st.integers(0, sides[letter] - 1))) for letter in outer)
        row, column = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
        spans = {"Y": slice(4 * row, 4 * row + 4), "X": slice(4 * column, 4 * column + 4)}
        spans |= {letter: slice(index, index + 1) for letter, index in position}
        key = tuple(spans.get(letter, slice(None)) for letter in axes)
        whole[key] = data.draw(st.integers(1000, 2000))
        cache.add((0, position, row, column), whole[key].copy())
    index = []
    for side in shape:
        start = data.draw(st.integers(0, side - 1))
        stop = data.draw(st.integers(start + 1, side))
        index.append(data.draw(st.sampled_from([start, slice(start, stop), slice(None), slice(start, stop, 2)])))
    np.testing.assert_array_equal(level[tuple(index)], whole[tuple(index)])


def test_cache_forgets_least_recently_used():
    cache, cell = CellCache(3 * 100), np.zeros(100, np.uint8)
    for column in range(3):
        cache.add((0, (), 0, column), cell)
    cache.get((0, (), 0, 0))
    cache.add((0, (), 0, 3), cell)
    assert cache.nbytes == 300
    assert cache.missing(0, (), range(1), range(4)).tolist() == [[False, True, False, False]]
    cache.add((0, (), 0, 3), cell)  # again
    assert cache.nbytes == 300
