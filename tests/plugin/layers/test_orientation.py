"""Flipped, rotated and affine layers: right sizes and orientation on disk, and the same place in the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Image

from masked_denoiser.images.lazy_arrays import FlippedArray
from masked_denoiser.images.open import open_image
from masked_denoiser.plugin.layers.orientation import flip_source, layer_geometry
from masked_denoiser.plugin.layers.source import layer_source
from masked_denoiser.plugin.writer import write_image

PIXELS = np.arange(24, dtype="uint8").reshape(4, 6)


@pytest.mark.parametrize(
    ("settings", "sizes", "flipped", "rotated"),
    [
        ({"scale": (0.5, 2)}, (0.5, 2), (), False),
        ({"scale": (-0.5, 2)}, (0.5, 2), (0,), False),
        ({"affine": np.diag([3, -4, 1.0])}, (3, 4), (1,), False),
        ({"scale": (-1, 1), "affine": np.diag([-2, 2, 1.0])}, (2, 2), (), False),
        ({"scale": (2, 2), "rotate": 180}, (2, 2), (0, 1), False),
        ({"scale": (2, 3), "rotate": 30}, (2, 3), (), True),
        ({"scale": (2, 3), "shear": [0.5]}, (2, np.hypot(1.5, 3)), (), True),
    ],
)
def test_geometry(settings: dict[str, Any], sizes: tuple[float, ...], flipped: tuple[int, ...], rotated: bool) -> None:
    geometry = layer_geometry(Image(PIXELS, **settings))
    np.testing.assert_allclose(geometry.sizes, sizes)
    assert (geometry.flipped, geometry.rotated) == (flipped, rotated)


@given(
    st.sets(st.integers(0, 1)), st.integers(0, 3), st.builds(slice, st.integers(0, 6), st.integers(0, 7), st.just(2))
)
def test_flipped_array(flipped: set[int], row: int, columns: slice) -> None:
    expected = np.flip(PIXELS, tuple(flipped))
    view = FlippedArray(PIXELS, tuple(flipped))
    np.testing.assert_array_equal(np.asarray(view), expected)
    np.testing.assert_array_equal(view[row, columns], expected[row, columns])


@given(
    st.sampled_from([-2.0, -0.5, 0.5, 3.0]),
    st.sampled_from([-1.5, 2.0]),
    st.tuples(st.integers(0, 3), st.integers(0, 5)),
)
def test_each_pixel_keeps_its_place(scale_y: float, scale_x: float, pixel: tuple[int, int]) -> None:
    layer = Image(PIXELS, scale=(scale_y, scale_x), translate=(10, 20), units=("um", "um"))
    source = layer_source(layer)
    oriented = flip_source(source, "".join(source.axes[i] for i in layer_geometry(layer).flipped), {})
    at = tuple(int(i[0]) for i in np.nonzero(np.asarray(oriented.data[...]) == PIXELS[pixel]))
    world = [oriented.origin.get(a, 0.0) + i * oriented.pixel_size[a] for a, i in zip("YX", at, strict=True)]
    np.testing.assert_allclose(world, layer.data_to_world(pixel))


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_writer_stores_flipped_layers_as_they_are_seen(tmp_path: Path, suffix: str) -> None:
    layer = Image(PIXELS, scale=(-0.5, 0.25), affine=np.diag([2, 2, 1.0]), units=("um", "um"), name="flipped")
    data, meta, _ = layer.as_layer_data_tuple()
    write_image(str(tmp_path / f"out{suffix}"), data, meta)
    with open_image(tmp_path / f"out{suffix}") as source:
        np.testing.assert_array_equal(np.asarray(source.data[...]), PIXELS[::-1])
        assert source.pixel_size == {"Y": 1.0, "X": 0.5}


def test_writer_warns_about_rotated_layers(tmp_path: Path) -> None:
    data, meta, _ = Image(PIXELS, rotate=30, name="turned").as_layer_data_tuple()
    with pytest.warns(UserWarning, match="layer 'turned' is rotated or sheared"):
        write_image(str(tmp_path / "out.ome.zarr"), data, meta)
