"""Tests of the comparison of a layer with its result, in a viewer without a window."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from masked_denoiser.plugin.layers.view_region import camera_of
from tests.plugin.compare.waiting import TIMEOUT, visible, wait


@pytest.fixture
def keyboard(viewer):
    """Return napari's handler of keys over the canvas."""
    from napari.utils.key_bindings import KeymapHandler

    handler = KeymapHandler()
    handler.keymap_providers = [*([viewer.layers.selection.active] if viewer.layers.selection.active else []), viewer]
    return handler


def test_modes_show_and_hide_layers(viewer, open_dock, qtbot, plane):
    viewer.add_image(np.zeros((10, 10)), name="other")
    viewer.add_image(plane, name="plane", blending="additive")
    dock = open_dock()
    assert not dock.compare.isEnabled()
    dock.denoise_button.click()
    wait(dock, qtbot)
    assert dock.compare.isEnabled()
    expected = {
        "original": ["other", "plane"],
        "result": ["other", "plane denoised"],
        "side by side": ["plane", "plane denoised"],
        "split": ["other", "plane before | after"],
    }
    for mode in ("original", "result", "side by side", "split", "side by side", "original", "split", "result"):
        dock.compare.choose(mode)
        assert visible(viewer) == expected[mode], mode
        assert viewer.canvas.grid.enabled == (mode == "side by side")
        assert dock.compare.currentIndex() == ["result", "original", "split", "side by side"].index(mode)
    assert "plane before | after" not in viewer.layers


@pytest.mark.parametrize("kind", ["plain", "pyramid", "rgb", "scaled stack"])
def test_line_follows_mouse(viewer, open_dock, qtbot, plane, kind):
    pixels = {"rgb": np.stack([plane] * 3, -1), "scaled stack": np.stack([plane] * 2)}.get(kind, plane)
    scale = (2.0, 0.5, 0.25) if kind == "scaled stack" else (1.0, 1.0)
    data = [plane, plane[::2, ::2]] if kind == "pyramid" else pixels
    layer = viewer.add_image(data, name="image", multiscale=kind == "pyramid", scale=scale)
    dock = open_dock()
    dock.denoise_button.click()
    wait(dock, qtbot)
    dock.compare.choose("split")
    split, result = viewer.layers["image before | after"], viewer.layers["image denoised"]
    after = np.asarray(result.data[0] if result.multiscale else result.data)
    viewer.scene.camera.zoom = 4 / scale[-1]
    for column, modifiers, moved in ((70, ["Shift"], 70), (71, [], 71), (20, [], 71)):
        point = layer.data_to_world([0.0] * (layer.ndim - 1) + [float(column)])
        event = SimpleNamespace(position=point, modifiers=modifiers, type="mouse_press")
        for _ in dock.compare.comparison.split._drag(viewer, event):
            assert not viewer.scene.camera.mouse_pan
        assert viewer.scene.camera.mouse_pan
        shown = np.asarray(split.data[0] if split.multiscale else split.data)
        on_left, on_right = (
            (..., s, *([slice(None)] * layer.rgb)) for s in (slice(0, moved - 1), slice(moved + 2, None))
        )
        np.testing.assert_array_equal(shown[on_left], pixels[on_left])
        np.testing.assert_array_equal(shown[on_right], after[on_right])
    assert split.corner_pixels.shape == result.corner_pixels.shape


def test_shortcuts(viewer, open_dock, qtbot, plane, keyboard):
    def own(_viewer):
        """Do what the user has bound to the key."""

    viewer.bind_key("Alt-b", own)
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.preview_button.click()
    wait(dock, qtbot)
    keyboard.press_key("B")
    assert visible(viewer) == ["plane"]
    keyboard.release_key("B")
    assert visible(viewer) == ["plane preview"]
    keyboard.press_key("Shift-B")
    assert visible(viewer) == ["plane before | after"]
    keyboard.press_key("Shift-B")
    assert visible(viewer) == ["plane preview"]
    dock.stop()
    assert {str(key): function for key, function in viewer.keymap.items()} == {"Alt+B": own}


