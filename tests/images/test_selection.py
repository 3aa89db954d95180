"""Selections: pixels, origin and metadata, and their place in a job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models.v05
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.errors import ImageError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.selection import Selection, crop, parse_selection
from masked_denoiser.images.source import AXES, Source
from masked_denoiser.images.writers.create import create_sink
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.resolve import make_job

PIXELS = np.random.default_rng(0).integers(0, 999, (3, 2, 4, 30, 20), dtype=np.uint16)


def spans(side: int) -> st.SearchStrategy[tuple[int, int | None]]:
    """Return ranges of an axis; either end may be counted from the end of the axis."""

    def to(start: int) -> st.SearchStrategy[tuple[int, int | None]]:
        ends = st.integers(start + 1, side).flatmap(lambda stop: st.sampled_from([stop, (stop - side) or None]))
        return st.tuples(st.sampled_from([start, start - side]), st.none() | ends)

    return st.integers(0, side - 1).flatmap(to)


@st.composite
def selections(draw: st.DrawFn, sizes: dict[str, int]) -> Selection:
    letters = draw(st.sets(st.sampled_from(list(sizes))))
    return Selection(tuple((a, *draw(spans(sizes[a]))) for a in AXES if a in letters))


def keys(selection: Selection, axes: str) -> tuple[slice, ...]:
    cut = {letter: slice(start, stop) for letter, start, stop in selection.spans}
    return tuple(cut.get(letter, slice(None)) for letter in axes)


def index(draw: Any, side: int) -> int | slice:
    ends = st.none() | st.integers(-side - 2, side + 2)
    return draw(st.integers(-side, side - 1) | st.builds(slice, ends, ends, st.none() | st.integers(1, 3)))


@given(st.data())
def test_selection_matches_numpy_slicing(data: Any) -> None:
    source = Source(PIXELS, "TCZYX")
    selection = data.draw(selections(source.sizes))
    part, expected = crop(source, selection), PIXELS[keys(selection, "TCZYX")]
    assert part.shape == expected.shape
    assert "-" not in part.selection
    key = tuple(index(data.draw, side) for side in part.shape)
    np.testing.assert_array_equal(part.data[key], expected[key])
    few = key[: data.draw(st.integers(0, 4))]
    np.testing.assert_array_equal(part.data[(*few, ...)], expected[(*few, ...)])


@given(st.data())
def test_nested_selection_matches_single_selection(data: Any) -> None:
    source = Source(PIXELS, "TCZYX", pixel_size={"Z": 2.0, "Y": 0.5}, channel_names=("a", "b"))
    first = crop(source, data.draw(selections(source.sizes)))
    second = crop(first, data.draw(selections(first.sizes)))
    direct = crop(source, parse_selection(second.selection))
    np.testing.assert_array_equal(second.data[...], direct.data[...])
    assert (second.origin, second.selection, second.channel_names) == (
        direct.origin,
        direct.selection,
        direct.channel_names,
    )


@pytest.mark.parametrize(
    ("text", "stored"), [("Z=-1", "Z=3"), ("z=-3:", "Z=1:4"), ("Z=:-1", "Z=0:3"), ("Z=-3:3", "Z=1:3")]
)
def test_negative_positions_count_from_the_end(text: str, stored: str) -> None:
    assert crop(Source(PIXELS, "TCZYX"), parse_selection(text)).selection == stored


@given(selections(dict.fromkeys(AXES, 50)))
def test_selection_text_round_trip(selection: Selection) -> None:
    assert parse_selection(str(selection)) == selection


def test_only_selected_pixels_are_read() -> None:
    class Watched:
        shape, dtype, read = (10**6, 10**6), np.dtype(np.uint8), 0

        def __getitem__(self, key: Any) -> Any:
            rows, columns = (range(side)[k] for k, side in zip(key, self.shape, strict=True))
            Watched.read += len(rows) * len(columns)
            return np.zeros((len(rows), len(columns)), np.uint8)

    part = crop(Source(Watched(), "YX"), parse_selection("y=5000:6000, X=7:"))
    assert part.data[:10, 5:25].shape == (10, 20)
    assert Watched.read == 200


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Z=4", "Z=4 extends beyond the image; Z has positions 0 to 3"),
        ("Y=10:31", "Y=10:31 extends beyond the image; Y has positions 0 to 29"),
        ("S=0", "S=0 cannot be selected, its axes are TCZYX; leave S out"),
        ("Z=-5", "Z=-5 extends beyond the image; Z has positions 0 to 3"),
        ("Z=-9:2", "Z=-9:2 extends beyond the image"),
        ("Z=-2:1", "Z=-2:1 is empty, it ends at 1; give a stop after the start"),
        ("Z=2:-2", "Z=2:-2 is empty, it ends at 2"),
        ("Z=-1:-1", "'Z=-1:-1' is empty; give a stop after the start"),
        ("Z=--1", "'Z=--1' is not a range of an axis"),
        ("Z=-", "'Z=-' is not a range of an axis"),
        ("Z=0:4:2", "'Z=0:4:2' is not a range of an axis"),
        ("Q=1", "'Q=1' is not a range of an axis"),
        ("Z=3:3", "'Z=3:3' is empty; give a stop after the start"),
        ("Z=1,Z=2", "names Z twice"),
        ("Z=1,", "'' is not a range of an axis"),
    ],
)
def test_invalid_selection_is_refused(text: str, why: str) -> None:
    with pytest.raises(ImageError, match=why.replace("(", r"\(")):
        crop(Source(PIXELS, "TCZYX"), parse_selection(text))


def test_metadata_is_cropped_with_the_pixels() -> None:
    sizes, units = {"T": 2.0, "X": 0.5}, {"T": "second", "X": "micrometer"}
    source = Source(PIXELS, "TCZYX", pixel_size=sizes, units=units, channel_names=("a", "b"), origin={"X": 7.0})
    part = crop(source, parse_selection("X=4:10,T=1:,C=1,Y=3:9,Z=:"))
    assert (part.pixel_size, part.units, part.channel_names) == (sizes, units, ("b",))
    assert part.origin == {"T": 2.0, "Y": 3.0, "X": 9.0}
    assert part.selection == "T=1:3,C=1,Y=3:9,X=4:10"
    assert len(part.levels) == 1
    assert crop(source, parse_selection("Y=0:30")) is source


@pytest.mark.parametrize(("text", "rgb"), [("Y=0:5", True), ("S=0:3", True), ("S=1", False), ("S=0:2", False)])
def test_rgb_requires_all_samples(text: str, rgb: bool) -> None:
    source = Source(np.zeros((20, 30, 3), np.uint8), "YXS", rgb=True)
    assert crop(source, parse_selection(text)).rgb is rgb


@pytest.mark.parametrize("level", [0, 1])
def test_output_keeps_its_origin(tmp_path: Path, level: int) -> None:
    source = Source(
        np.zeros((2, 700, 600), np.uint8), "ZYX", pixel_size={"Y": 0.5, "X": 0.25}, units={"X": "micrometer"}
    )
    part = crop(source, parse_selection("Z=1,Y=100:,X=8:"))
    path = tmp_path / "part.ome.zarr"
    sink = create_sink(path, part, chunk=64)
    for plane in list_planes(part.axes, part.sizes, part.rgb):
        sink.write(plane, 0, 0, part.read(plane, slice(0, 600), slice(0, 592)))
    sink.finish()
    sink.close()
    ome_zarr_models.v05.Image.from_zarr(zarr.open_group(path, mode="r"))
    with open_image(path, level=level) as again, open_image(path) as whole:
        shift = {"Y": 50 + level * 0.25, "X": 2 + level * 0.125, "Z": 1.0}
        assert again.origin == shift
        assert open_image(whole, level=level).origin == shift
        assert open_image(replace(whole, selection="Z=1"), level=level).selection == "Z=1"


def test_selection_uses_noise_of_its_whole_planes():
    """A small selection has too few pixels to measure noise, so that the treatment is that of its whole planes."""
    rng = np.random.default_rng(0)
    image = np.clip(rng.normal(120, 20, (3, 256, 256)), 0, 255).astype(np.uint8)
    image[1] = 120 + (np.arange(256) // 32)  # a slice without noise
    source = open_image(image, axes="ZYX")
    whole = make_job(crop(source, parse_selection("Z=0")), tiny_model(), Options(tile=64), "cpu")
    part = make_job(crop(source, parse_selection("Z=0,Y=8:40,X=100:130")), tiny_model(), Options(tile=64), "cpu")
    assert part.treatments == whole.treatments
    assert part.noise == whole.noise
    assert make_job(crop(source, parse_selection("Z=1,Y=8:40")), tiny_model(), Options(), "cpu").noise != whole.noise
