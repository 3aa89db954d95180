"""Tests of the Denoise dock in a real viewer, with a tiny model."""

from __future__ import annotations

import json
import re
import threading
from unittest.mock import patch

import numpy as np
import pytest
import zarr
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

import masked_denoiser as md
from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.downsample import halve
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.last_settings import remember_settings, settings_file
from masked_denoiser.plugin.denoise.task import LayerUpdate
from masked_denoiser.plugin.denoise_dock import DenoiseDock
from masked_denoiser.plugin.writer import write_image
from masked_denoiser.version import program_version

TIMEOUT = 120_000

#: The planes of the fixtures take 4 tiles.
OPTIONS = md.Options(tile=64, noise="none")

off_screen = pytest.mark.usefixtures("hidden")


@pytest.fixture
def hidden() -> None:
    """Keep the viewer off the screen."""


@pytest.fixture
def viewer(make_napari_viewer, models, request):
    """Return a viewer, which is visible unless the test uses the fixture `hidden`.

    Mesa's software OpenGL crashes when something is drawn after a layer was removed, also without this plugin
    (napari 0.9.2, vispy 0.17): tests that remove layers draw nothing.
    """
    return make_napari_viewer(show="hidden" not in request.fixturenames)


@pytest.fixture
def open_dock(viewer, qtbot):
    """Return a function that opens the dock and waits until its survey of the image has ended."""
    opened = []

    def open_() -> DenoiseDock:
        dock = DenoiseDock(viewer)
        viewer.window.add_dock_widget(dock, name="Denoise")
        opened.append(dock)
        dock.expert.fields["tile"].value = OPTIONS.tile
        dock.expert.noise.setCurrentText(OPTIONS.noise)
        qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)
        return dock

    yield open_
    for dock in opened:
        dock.presenter.stop()
    qtbot.waitUntil(lambda: job_threads() == [], timeout=TIMEOUT)


def wait_until_idle(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)


def job_threads():
    return [thread for thread in threading.enumerate() if thread.name == "masked-denoiser"]


def test_denoises_to_new_layer(viewer, open_dock, qtbot, rgb):
    layer = viewer.add_image(rgb, name="slide", scale=(0.5, 0.25), translate=(3, 4), units="um", gamma=0.8, opacity=0.7)
    dock = open_dock()
    dock.model.setCurrentText("tiny-rgb")
    dock.denoise_button.click()
    assert dock.cancel_button.isEnabled()
    assert not dock.denoise_button.isEnabled()
    wait_until_idle(dock, qtbot)
    result = viewer.layers["slide denoised"]
    np.testing.assert_array_equal(result.data, md.denoise(rgb, model="tiny-rgb", options=OPTIONS))
    assert not np.array_equal(result.data, rgb)
    assert (result.visible, layer.visible, result.multiscale) == (True, False, False)
    for attribute in ("rgb", "gamma", "opacity", "units", "axis_labels", "blending"):
        assert getattr(result, attribute) == getattr(layer, attribute), attribute
    np.testing.assert_allclose(result.extent.world, layer.extent.world)
    text = dock.messages.toPlainText()
    assert "computing on" in text
    assert "Done: layer 'slide denoised', 4 tiles in" in text
    assert "Error" not in text
    assert dock.denoise_button.isEnabled()
    assert job_threads() == []


