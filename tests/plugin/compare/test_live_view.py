"""Tests of the live view, in a viewer without a window."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from masked_denoiser.plugin.shared.wording import with_fields
from tests.plugin.compare.waiting import TIMEOUT, visible, wait


@pytest.mark.parametrize("channels", ["rgb", "each"])
def test_live_view_of_colours(viewer, open_dock, qtbot, rgb, channels):
    viewer.add_image(rgb, name="image")
    dock = open_dock()
    dock.expert.fields["channels"].value = channels
    dock.expert.fields["dtype"].value = "float32"
    dock.live.switch.setChecked(True)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    shown = np.asarray(viewer.layers["image live view"].data)
    dock.live.switch.setChecked(False)
    dock.denoise_button.click()
    wait(dock, qtbot)
    assert np.abs(shown - np.asarray(viewer.layers["image denoised"].data)).mean() < 1.0


def test_live_view_follows_chosen_layer_and_pixels(viewer, open_dock, qtbot, plane):
    first, second = viewer.add_image(plane, name="a"), viewer.add_image(np.stack([plane[::-1]] * 3), name="b")
    viewer.layers.selection.active = first
    dock = open_dock()
    dock.live.switch.setChecked(True)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    assert visible(viewer) == ["a live view", "b"]
    viewer.layers.selection.active = second
    qtbot.waitUntil(lambda: "b live view" in viewer.layers, timeout=TIMEOUT)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    assert visible(viewer) == ["a", "b live view"]
    assert dock.layer.findText("b live view") < 0
    before = np.asarray(viewer.layers["b live view"].data[1])
    second.data = np.stack([plane] * 3)
    qtbot.waitUntil(lambda: dock.live.status.text() != "denoised", timeout=TIMEOUT)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    assert np.abs(np.asarray(viewer.layers["b live view"].data[1]).astype(int) - before[::-1]).mean() < 5
    viewer.layers.selection = {second, viewer.layers["b live view"]}
    viewer.layers.remove_selected()
    qtbot.waitUntil(lambda: not dock.live.switch.isChecked(), timeout=TIMEOUT)
    assert list(viewer.layers) == [first]


def test_live_view_scales_positions_with_level(viewer, open_dock, qtbot):
    """A pyramid that is halved along Z, too, is displayed at its second level."""
    stack = np.random.default_rng(0).integers(0, 256, (8, 600, 600), dtype=np.uint8)
    viewer.add_image([stack, stack[::2, ::2, ::2]], name="image", multiscale=True)
    dock = open_dock()
    dock.live.canvas_size = lambda: (100, 100)
    viewer.dims.set_current_step(0, 6)
    viewer.scene.camera.center, viewer.scene.camera.zoom = (0, 300, 300), 0.5
    dock.live.switch.setChecked(True)
    viewer.layers["image live view"]._data_level = 1
    qtbot.waitUntil(lambda: dock.live.status.text().startswith("denoised at 1/2"), timeout=TIMEOUT)
    level = viewer.layers["image live view"].data[1]
    changed = (np.asarray(level[...]) != stack[::2, ::2, ::2]).any(axis=(1, 2))
    assert changed.tolist() == [False, False, False, True]


def test_settings_that_change_quickly_start_one_measurement(viewer, open_dock, qtbot, plane, monkeypatch):
    from masked_denoiser.plugin.live import engine

    calls, original = [], engine.resolve_job

    def resolve(*args, **kwargs):
        calls.append(threading.current_thread())
        time.sleep(0.2)
        return original(*args, **kwargs)

    monkeypatch.setattr(engine, "resolve_job", resolve)
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.live.switch.setChecked(True)
    for seed in range(1, 11):
        dock.expert.fields["seed"].value = seed
        qtbot.wait(20)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    assert len(calls) <= 2
    assert len([t for t in threading.enumerate() if t.name == "masked-denoiser"]) == 1


@pytest.mark.parametrize("kind", ["plain", "pyramid", "stack"])
def test_live_view_shows_what_job_would(viewer, open_dock, qtbot, kind):
    """Compare with a job, at full resolution, of the plane that the sliders show."""
    image = np.random.default_rng(0).integers(0, 256, (2, 700, 600), dtype=np.uint8)
    levels = [image[0], image[0, ::2, ::2], image[0, ::4, ::4]]
    data = {"plain": image[0], "pyramid": levels, "stack": image}[kind]
    layer = viewer.add_image(data, name="image", multiscale=kind == "pyramid", scale=(0.5,) * (2 + (kind == "stack")))
    dock = open_dock()
    dock.expert.fields["halo"].value = "exact"
    dock.live.canvas_size = lambda: (200, 160)
    viewer.scene.camera.center, viewer.scene.camera.zoom = (
        (0, 100, 80),
        2.0,
    )  # in the world: 200 x 160 pixels around (200, 160)
    if kind == "stack":
        viewer.dims.set_current_step(0, 1)
    dock.live.switch.setChecked(True)
    live = viewer.layers["image live view"]
    live._data_level = 0
    assert visible(viewer) == ["image live view"]
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    shown = np.asarray((live.data[0] if live.multiscale else live.data)[(..., slice(100, 300), slice(80, 240))])
    dock.live.switch.setChecked(False)
    assert list(viewer.layers) == [layer]
    assert layer.visible
    dock.denoise_button.click()
    wait(dock, qtbot)
    result = viewer.layers["image denoised"]
    whole = np.asarray(result.data[0] if result.multiscale else result.data)[..., 100:300, 80:240]
    different = shown[-1] if kind == "stack" else shown
    assert np.abs(different.astype(int) - (whole[-1] if kind == "stack" else whole)).max() <= 2  # half precision
    if kind == "stack":
        np.testing.assert_array_equal(shown[0], image[0, 100:300, 80:240])


def test_live_view_reports_errors_and_follows_settings(viewer, open_dock, qtbot, plane):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.live.switch.setChecked(True)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    before = np.array(viewer.layers["plane live view"].data)
    dock.model.setCurrentText("tiny-gray")
    qtbot.waitUntil(lambda: dock.live.status.text() != "denoised", timeout=TIMEOUT)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    assert np.array(viewer.layers["plane live view"].data).shape == before.shape
    dock.expert.low.setText("low")
    qtbot.waitUntil(lambda: "is not two numbers" in dock.live.status.text(), timeout=TIMEOUT)
    dock.expert.low.setText("")
    dock.expert.axes.setText("TYX")
    qtbot.waitUntil(lambda: not dock.live.switch.isChecked(), timeout=TIMEOUT)
    assert "TYX" in dock.live.status.text()
    assert visible(viewer) == ["plane"]


def test_job_ends_live_view(viewer, open_dock, qtbot, plane):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.live.switch.setChecked(True)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    dock.denoise_button.click()
    wait(dock, qtbot)
    qtbot.waitUntil(lambda: not dock.live.switch.isChecked(), timeout=TIMEOUT)
    assert visible(viewer) == ["plane denoised"]
    assert "plane live view" not in viewer.layers


def test_live_view_starts_again_after_settings_are_changed_back(viewer, open_dock, qtbot, plane):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    model = dock.model.currentText()
    dock.live.switch.setChecked(True)
    for name in ("tiny-gray", model):  # before anything is denoised
        dock.model.setCurrentText(name)
        dock.live.live.process_events()
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    dock.expert.low.setText("low")
    qtbot.waitUntil(lambda: "is not two numbers" in dock.live.status.text(), timeout=TIMEOUT)
    assert dock.live.progress_bar.isHidden()
    dock.expert.low.setText("")
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)


def test_live_view_says_why_it_shows_nothing(viewer, open_dock, qtbot, plane):
    viewer.add_image(np.stack([plane] * 3), name="stack")
    dock = open_dock()
    viewer.dims.ndisplay = 3
    dock.live.switch.setChecked(True)
    qtbot.waitUntil(lambda: "leave the 3D view" in dock.live.status.text(), timeout=TIMEOUT)
    assert dock.live.progress_bar.isHidden()
    viewer.dims.ndisplay = 2
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: "leave the 3D view" in dock.live.status.text(), timeout=TIMEOUT)


def displayed(layer) -> np.ndarray:
    """Return the pixels that napari draws."""
    return np.asarray(layer._slice.image.raw)


class PlaneCounter:
    """Stack that records the most planes that are read at once."""

    def __init__(self, pixels):
        self.pixels, self.shape, self.dtype, self.ndim, self.most = pixels, pixels.shape, pixels.dtype, pixels.ndim, 0

    def __getitem__(self, key):
        block = self.pixels[key]
        self.most = max(self.most, len(block) if block.ndim == 3 else 1)
        return block


@pytest.mark.parametrize("kind", ["plain", "pyramid"])
def test_live_view_of_a_long_stack_is_displayed(viewer, open_dock, qtbot, kind):
    """And only the displayed plane is read."""
    stack = np.random.default_rng(0).integers(0, 256, (40, 300, 300), dtype=np.uint8)
    data = [stack, stack[:, ::2, ::2]] if kind == "pyramid" else stack
    viewer.add_image(data, name="image", multiscale=kind == "pyramid")
    viewer.dims.set_current_step(0, 21)
    dock = open_dock()
    dock.live.canvas_size = lambda: (300, 300)
    dock.live.switch.setChecked(True)
    live = viewer.layers["image live view"]
    live._data_level = 0
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    live.refresh()
    shown, corners = displayed(live), live.corner_pixels[:, 1:]
    part = stack[21, corners[0, 0] : corners[1, 0] + 1, corners[0, 1] : corners[1, 1] + 1]
    assert (shown != part).mean() > 0.5


def test_only_the_displayed_plane_is_read(viewer, open_dock, qtbot):
    """Whether the view is live or split: first the displayed axes are indexed, then the positions of the sliders."""
    stack = PlaneCounter(np.random.default_rng(0).integers(0, 256, (30, 300, 300), dtype=np.uint8))
    viewer.add_image(stack, name="image", multiscale=False, contrast_limits=(0, 255))
    dock = open_dock()
    dock.live.switch.setChecked(True)
    qtbot.waitUntil(lambda: dock.live.status.text().startswith("denoised"), timeout=TIMEOUT)
    dock.compare.choose("split")
    for name in ("image live view", "image before | after"):
        layer = viewer.layers[name]
        layer._data_level = 0
        layer.visible, stack.most = True, 0
        viewer.dims.set_current_step(0, 7 + len(name))
        layer.refresh()
        assert stack.most == 1


def test_live_view_keeps_the_comparison_when_settings_change(viewer, open_dock, qtbot, plane):
    layer = viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.live.switch.setChecked(True)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    for mode, shown in (("side by side", ["plane", "plane live view"]), ("split", ["plane before | after"])):
        dock.compare.choose(mode)
        if mode == "split":
            dock.compare.comparison.split.move_to([50.0, 30.0])
        changed = viewer.layers["plane live view"].events.data
        with qtbot.waitCallback(timeout=TIMEOUT) as called:
            changed.connect(called)
            dock.expert.fields["seed"].value = len(mode)
        changed.disconnect(called)
        qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
        assert visible(viewer) == shown
        assert dock.compare.comparison.mode(layer) == mode
    assert dock.compare.comparison.split._line.position == 30.0
    assert dock.compare.comparison.split.result is viewer.layers["plane live view"]
    shown = np.asarray(viewer.layers["plane before | after"].data)
    np.testing.assert_array_equal(shown[:, 32:], np.asarray(viewer.layers["plane live view"].data)[:, 32:])


def test_live_view_has_the_display_settings_of_its_layer(viewer, open_dock, qtbot, plane):
    layer = viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.live.switch.setChecked(True)
    live = viewer.layers["plane live view"]
    layer.contrast_limits, live.colormap = (20, 90), "magma"
    assert (tuple(live.contrast_limits), layer.colormap.name) == ((20, 90), "magma")
    dock.live.switch.setChecked(False)
    live.contrast_limits = (0, 30)
    assert tuple(layer.contrast_limits) == (20, 90)


def test_live_view_continues_with_data_of_another_kind(viewer, open_dock, qtbot, plane):
    layer = viewer.add_image(np.stack([plane] * 3), name="image")
    dock = open_dock()
    dock.live.switch.setChecked(True)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    layer.data = plane[::-1].copy()
    qtbot.waitUntil(lambda: viewer.layers["image live view"].ndim == 2, timeout=TIMEOUT)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    assert dock.live.switch.isChecked()
    assert visible(viewer) == ["image live view"]


def test_live_view_continues_after_it_was_hidden(viewer, open_dock, qtbot, monkeypatch):
    monkeypatch.setattr("masked_denoiser.plugin.live.engine._RECTANGLE_SECONDS", 0.0)  # single cells
    image = np.random.default_rng(0).integers(0, 256, (700, 700), dtype=np.uint8)
    viewer.add_image(image, name="image")
    dock = open_dock()
    dock.live.canvas_size = lambda: (700, 700)
    dock.live.switch.setChecked(True)
    qtbot.waitUntil(lambda: dock.live.status.text().startswith("denoising"), timeout=TIMEOUT)
    live = viewer.layers["image live view"]
    live.visible = False
    qtbot.waitUntil(lambda: "hidden" in dock.live.status.text(), timeout=TIMEOUT)
    qtbot.wait(300)  # until the cell in progress is done
    live.visible = True
    qtbot.waitUntil(lambda: dock.live.status.text().startswith("denoised"), timeout=TIMEOUT)


@pytest.mark.parametrize(("step", "level", "stored"), [(3, 1, 2), (5, 1, 2), (6, 2, 2), (7, 2, 2), (9, 2, 2)])
def test_live_view_denoises_the_plane_of_a_pyramid_that_is_displayed(viewer, open_dock, qtbot, step, level, stored):
    """Planes of lower levels are those that napari rounds to, for pyramids that are halved along Z, too."""
    stack = np.random.default_rng(0).integers(0, 256, (12, 600, 600), dtype=np.uint8)
    viewer.add_image([stack, stack[::2, ::2, ::2], stack[::4, ::4, ::4]], name="image", multiscale=True)
    dock = open_dock()
    dock.live.canvas_size = lambda: (100, 100)
    viewer.dims.set_current_step(0, step)
    viewer.scene.camera.center, viewer.scene.camera.zoom = (0, 300, 300), 0.5
    dock.live.switch.setChecked(True)
    live = viewer.layers["image live view"]
    live._data_level = level
    qtbot.waitUntil(lambda: dock.live.status.text().startswith("denoised at 1/"), timeout=TIMEOUT)
    changed = (np.asarray(live.data[level]) != stack[:: 2**level, :: 2**level, :: 2**level]).any(axis=(1, 2))
    assert np.flatnonzero(changed).tolist() == [stored]
    live.refresh()
    assert (displayed(live) != 0).any()


def test_volumes_show_the_input(viewer, open_dock, qtbot, plane):
    layer = viewer.add_image(np.stack([plane] * 3), name="stack")
    dock = open_dock()
    dock.live.switch.setChecked(True)
    qtbot.waitUntil(lambda: dock.live.status.text() == "denoised", timeout=TIMEOUT)
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: visible(viewer) == ["stack"], timeout=TIMEOUT)
    assert dock.live.switch.isChecked()
    viewer.dims.ndisplay = 2
    qtbot.waitUntil(lambda: visible(viewer) == ["stack live view"], timeout=TIMEOUT)
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: layer.visible, timeout=TIMEOUT)
    dock.live.switch.setChecked(False)
    assert visible(viewer) == ["stack"]


def test_messages_name_fields_instead_of_flags(viewer, open_dock, qtbot):
    viewer.add_image(np.zeros((2,) * 6 + (64, 64), np.uint8), name="many")
    dock = open_dock()
    dock.live.switch.setChecked(True)
    qtbot.waitUntil(lambda: not dock.live.switch.isChecked(), timeout=TIMEOUT)
    assert "axes" in dock.live.status.text()
    assert "--" not in dock.live.status.text()
    assert with_fields("with --noise none, or --standard-x; see --axes") == "with noise none, or --standard-x; see axes"
