"""Tests of conversions between files, layers and sources, without a window."""

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Image

from masked_denoiser.images.open import open_image
from masked_denoiser.plugin.layers.source import layer_axes, layer_source, result_state
from masked_denoiser.plugin.layers.view_region import slider_position
from masked_denoiser.plugin.layers.world import viewer_to_data
from masked_denoiser.plugin.reader import get_reader, read
from masked_denoiser.plugin.sample_data import noisy_slide, noisy_stack
from masked_denoiser.plugin.writer import write_image


def pixels(shape, dtype="uint16"):
    return np.random.default_rng(0).integers(0, 255, shape).astype(dtype)


def kinds():
    plane, stack, colour = pixels((40, 50)), pixels((5, 40, 50)), pixels((40, 50, 3), "uint8")
    stored = zarr.array(stack, chunks=(1, 20, 20))
    return {
        "plane": (Image(plane), "YX", plane),
        "stack": (Image(stack), "ZYX", stack),
        "labelled": (Image(stack, axis_labels=("t", "y", "x")), "TYX", stack),
        "rgb": (Image(colour, rgb=True), "YXS", colour),
        "three planes are not rgb": (Image(pixels((40, 50, 3)), rgb=False), "ZYX", pixels((40, 50, 3))),
        "pyramid": (Image([plane, plane[::2, ::2]], multiscale=True), "YX", plane),
        "dask": (Image(da.from_array(stack, chunks=(1, 20, 20))), "ZYX", stack),
        "zarr": (Image(stored), "ZYX", stack),
    }


@pytest.mark.parametrize("kind", kinds())
def test_layers_are_read_at_full_resolution(kind):
    layer, axes, expected = kinds()[kind]
    source = layer_source(layer)
    assert (source.axes, source.shape, source.rgb) == (axes, expected.shape, kind == "rgb")
    np.testing.assert_array_equal(np.asarray(source.data[:]), expected)


def test_pixel_size_from_layer_scale_and_units():
    layer = Image(pixels((5, 40, 50)), scale=(2, 0.5, 0.25), units=("um", "um", "um"), colormap="green", gamma=0.5)
    source = layer_source(layer)
    assert source.pixel_size == {"Z": 2.0, "Y": 0.5, "X": 0.25}
    assert set(source.units.values()) == {"micrometer"}
    again = Image(pixels((5, 40, 50)), **result_state(layer))
    assert (again.colormap.name, again.gamma, tuple(again.scale)) == ("green", 0.5, (2, 0.5, 0.25))
    assert again.units == layer.units


def test_axes_are_guessed_only_without_labels():
    assert layer_axes(Image(pixels((5, 40, 50)))).guessed
    assert not layer_axes(Image(pixels((5, 40, 50)), axis_labels=("t", "y", "x"))).guessed


def test_samples_open_lazily():
    ((slide, settings, _),) = noisy_slide()
    assert settings["rgb"]
    assert settings["contrast_limits"] == (0.0, 255.0)
    first = slide[0] if isinstance(slide, list) else slide
    assert isinstance(first, da.Array)
    ((_stack, settings, _),) = noisy_stack()
    assert len(settings["name"]) == len(settings["contrast_limits"]) == 2
    assert settings["units"] == ("micrometer",) * 3


def test_reader_accepts_only_readable_paths(tmp_path):
    (tmp_path / "folder").mkdir()
    assert get_reader(str(tmp_path / "folder")) is None
    assert get_reader([str(tmp_path / "a.tif")]) is None
    assert get_reader(str(tmp_path / "a.tif")) is read


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.ome.tif"])
@pytest.mark.parametrize("kind", ["stack", "rgb", "pyramid", "dask"])
def test_layer_round_trip(tmp_path, kind, name):
    layer, _, expected = kinds()[kind]
    layer.scale = (0.5,) * layer.ndim
    path = tmp_path / name
    data, meta, _ = layer.as_layer_data_tuple()
    assert write_image(str(path), data, meta) == [str(path)]
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with open_image(path) as source:
        stored = np.asarray(source.data[:])
        assert source.pixel_size["Y"] == source.pixel_size["X"] == 0.5
        moved = np.moveaxis(stored, source.axes.index("C"), -1) if "C" in source.axes else stored
        np.testing.assert_array_equal(moved, expected)


def test_layer_is_saved_over_its_own_file(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels((40, 50)))
    ((data, settings, _),) = read(str(path))
    layer = Image(data, **settings)
    write_image(str(path), *layer.as_layer_data_tuple()[:2])
    np.testing.assert_array_equal(tifffile.imread(path), pixels((40, 50)))


@pytest.mark.parametrize("unit", ["um", "mm"])
def test_positions_in_a_viewer_are_converted_to_the_units_of_a_layer(unit):
    viewer = ViewerModel()
    for name, size in (("um", 2.0), ("mm", 0.002)):
        viewer.add_image(pixels((6, 40, 50)), name=name, scale=(size, size, size), units=name)
    layer = viewer.layers[unit]
    viewer.dims.set_current_step(0, 3)
    assert slider_position(viewer, layer, "ZYX") == {"Z": 3}
    other = viewer.layers["um"]  # in whose units the viewer shows both
    corner = viewer_to_data(viewer, layer, np.array(other.data_to_world((2, 7, 9))))
    np.testing.assert_allclose(corner, (2, 7, 9))