def test_preview_is_aligned_and_equals_full_result(viewer, open_dock, qtbot, monkeypatch):
    monkeypatch.setattr("masked_denoiser.plugin.layers.view_region.MAX_PREVIEW_SIDE", 128)
    stack = np.random.default_rng(0).integers(100, 900, (5, 40, 200), dtype=np.uint16)
    layer = viewer.add_image(stack, name="stack", scale=(2, 0.5, 0.5), translate=(1, 2, 3), colormap="magma")
    viewer.dims.set_current_step(0, 2)
    dock = open_dock()
    dock.model.setCurrentText("tiny-gray")
    for _ in range(2):  # the second replaces the first
        dock.preview_button.click()
        wait_until_idle(dock, qtbot)
    assert [other.name for other in viewer.layers] == ["stack", "stack preview"]
    preview = viewer.layers["stack preview"]
    assert viewer.layers.selection.active is layer
    start = np.round(layer.world_to_data(preview.data_to_world((0, 0, 0)))).astype(int)
    assert (start[0], preview.data.shape[0]) == (2, 1)
    assert preview.data.shape == (1, 40, 128)
    y, x = start[1:]
    whole = md.denoise(stack, model="tiny-gray", axes="ZYX", options=OPTIONS)
    height, width = preview.data.shape[1:]
    np.testing.assert_array_equal(preview.data[0], whole[2, y : y + height, x : x + width])
    assert preview.colormap.name == "magma"
    assert preview.contrast_limits == layer.contrast_limits
    assert re.search(r"pixels (in|around the centre of the) view, at Z 2", dock.messages.toPlainText())


@pytest.mark.parametrize(("kind", "suffix"), [("OME-Zarr on disk", ".ome.zarr"), ("OME-TIFF on disk", ".ome.tif")])
def test_denoises_to_disk(viewer, open_dock, qtbot, rgb, tmp_path, kind, suffix):
    layer = viewer.add_image(rgb, name="slide", scale=(0.5, 0.25), units="um")
    dock = open_dock()
    dock.model.setCurrentText("tiny-rgb")
    dock.output.kind.setCurrentText(kind)
    assert dock.output.path.text().endswith(f"slide denoised{suffix}")
    dock.output.path.setText(str(tmp_path / "clean"))
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    output = tmp_path / f"clean{suffix}"
    assert f"Done: {output}, 4 tiles in" in dock.messages.toPlainText()
    result = viewer.layers["slide denoised"]
    expected = md.denoise(rgb, model="tiny-rgb", options=OPTIONS)
    np.testing.assert_array_equal(np.asarray(result.data), expected)
    assert result.rgb
    np.testing.assert_allclose(result.extent.world, layer.extent.world)
    with open_image(output) as written:
        assert written.pixel_size == {"Y": 0.5, "X": 0.25}
        assert written.units == {"Y": "micrometer", "X": "micrometer"}
        assert written.rgb
    assert not Journal.path_for(output).exists()


@pytest.mark.parametrize("output", ["New layer", "OME-Zarr on disk"])
def test_pyramid_is_denoised_to_pyramid(viewer, open_dock, qtbot, tmp_path, output):
    fine = np.random.default_rng(0).integers(0, 256, (290, 100), dtype=np.uint8)
    levels = [zarr.array(fine, chunks=(64, 64)), zarr.array(fine[::2, ::2])]
    viewer.add_image(levels, multiscale=True, contrast_limits=(0, 255), name="pyramid")
    dock = open_dock()
    dock.output.kind.setCurrentText(output)
    dock.output.path.setText(str(tmp_path / "clean.ome.zarr"))
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    result = viewer.layers["pyramid denoised"]
    expected = md.denoise(fine, model="tiny-gray", options=OPTIONS)
    assert result.multiscale
    np.testing.assert_array_equal(result.data[0], expected)
    np.testing.assert_array_equal(result.data[1], halve(expected, 0, 1))
    assert "Error" not in dock.messages.toPlainText()


def test_input_is_never_overwritten(viewer, open_dock, qtbot, plane, tmp_path):
    path = tmp_path / "input.ome.tif"
    write_image(str(path), plane, {"name": "input"})
    before = path.read_bytes()
    viewer.open(str(path), plugin="napari-masked-denoiser")
    dock = open_dock()
    dock.output.kind.setCurrentText("OME-TIFF on disk")
    assert dock.output.path.text() == str(tmp_path / "input denoised.ome.tif")
    dock.output.path.setText(str(path))
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    assert "Error" in dock.messages.toPlainText()
    assert "the input" in dock.messages.toPlainText()
    assert path.read_bytes() == before


