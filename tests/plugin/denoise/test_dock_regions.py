"""Tests of regions, slices, pyramids and the copied command in a real viewer, with a tiny model."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

import masked_denoiser as md
from masked_denoiser.images.open import open_image
from masked_denoiser.images.selection import crop, parse_selection
from masked_denoiser.images.writers.downsample import halve
from masked_denoiser.plugin.writer import write_image
from tests.plugin.test_dock import OPTIONS, hidden, open_dock, viewer, wait_until_idle  # noqa: F401

BOX = np.array([[10.0, 70], [10, 110], [25, 110], [25, 70]])


@pytest.fixture
def stack() -> np.ndarray:
    return np.random.default_rng(0).integers(100, 900, (5, 32, 120), dtype=np.uint16)


def offset_of(layer, result):
    """Return the position of a result in its layer, in pixels."""
    return tuple(np.round(layer.world_to_data(result.data_to_world((0,) * result.ndim)), 6))


def test_rectangle_equals_same_region_of_full_result(viewer, open_dock, qtbot, stack):  # noqa: F811
    layer = viewer.add_image(
        stack, name="stack", scale=(2, 0.5, 0.25), translate=(1, 3, 4), units="um", colormap="magma"
    )
    viewer.add_shapes([BOX], shape_type="rectangle", name="box", scale=(0.5, 0.25), translate=(3, 4), units="um")
    viewer.layers.selection.active = layer
    dock = open_dock()
    assert [dock.region.itemText(i) for i in range(dock.region.count())][2:] == ["shapes layer box"]
    dock.region.setCurrentText("shapes layer box")
    dock.expert.fields["passes"].value = 2
    dock.expert.fields["std"].value = True
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    assert "Error" not in dock.messages.toPlainText()
    result, std = viewer.layers["stack denoised"], viewer.layers["stack standard deviation"]
    whole = md.denoise(stack, axes="ZYX", model="general-gray", options=OPTIONS, passes=2)
    np.testing.assert_array_equal(result.data, whole[:, 10:25, 70:110])
    assert offset_of(layer, result) == offset_of(layer, std) == (0, 10, 70)
    assert std.data.shape == result.data.shape
    assert (result.colormap.name, tuple(result.scale), result.units) == ("magma", (2, 0.5, 0.25), layer.units)


def test_slices_and_region_to_disk(viewer, open_dock, qtbot, stack, tmp_path):  # noqa: F811
    layer = viewer.add_image(stack, name="stack", scale=(2, 0.5, 0.25), translate=(1, 3, 4))
    viewer.add_shapes([BOX * (0.5, 0.25) + (3, 4)], shape_type="rectangle", name="box")
    viewer.layers.selection.active = layer
    dock = open_dock()
    viewer.dims.set_point(0, 1 + 2 * 3)
    dock.expert.slices.current_button.click()
    assert dock.expert.slices.text() == "Z=3"
    dock.preview_button.click()
    wait_until_idle(dock, qtbot)
    assert offset_of(layer, viewer.layers["stack preview"])[0] == 3
    dock.region.setCurrentText("shapes layer box")
    dock.output.kind.setCurrentText("OME-Zarr on disk")
    dock.output.path.setText(str(tmp_path / "part.ome.zarr"))
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    assert "Error" not in dock.messages.toPlainText()
    result = viewer.layers["stack denoised"]
    part = crop(open_image(stack, axes="ZYX"), parse_selection("Z=3,Y=10:25,X=70:110"))
    expected = md.denoise(part, model="general-gray", options=OPTIONS)
    np.testing.assert_array_equal(np.asarray(result.data), expected)
    assert "slices: Z=3; region: rows 10 to 25, columns 70 to 110" in dock.messages.toPlainText()
    assert offset_of(layer, result) == (3, 10, 70)
    with open_image(tmp_path / "part.ome.zarr") as written:
        assert written.origin == {"Z": 7.0, "Y": 8.0, "X": 21.5}


def test_large_result_is_pyramid_aligned_with_layer(viewer, open_dock, qtbot):  # noqa: F811
    fine = np.random.default_rng(0).integers(0, 256, (300, 64), dtype=np.uint8)
    levels = [da.from_array(fine, chunks=(97, 41)), da.from_array(fine[::2, ::2])]
    turn = {"scale": (0.5, 0.25), "translate": (3, 4), "rotate": 30, "affine": np.diag([2.0, 3, 1])}
    layer = viewer.add_image(levels, multiscale=True, contrast_limits=(10, 200), name="fine", **turn)
    viewer.add_shapes([np.array([[5.0, 0], [5, 64], [295, 64], [295, 0]])], shape_type="rectangle", name="box", **turn)
    viewer.layers.selection.active = layer
    dock = open_dock()
    expected = md.denoise(fine, model="general-gray", axes="YX", options=OPTIONS)
    for region, rows in (("whole image", slice(0, 300)), ("shapes layer box", slice(5, 295))):
        dock.region.setCurrentText(region)
        dock.denoise_button.click()
        wait_until_idle(dock, qtbot)
        result = viewer.layers[1]
        assert result.multiscale
        np.testing.assert_array_equal(result.data[0], expected[rows])
        np.testing.assert_array_equal(result.data[1], halve(expected[rows], 0, 1))
        assert offset_of(layer, result) == (rows.start, 0)
        np.testing.assert_allclose(result.affine.affine_matrix, layer.affine.affine_matrix)
        assert result.contrast_limits == layer.contrast_limits
    assert "Error" not in dock.messages.toPlainText()


def test_command_is_copied_to_clipboard(viewer, open_dock, plane, tmp_path):  # noqa: F811
    viewer.add_image(plane, name="unsaved")
    dock = open_dock()
    dock.copy_button.click()
    assert "layer 'unsaved' was not opened from a file; save it first" in dock.messages.toPlainText()
    path = tmp_path / "a plane.ome.tif"
    write_image(str(path), plane, {"name": "plane"})
    (layer,) = viewer.open(str(path), plugin="napari-masked-denoiser")
    viewer.layers.selection.active = layer
    dock.copy_button.click()
    line = f"masked-denoiser denoise '{path}' '{tmp_path}/a plane denoised.ome.zarr' --noise none --tile 64"
    assert QApplication.clipboard().text() == line
    assert f"copied: {line}" in dock.messages.toPlainText()


def test_suggested_path_follows_the_name_of_the_layer(viewer, open_dock, plane):  # noqa: F811
    layer, dock = viewer.add_image(plane, name="first"), open_dock()
    dock.output.kind.setCurrentText("OME-Zarr on disk")
    layer.name = "second"
    assert dock.output.path.text().endswith("second denoised.ome.zarr")
    dock.output.path.setText("/data/mine.ome.zarr")
    layer.name = "third"
    assert dock.output.path.text() == "/data/mine.ome.zarr"


def test_slice_fields_follow_layer_axes(viewer, open_dock, plane):  # noqa: F811
    viewer.add_image(plane)
    slices = open_dock().expert.slices
    assert all(field.isHidden() for field in slices.ranges.values())
    viewer.add_image(np.zeros((2, 5, 9, 9), np.uint8), axis_labels=("t", "z", "y", "x"))
    assert [letter for letter, field in slices.ranges.items() if not field.isHidden()] == ["T", "Z"]
    slices.ranges["Z"].setText("1:3")
    assert slices.text() == "Z=1:3"
    viewer.add_image(np.zeros((2, 5, 9, 9), np.uint8), axis_labels=("t", "z", "y", "x"))
    assert slices.text() == ""