def test_users_grid_and_layers_are_restored(viewer, open_dock, qtbot, plane):
    viewer.add_image(np.zeros((10, 10)), name="other")
    viewer.add_image(plane, name="plane")
    viewer.canvas.grid.shape, viewer.canvas.grid.stride = (2, 3), -1
    dock = open_dock()
    dock.preview_button.click()
    wait(dock, qtbot)
    for end in (lambda: dock.compare.choose("result"), dock.clear_button.click, viewer.layers.clear):
        if "plane preview" not in viewer.layers:
            dock.preview_button.click()
            wait(dock, qtbot)
        dock.compare.choose("side by side")
        assert viewer.canvas.grid.enabled
        end()
        qtbot.waitUntil(lambda: not viewer.canvas.grid.enabled, timeout=TIMEOUT)
        assert (viewer.canvas.grid.shape, viewer.canvas.grid.stride) == ((2, 3), -1)
        assert all(layer.visible for layer in viewer.layers if layer.name == "other")


def test_two_models_are_shown_next_to_each_other(viewer, open_dock, qtbot, plane):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.model.setCurrentText("tiny-gray")
    dock.models_button.models.aboutToShow.emit()
    names = {action.text(): action for action in dock.models_button.models.actions()}
    assert "tiny-gray" not in names
    names["general-gray"].trigger()
    wait(dock, qtbot)
    shown = visible(viewer)
    assert [name.partition(",")[0] for name in shown] == ["plane: tiny-gray", "plane: general-gray"]
    assert viewer.canvas.grid.enabled
    assert viewer.layers[shown[0]].data.shape == viewer.layers[shown[1]].data.shape


def test_closing_the_dock_restores_the_viewer(viewer, open_dock, qtbot, plane):
    layer = viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.live.switch.setChecked(True)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    dock.compare.choose("split")
    dock.restore_viewer()
    assert list(viewer.layers) == [layer]
    assert layer.visible


def test_new_result_ends_split(viewer, open_dock, qtbot, plane):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.preview_button.click()
    wait(dock, qtbot)
    dock.compare.choose("split")
    dock.denoise_button.click()
    wait(dock, qtbot)
    assert visible(viewer) == ["plane denoised"]
    qtbot.waitUntil(lambda: dock.compare.currentIndex() == 0, timeout=TIMEOUT)
    dock.compare.choose("split")
    viewer.layers.remove(viewer.layers["plane denoised"])
    qtbot.waitUntil(lambda: "plane before | after" not in viewer.layers, timeout=TIMEOUT)
    assert visible(viewer) == ["plane preview"]


def test_line_of_a_split_keeps_its_width_on_the_screen(viewer, open_dock, qtbot, plane):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.denoise_button.click()
    wait(dock, qtbot)
    dock.compare.choose("split")
    line = dock.compare.comparison.split._line
    camera = camera_of(viewer)
    before = line.half_width * camera.zoom
    camera.zoom *= 8
    assert line.half_width * camera.zoom == pytest.approx(before)


def test_banner_is_about_the_chosen_layer(viewer, open_dock, qtbot, plane):
    """It is hidden while another layer is chosen, whose button must not denoise the wrong one."""
    flat = viewer.add_image(np.full_like(plane, 7), name="flat")
    dock = open_dock()
    dock.expert.noise.setCurrentText("auto")
    dock.denoise_button.click()
    other = viewer.add_image(plane, name="other")  # which the viewer selects
    wait(dock, qtbot)
    assert dock.presenter.layer is other
    assert dock.banner.isHidden()
    assert "layer 'flat'" in dock.messages.toPlainText()
    viewer.layers.selection.active = flat
    assert not dock.banner.isHidden()