def test_overwriting_an_output_needs_confirmation(viewer, open_dock, qtbot, plane, tmp_path):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.output.kind.setCurrentText("OME-TIFF on disk")
    output = tmp_path / "there.ome.tif"
    output.write_bytes(b"precious")
    dock.output.path.setText(str(output))
    with patch.object(dock, "ask") as ask:
        dock.denoise_button.click()
        wait_until_idle(dock, qtbot)
    ask.assert_not_called()
    assert "there.ome.tif was not written by this program, which does not replace it" in dock.messages.toPlainText()
    assert output.read_bytes() == b"precious"
    output.unlink()
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    written = output.read_bytes()
    with patch.object(dock, "ask", return_value="Stop") as ask:
        dock.denoise_button.click()
        wait_until_idle(dock, qtbot)
    ask.assert_called_once_with(f"{output} exists.", "Overwrite", "Stop")
    assert output.read_bytes() == written
    with patch.object(dock, "ask", return_value="Overwrite"):
        dock.denoise_button.click()
        wait_until_idle(dock, qtbot)
    with open_image(output) as written:
        assert written.shape == plane.shape


def test_cancelled_job_on_disk_resumes(viewer, open_dock, qtbot, plane, tmp_path, paused_after_tile):
    tile_done, proceed = paused_after_tile
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.output.kind.setCurrentText("OME-Zarr on disk")
    output = tmp_path / "clean.ome.zarr"
    dock.output.path.setText(str(output))
    dock.denoise_button.click()
    qtbot.waitUntil(tile_done.is_set, timeout=TIMEOUT)
    dock.cancel_button.click()
    proceed.set()
    wait_until_idle(dock, qtbot)
    # Tiles that were being computed when Cancel was pressed are written, too.
    assert re.search(rf"Cancelled: [1-3] of 4 tiles are kept in {re.escape(str(output))}", dock.messages.toPlainText())
    assert Journal.path_for(output).exists()
    assert dock.denoise_button.isEnabled()
    with patch.object(dock, "ask", return_value="Resume") as ask:
        dock.denoise_button.click()
        wait_until_idle(dock, qtbot)
    assert ask.call_args.args[1:] == ("Resume", "Start again", "Stop")
    written = zarr.open_array(output / "0", mode="r")[:]
    np.testing.assert_array_equal(written, md.denoise(plane, model="tiny-gray", options=OPTIONS))
    assert [layer.name for layer in viewer.layers] == ["plane", "plane denoised"]


def test_resume_with_another_image_is_refused(viewer, open_dock, qtbot, plane, tmp_path, paused_after_tile):
    tile_done, proceed = paused_after_tile
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.output.kind.setCurrentText("OME-TIFF on disk")
    output = str(tmp_path / "clean.ome.tif")
    dock.output.path.setText(output)
    dock.denoise_button.click()
    qtbot.waitUntil(tile_done.is_set, timeout=TIMEOUT)
    dock.cancel_button.click()
    proceed.set()
    wait_until_idle(dock, qtbot)
    viewer.add_image(255 - plane, name="negative")
    assert dock.layer.currentText() == "negative"
    dock.output.path.setText(output)
    with patch.object(dock, "ask", return_value="Resume"):
        dock.denoise_button.click()
        wait_until_idle(dock, qtbot)
    assert "Error: cannot resume another job: " in dock.messages.toPlainText()
    assert "the input has changed (its pixels)" in dock.messages.toPlainText()


