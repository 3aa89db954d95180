import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.errors import PlanError
from masked_denoiser.tiling.groups import TileGroups, batches
from masked_denoiser.tiling.plan import Plan, chunk_side

sizes = st.tuples(st.integers(1, 200), st.integers(1, 200))
plans = st.builds(
    lambda size, tile, halo, window: Plan(size, tile * window, halo * window, window),
    sizes,
    st.integers(1, 8),
    st.integers(0, 6),
    st.sampled_from([2, 4, 8]),
)


@given(plans)
def test_every_pixel_is_written_once(plan):
    written = np.zeros(plan.size, int)
    for tile in plan:
        written[tile.core[0].index, tile.core[1].index] += 1
    assert (written == 1).all()


@given(plans)
def test_tiles_stay_on_the_window_grid_within_the_image(plan):
    for tile in plan:
        for core, read, pad, side in zip(tile.core, tile.read, tile.pad, plan.size, strict=True):
            assert read.start % plan.window == 0
            assert (len(read) + pad) % plan.window == 0
            assert 0 <= read.start <= core.start < core.stop <= read.stop <= side
            # The halo is complete unless the image ends there; only there is it padded.
            assert read.start == 0 or core.start - read.start >= plan.halo
            assert read.stop == side or read.stop - core.stop == plan.halo
            assert pad == 0 or read.stop == side
            assert pad < len(read) or read.start == 0


@given(plans, st.integers(1, 9))
def test_batches_hold_all_tiles_in_order_and_one_shape(plan, size):
    groups = list(batches(plan, size))
    assert [tile.number for group in groups for tile in group] == list(range(len(plan)))
    assert all(len(group) <= size and len({tile.shape for tile in group}) == 1 for group in groups)


@given(plans, st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_groups_hold_each_tile_once_and_fill_their_rectangle(plan, sides):
    groups = TileGroups(plan, sides)
    assert sorted(tile.number for group in groups for tile in group.tiles) == list(range(len(plan)))
    assert sum(group.area for group in groups) == plan.size[0] * plan.size[1]
    for group in groups:
        assert groups[group.number] == group
        rows, columns = group.core
        corners = [(tile.core[0].start, tile.core[1].start) for tile in group.tiles]
        assert min(corners) == (rows.start, columns.start)
        assert sum(len(t.core[0]) * len(t.core[1]) for t in group.tiles) == group.area
        # No two groups write into the same square of this grid.
        assert rows.start % (sides[0] * plan.tile) == columns.start % (sides[1] * plan.tile) == 0


@given(plans, st.integers(1, 4), st.integers(0, 5), st.integers(0, 5))
def test_group_within_a_range_is_the_intersection(plan, side, first, last):
    rows, columns = range(first, first + last), range(last, last + first)
    for group in TileGroups(plan, (side, side)):
        kept = {t.number for t in group.within(rows, columns).tiles}
        places = {t.number: divmod(t.number, plan.grid[1]) for t in group.tiles}
        assert kept == {n for n, (row, column) in places.items() if row in rows and column in columns}


def test_plan_of_a_huge_slide_is_lazy():
    plan = Plan((100_000, 100_000), 256, 32, 8)
    assert len(plan) == 391 * 391
    last = plan[-1]
    assert (last.core[0].stop, last.core[1].stop) == (100_000, 100_000)
    assert plan[:2][1].read[1].start == 256 - 32


@given(st.integers(1, 300).map(lambda n: 8 * n))
def test_cores_end_on_chunk_borders(tile):
    side = chunk_side(tile)
    assert tile % side == 0
    assert 128 <= side <= 512 or side == tile
    assert side % 16 == 0 or tile % 16


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((0, 5), 64, 8, 8), "0 x 5 pixels"),
        (((9, 9), 60, 8, 8), "tile side 60"),
        (((9, 9), 0, 8, 8), "tile side 0"),
        (((9, 9), 64, 7, 8), "halo 7"),
        (((9, 9), 64, -8, 8), "halo -8"),
    ],
)
def test_invalid_plans_are_refused(arguments, words):
    with pytest.raises(PlanError, match=words):
        Plan(*arguments)
