"""Growing results: the input is shown where nothing has been written, at every level and for every index."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.downsample import halve
from masked_denoiser.jobs.pipeline.events import Progress, TileDone
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.plugin.layers.live_result import LiveBackground, LiveRegion, live_in_memory
from masked_denoiser.plugin.layers.merged_array import DoneTiles, MergedArray, NearestArray
from masked_denoiser.tiling.plan import Span

PROGRESS = Progress(0, 1, 0, 0, 0.0)
#: An index into an axis of at least 7 positions.
KEY = st.one_of(st.integers(0, 6), st.builds(slice, st.integers(0, 6), st.integers(0, 9), st.integers(1, 3)))


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 3)), max_size=8),
    st.tuples(st.integers(0, 1) | st.just(slice(None)), KEY, KEY),
)
@settings(max_examples=200, deadline=None)
def test_any_index_shows_result_or_input(tiles: list[tuple[int, int, int]], key: tuple[Any, ...]) -> None:
    shape, tile = (2, 11, 14), 4
    source = np.arange(2 * 11 * 14).reshape(shape)
    result, done, expected = source + 1000, DoneTiles("ZYX", shape, tile), source.copy()
    for z, row, column in tiles:
        done.add(Plane((("Z", z),)), row * tile, column * tile, (tile, tile))
        part = (z, slice(row * tile, row * tile + tile), slice(column * tile, column * tile + tile))
        expected[part] = result[part]
    np.testing.assert_array_equal(MergedArray(result, source, "ZYX", done)[key], expected[key])


def test_colours_of_a_plane_are_done_together() -> None:
    done = DoneTiles("YXS", (8, 8, 4), 4)
    done.add(Plane((), "S", 0, 3), 0, 4, (4, 4))
    merged = np.asarray(MergedArray(np.ones((8, 8, 4)), np.zeros((8, 8, 4)), "YXS", done))
    assert merged[:4, 4:, :3].all()
    assert merged.sum() == 4 * 4 * 3


@given(st.integers(1, 40), st.integers(1, 40))
def test_nearest_neighbour_reads_every_size(stored: int, side: int) -> None:
    shown = np.asarray(NearestArray(np.arange(stored), (side,)))
    np.testing.assert_array_equal(shown, np.arange(side) * stored // side)
    np.testing.assert_array_equal(NearestArray(np.arange(stored), (side,))[side // 2 :: 2], shown[side // 2 :: 2])


def tile_at(y: int, x: int, pixels: np.ndarray) -> TileDone:
    return TileDone(Plane(), y, x, pixels[None, y : y + 64, x : x + 64], PROGRESS)


def test_every_level_shows_the_input_until_tiles_are_done() -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (1000, 700)).astype("uint8")
    source, clean = Source(pixels, "YX"), pixels + np.uint8(50)
    array = np.zeros_like(pixels)
    live = live_in_memory(array, source, True, LiveBackground(source, tile=64))
    assert all(np.asarray(level).any() for level in live.layer_levels("YX"))
    np.testing.assert_array_equal(np.asarray(live.layer_levels("YX")[0]), pixels)
    for y, x in ((0, 0), (960, 640)):
        array[y : y + 64, x : x + 64] = clean[y : y + 64, x : x + 64]
        live.add(tile_at(y, x, clean))
    shown = live.layer_levels("YX")
    np.testing.assert_array_equal(np.asarray(shown[0])[:64, :64], clean[:64, :64])
    np.testing.assert_array_equal(np.asarray(shown[0])[64:960], pixels[64:960])
    np.testing.assert_array_equal(np.asarray(shown[1])[:32, :32], halve(clean[:64, :64], 0, 1))
    np.testing.assert_array_equal(np.asarray(shown[-1])[:16, :16], halve(halve(clean[:64, :64], 0, 1), 0, 1))
    np.testing.assert_array_equal(np.asarray(live.finished_levels("YX")[0]), array)


def test_levels_of_a_pyramid_are_shown_instead_of_its_full_resolution() -> None:
    class Unreadable:
        shape, dtype = (40_000, 40_000), np.dtype("uint8")

        def __getitem__(self, _: Any) -> Any:
            raise AssertionError("the full resolution was read")

    coarse = np.full((1250, 1250), 9, "uint8")
    background = LiveBackground(Source(Unreadable(), "YX"), (Unreadable(), coarse))
    level = background.level((1250, 1250), "YX")
    assert level is coarse


def test_large_plain_layers_are_shown_in_overviews() -> None:
    pixels = np.broadcast_to(np.uint16(500), (8400, 8400))
    for data in (pixels, da.from_array(pixels, chunks=2048)):
        background = LiveBackground(open_image(data, axes="YX"))
        assert (np.asarray(background.level((132, 132), "YX")[...]) == 500).all()


def test_region_of_a_stack_shows_its_input() -> None:
    stack = np.arange(3 * 40 * 40).reshape(3, 40, 40)
    array = np.zeros((1, 20, 30), stack.dtype)
    region = Region((("Z", 2),), Span(10, 30), Span(5, 35))
    live = LiveRegion(array, Source(stack, "ZYX"), region, 16, pyramid=False)
    (shown,) = live.layer_levels("ZYX")
    np.testing.assert_array_equal(np.asarray(shown), stack[2:, 10:30, 5:35])
    array[...] = -1
    live.add(TileDone(Plane((("Z", 2),)), 16, 16, np.zeros((1, 16, 16), stack.dtype), PROGRESS))
    done = np.asarray(shown)[0] == -1
    assert done[6:20, 11:27].all()
    assert done.sum() == 14 * 16