def test_result_layer_is_updated_during_job(viewer, open_dock, qtbot, plane, paused_after_tile):
    tile_done, proceed = paused_after_tile
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.denoise_button.click()
    qtbot.waitUntil(lambda: tile_done.is_set() and "plane denoised" in viewer.layers, timeout=TIMEOUT)
    qtbot.waitUntil(lambda: "1 of 4 tiles" in dock.progress_label.text(), timeout=TIMEOUT)
    growing = viewer.layers["plane denoised"]
    shown = np.asarray(growing.data)
    assert not np.array_equal(shown[:64, :64], plane[:64, :64])
    np.testing.assert_array_equal(shown[64:], plane[64:])  # not denoised yet
    proceed.set()
    wait_until_idle(dock, qtbot)
    assert viewer.layers["plane denoised"] is growing
    assert isinstance(growing.data, np.ndarray)
    assert not np.array_equal(growing.data[64:], plane[64:])


def test_result_of_a_failed_job_is_marked_and_not_judged(viewer, open_dock, qtbot, plane, monkeypatch):
    def fail_late(request, cancel):
        yield LayerUpdate("result", (plane.copy(),))
        raise OSError("share disconnected")

    viewer.add_image(plane, name="late")
    dock = open_dock()
    monkeypatch.setattr("masked_denoiser.plugin.denoise.task.denoise", fail_late)
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    assert "share disconnected" in dock.messages.toPlainText()
    assert "late denoised (incomplete)" in viewer.layers
    dock.removed_button.click()
    wait_until_idle(dock, qtbot)
    assert "'late denoised (incomplete)' is not complete" in dock.messages.toPlainText()


@off_screen
def test_removing_layer_cancels_job(viewer, open_dock, qtbot, plane, paused_after_tile):
    tile_done, proceed = paused_after_tile
    layer = viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.denoise_button.click()
    qtbot.waitUntil(tile_done.is_set, timeout=TIMEOUT)
    viewer.layers.remove(layer)
    proceed.set()
    wait_until_idle(dock, qtbot)
    text = dock.messages.toPlainText()
    assert re.search(r"'plane' was removed: [1-3] of 4 tiles stay in layer 'plane denoised .incomplete.'", text)
    assert "Error" not in text
    assert job_threads() == []


@off_screen
def test_removing_result_cancels_job_in_memory(viewer, open_dock, qtbot, plane, paused_after_tile):
    tile_done, proceed = paused_after_tile
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.denoise_button.click()
    qtbot.waitUntil(lambda: tile_done.is_set() and "plane denoised" in viewer.layers, timeout=TIMEOUT)
    viewer.layers.remove("plane denoised")
    proceed.set()
    wait_until_idle(dock, qtbot)
    assert "Cancelled, because its result was removed: nothing is kept." in dock.messages.toPlainText()


def test_closing_dock_cancels_job(viewer, open_dock, qtbot, plane, paused_after_tile):
    tile_done, proceed = paused_after_tile
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.denoise_button.click()
    qtbot.waitUntil(tile_done.is_set, timeout=TIMEOUT)
    assert len(job_threads()) == 1
    proceed.set()
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: job_threads() == [], timeout=TIMEOUT)


@off_screen
def test_closing_napari_cancels_job(viewer, open_dock, qtbot, plane, paused_after_tile):
    tile_done, proceed = paused_after_tile
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.denoise_button.click()
    qtbot.waitUntil(tile_done.is_set, timeout=TIMEOUT)
    proceed.set()
    viewer.close()
    qtbot.waitUntil(lambda: job_threads() == [], timeout=TIMEOUT)


def test_errors_are_shown_and_dock_stays_usable(viewer, open_dock, qtbot, plane, tmp_path):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.expert.fields["std"].value = True
    dock.expert.noise.setCurrentText("sigma=-1")
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    assert "Error: noise 'sigma=-1': gain, read and sigma cannot be negative" in dock.messages.toPlainText()
    dock.expert.noise.setCurrentText(OPTIONS.noise)
    dock.messages.clear()
    dock.expert.axes.setText("ZYX")
    dock.denoise_button.click()
    assert "Error: array: axes 'ZYX' do not fit shape (100, 120)" in dock.messages.toPlainText()
    assert [layer.name for layer in viewer.layers] == ["plane"]
    dock.expert.axes.setText("YX")
    dock.expert.fields["passes"].value = 2
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    assert [layer.name for layer in viewer.layers] == ["plane", "plane denoised", "plane standard deviation"]
    assert viewer.layers[-1].data.max() > 0