def test_removed_region_is_not_replaced_by_the_whole_image(viewer, open_dock, qtbot, plane):
    viewer.add_image(plane, name="plane")
    shapes = viewer.add_shapes([[[10, 10], [10, 40], [40, 40], [40, 10]]], name="cells")
    viewer.layers.selection.active = viewer.layers["plane"]
    dock = open_dock()
    dock.region.setCurrentText("shapes layer cells")
    viewer.layers.remove(shapes)
    dock.denoise_button.click()
    wait(dock, qtbot)
    assert "no longer exists" in dock.messages.toPlainText()
    assert "plane denoised" not in viewer.layers
    viewer.add_shapes([[[10, 10], [10, 40], [40, 40], [40, 10]]], name="others")
    assert dock.region.currentText() == "shapes layer cells"


def test_leaving_a_split_shows_the_result_that_was_compared(viewer, open_dock, qtbot, plane):
    layer = viewer.add_image(plane, name="plane")
    dock = open_dock()
    for button in (dock.denoise_button, dock.preview_button):
        button.click()
        wait(dock, qtbot)
    viewer.layers["plane preview"].visible, viewer.layers["plane denoised"].visible = False, True
    dock.compare.choose("split")
    dock.compare.comparison.leave()
    assert visible(viewer) == ["plane denoised"]
    assert not layer.visible


def test_results_can_be_compared_in_a_dock_that_is_opened_again(viewer, open_dock, qtbot, plane):
    viewer.add_image(plane, name="plane")
    first = open_dock()
    first.denoise_button.click()
    wait(first, qtbot)
    first.stop()
    second = open_dock()
    assert second.compare.isEnabled()
    assert second.clear_button.isEnabled()
    second.clear_button.click()
    assert [layer.name for layer in viewer.layers] == ["plane"]


def test_what_was_removed_is_shown_after_a_cancelled_job(viewer, open_dock, qtbot, plane, monkeypatch):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.denoise_button.click()
    wait(dock, qtbot)
    dock.presenter._nothing_kept = True  # as after a job that was cancelled before its first tile
    dock.presenter._task_ended(None)
    dock.removed_button.click()
    wait(dock, qtbot)
    assert "plane removed" in viewer.layers


def test_axes_and_slices_of_a_layer_are_remembered(viewer, open_dock, qtbot, plane):
    stack, other = viewer.add_image(np.stack([plane] * 5), name="stack"), viewer.add_image(plane, name="other")
    viewer.layers.selection.active = stack
    dock = open_dock()
    dock.expert.axes.setText("TYX")
    dock.expert.slices.ranges["T"].setText("1:3")
    viewer.layers.selection.active = other
    assert dock.presenter.view.part() == ("YX", "")
    viewer.layers.selection.active = stack
    assert dock.presenter.view.part() == ("TYX", "T=1:3")
    stack.axis_labels = ("z", "y", "x")
    assert dock.presenter.view.part()[0] == "ZYX"
    viewer.layers.selection.active = other
    stack.axis_labels = ("t", "y", "x")
    viewer.layers.selection.active = stack
    assert dock.presenter.view.part() == ("TYX", "")
    dock.expert.slices.ranges["T"].setText("1:3")
    dock.show_part("TYX", "", guessed=False)  # as for the next of several layers
    assert dock.presenter.view.part() == ("TYX", "")


def test_wheel_changes_only_fields_with_the_focus(viewer, open_dock, qtbot, plane):
    from qtpy.QtCore import QPoint, QPointF, Qt
    from qtpy.QtGui import QWheelEvent
    from qtpy.QtWidgets import QApplication

    viewer.add_image(plane, name="plane")
    dock = open_dock()
    before = dock.model.currentIndex()
    modifiers, phase = Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase
    event = QWheelEvent(
        QPointF(5, 5), QPointF(5, 5), QPoint(0, -120), QPoint(0, -120), Qt.MouseButton.NoButton, modifiers, phase, False
    )
    QApplication.sendEvent(dock.model, event)
    assert dock.model.currentIndex() == before