def test_clean_image_is_left_alone_until_the_user_insists(viewer, open_dock, qtbot):
    clean = np.repeat(np.arange(120, dtype=np.uint8)[None], 100, axis=0)
    layer = viewer.add_image(clean, name="clean")
    dock = open_dock()
    dock.expert.noise.setCurrentText("auto")
    for button in (dock.preview_button, dock.denoise_button):
        button.click()
        wait_until_idle(dock, qtbot)
        assert list(viewer.layers) == [layer]
        assert dock.banner.isVisible()
        assert "no noise above the rounding of its values" in dock.banner.label.text()
    other = viewer.add_image(255 - clean, name="other")
    assert not dock.banner.isVisible()  # it was about another layer
    viewer.layers.remove(other)
    viewer.layers.selection.active = layer
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    assert re.search(r"standard deviation of 0\.?\d*", dock.banner.label.text())
    dock.banner.button.click()
    wait_until_idle(dock, qtbot)
    np.testing.assert_array_equal(viewer.layers["clean denoised"].data, md.denoise(clean, axes="YX", options=OPTIONS))
    assert not dock.banner.isVisible()


def test_settings_of_a_result_can_be_repeated(viewer, open_dock, qtbot, plane):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.model.setCurrentText("tiny-gray")
    dock.expert.fields["passes"].value = 2
    dock.expert.low.setText("10")
    dock.expert.high.setText("300.5")
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    record = viewer.layers["plane denoised"].metadata["masked_denoiser"]
    assert (record["model"], record["version"]) == ("tiny-gray", program_version())
    assert record["job"]["passes"] == 2
    before = dock.form()
    dock.model.setCurrentText("general-gray")
    dock.expert.show_options(md.Options(), "cpu")
    dock.expert.repeat_button.click()
    assert "select a layer that this dock has denoised" in dock.messages.toPlainText()
    viewer.layers.selection.active = viewer.layers["plane denoised"]
    dock.expert.repeat_button.click()
    assert dock.form() == before


def test_notes_of_a_layer_are_shown(viewer, open_dock, plane):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    assert not dock.notes.isVisible()
    viewer.add_image(np.stack([plane] * 3), name="stack", metadata={"notes": ["image 1 of 2 was opened"]})
    assert dock.notes.text() == (
        "image 1 of 2 was opened\nits axes are taken to be CYX; correct them in the expert settings if they are not"
    )
    assert dock.notes.isVisible()


@pytest.mark.parametrize("kind", ["gray", "rgb", "stack"])
def test_removed_noise_is_shown_and_judged(viewer, open_dock, qtbot, kind):
    y, x = np.mgrid[:200, :260]
    clean = 120 + 50 * np.sin(x / 25) * np.cos(y / 31)
    shape = {"gray": (200, 260), "rgb": (200, 260, 3), "stack": (2, 200, 260)}[kind]
    clean = np.broadcast_to(clean[..., None] if kind == "rgb" else clean, shape)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 12, shape), 0, 255).astype(np.uint8)
    layer = viewer.add_image(noisy, name="noisy", rgb=kind == "rgb", scale=(0.5,) * (2 + (kind == "stack")))
    dock = open_dock()
    assert not dock.removed_button.isEnabled()
    for button in (dock.preview_button, dock.denoise_button):
        button.click()
        wait_until_idle(dock, qtbot)
        dock.removed_button.click()
        wait_until_idle(dock, qtbot)
        assert re.search(r"What was removed .*\(standard deviation \d", dock.messages.toPlainText())
        removed = viewer.layers["noisy removed"]
        assert [other.name for other in viewer.layers if other.visible] == ["noisy removed"]
        assert removed.colormap.name == "PiYG"
        assert removed.contrast_limits[0] == -removed.contrast_limits[1]
    result = viewer.layers["noisy denoised"]
    expected = noisy.astype(float) - result.data
    np.testing.assert_allclose(
        np.asarray(removed.data), expected.mean(axis=-1) if kind == "rgb" else expected, atol=1e-3
    )
    np.testing.assert_allclose(removed.data_to_world((0,) * layer.ndim), layer.data_to_world((0,) * layer.ndim))
    assert "Error" not in dock.messages.toPlainText()


def test_dock_from_the_menu_hides_what_it_has_denoised(viewer, qtbot, plane, models):
    """napari gives such a dock a proxy of the viewer, which wraps each layer anew."""
    layer = viewer.add_image(plane, name="plane")
    _, dock = viewer.window.add_plugin_dock_widget("napari-masked-denoiser", "Denoise")
    wait_until_idle(dock, qtbot)
    dock.expert.noise.setCurrentText("none")
    for button in (dock.preview_button, dock.denoise_button):
        button.click()
        wait_until_idle(dock, qtbot)
    assert [other.name for other in viewer.layers if other.visible] == ["plane denoised"]
    assert dock.layer.currentText() == "plane"
    dock.compare.choose("original")
    assert [other for other in viewer.layers if other.visible] == [layer]


@pytest.fixture
def paused_dock(viewer, open_dock, qtbot, plane, paused_after_tile):
    """Return a dock whose job has shown its first tile, and the event that lets it proceed."""
    tile_done, proceed = paused_after_tile
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.denoise_button.click()
    qtbot.waitUntil(lambda: tile_done.is_set() and "plane denoised" in viewer.layers, timeout=TIMEOUT)
    return dock, proceed


@pytest.mark.parametrize("how", ["key", "floating"])
def test_close_button_asks_however_it_is_pressed(paused_dock, qtbot, how):
    dock, proceed = paused_dock
    if how == "floating":
        dock.parentWidget().setFloating(True)
        qtbot.wait(50)
    button = dock.parentWidget().findChild(QPushButton, "QTitleBarCloseButton")
    with patch.object(DenoiseDock, "ask", return_value="Keep running") as ask:
        if how == "key":
            qtbot.keyClick(button, Qt.Key.Key_Space)
        else:
            qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    ask.assert_called_once()
    proceed.set()
    wait_until_idle(dock, qtbot)
    assert "Done: layer 'plane denoised'" in dock.messages.toPlainText()


@pytest.mark.parametrize("answer", ["Keep running", "Cancel the job and close"])
def test_close_button_asks_while_a_job_runs(viewer, paused_dock, qtbot, answer):
    dock, proceed = paused_dock
    button = dock.parentWidget().findChild(QPushButton, "QTitleBarCloseButton")
    with patch.object(DenoiseDock, "ask", return_value=answer) as ask:
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert "Closing this dock cancels it. The layer of the result stays, marked as incomplete." in ask.call_args.args[0]
    proceed.set()
    if answer == "Keep running":
        wait_until_idle(dock, qtbot)
        assert "Done: layer 'plane denoised'" in dock.messages.toPlainText()
    else:
        qtbot.waitUntil(lambda: job_threads() == [], timeout=TIMEOUT)
        assert [layer.name for layer in viewer.layers] == ["plane", "plane denoised (incomplete)"]
        assert viewer.window.dock_widgets == {} or "Denoise" not in viewer.window.dock_widgets


def test_torch_error_is_shown_and_dock_stays_usable(viewer, open_dock, qtbot, plane):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    error = RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 GB")
    with patch("masked_denoiser.inference.runner.ModelRunner.submit", side_effect=error):
        dock.denoise_button.click()
        wait_until_idle(dock, qtbot)
    assert "Error: there was not enough memory" in dock.messages.toPlainText()
    assert "choose a smaller tile" in dock.messages.toPlainText()
    assert dock.denoise_button.isEnabled()


@off_screen
def test_active_layer_is_selected_but_not_results(viewer, open_dock, qtbot, plane):
    first = viewer.add_image(plane, name="first")
    viewer.add_image(plane, name="second")
    viewer.add_points([[1, 1]])
    viewer.layers.selection.active = first
    dock = open_dock()
    assert [dock.layer.itemText(i) for i in range(dock.layer.count())] == ["first", "second"]
    assert dock.layer.currentText() == "first"
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    assert dock.layer.currentText() == "first"
    viewer.layers.selection.active = viewer.layers["second"]
    assert dock.layer.currentText() == "second"
    viewer.layers["second"].name = "renamed"
    assert dock.layer.currentText() == "renamed"
    viewer.layers.clear()
    assert dock.layer.currentText() == ""
    assert not dock.denoise_button.isEnabled()


@off_screen
def test_axes_follow_layer_data(viewer, open_dock, qtbot, plane):
    layer = viewer.add_image(plane, name="plane")
    dock = open_dock()
    assert dock.expert.axes.text() == "YX"
    layer.data = np.stack([plane, plane])
    assert dock.expert.axes.text() == "CYX"


def test_preview_of_separate_channels(viewer, open_dock, qtbot, rgb):
    viewer.add_image(rgb, name="tissue")
    dock = open_dock()
    dock.expert.fields["channels"].value = "each"
    dock.preview_button.click()
    wait_until_idle(dock, qtbot)
    assert viewer.layers[-1].rgb
    assert "Error" not in dock.messages.toPlainText()
    assert dock.denoise_button.isEnabled()


def test_noise_measurement_is_shown(viewer, open_dock, qtbot):
    flat = np.clip(np.random.default_rng(0).normal(120, 20, (100, 120)), 0, 255).astype(np.uint8)
    viewer.add_image(flat, name="flat")
    dock = open_dock()
    dock.expert.noise.setCurrentText("auto")
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    assert "noise: strong noise (standard deviation" in dock.messages.toPlainText()
    assert "left alone" in dock.messages.toPlainText()  # random weights do not denoise
    with pytest.warns(UserWarning, match="left alone"):
        expected = md.denoise(flat, axes="YX", options=md.Options(tile=64))
    np.testing.assert_array_equal(viewer.layers[-1].data, expected)
    dock.expert.noise.setCurrentText("loud")
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    assert "Error: noise 'loud' is invalid; give 'auto', 'none'" in dock.messages.toPlainText()


@off_screen
def test_denoising_anyway_uses_the_pixels_of_now(viewer, open_dock, qtbot):
    clean, other = np.full((96, 96), 50, np.uint8), np.full((96, 96), 90, np.uint8)
    layer, dock = viewer.add_image(clean, name="clean"), open_dock()
    dock.expert.noise.setCurrentText("auto")
    dock.denoise_button.click()
    wait_until_idle(dock, qtbot)
    assert not dock.banner.isHidden()
    layer.data = other
    dock.presenter.denoise_anyway()
    wait_until_idle(dock, qtbot)
    assert abs(float(viewer.layers["clean denoised"].data.mean()) - 90) < 20


@off_screen
@pytest.mark.parametrize("settings", [{"modality": "pet"}, {"strength": 50.0}])
def test_settings_of_another_version_do_not_prevent_the_dock(viewer, open_dock, plane, settings):
    remember_settings(Form())
    record = json.loads(settings_file().read_text())
    record["request"]["options"] |= settings
    settings_file().write_text(json.dumps(record))
    viewer.add_image(plane, name="plane")
    assert open_dock().form().options.modality == "auto"
