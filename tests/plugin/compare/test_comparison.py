"""Tests of the comparison of a layer with its result, and of the live view, in a viewer without a window."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel

from masked_denoiser.plugin.denoise_dock import DenoiseDock

TIMEOUT = 30_000


@pytest.fixture
def viewer(models):
    return ViewerModel()


@pytest.fixture
def open_dock(viewer, qtbot):
    opened = []

    def open_() -> DenoiseDock:
        dock = DenoiseDock(viewer)
        qtbot.addWidget(dock)
        opened.append(dock)
        dock.expert.fields["tile"].value = 64
        dock.expert.noise.setCurrentText("none")
        wait(dock, qtbot)
        return dock

    yield open_
    for dock in opened:
        dock.stop()


def wait(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)


def visible(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers if layer.visible]


def press(viewer, key: str):
    """Press a key as napari does; return what its release does, or None."""
    bound = viewer.keymap[next(k for k in viewer.keymap if str(k) == key)](viewer)
    return next(bound, None) if hasattr(bound, "__next__") else None, bound


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
        for _ in dock.compare.comparison._drag(viewer, event):
            assert not viewer.scene.camera.mouse_pan
        assert viewer.scene.camera.mouse_pan
        shown = np.asarray(split.data[0] if split.multiscale else split.data)
        on_left, on_right = (
            (..., s, *([slice(None)] * layer.rgb)) for s in (slice(0, moved - 1), slice(moved + 2, None))
        )
        np.testing.assert_array_equal(shown[on_left], pixels[on_left])
        np.testing.assert_array_equal(shown[on_right], after[on_right])
    assert split.corner_pixels.shape == result.corner_pixels.shape


def test_shortcuts(viewer, open_dock, qtbot, plane):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.preview_button.click()
    wait(dock, qtbot)
    _, held = press(viewer, "O")
    assert visible(viewer) == ["plane"]
    assert next(held, "released") == "released"
    assert visible(viewer) == ["plane preview"]
    press(viewer, "Shift+O")
    assert visible(viewer) == ["plane before | after"]
    press(viewer, "Shift+O")
    assert visible(viewer) == ["plane preview"]
    keys = {str(key) for key in viewer.keymap}
    dock.stop()
    assert keys - {str(key) for key in viewer.keymap} == {"O", "Shift+O", "Alt+O"}


def test_new_result_ends_split(viewer, open_dock, qtbot, plane):
    viewer.add_image(plane, name="plane")
    dock = open_dock()
    dock.preview_button.click()
    wait(dock, qtbot)
    dock.compare.choose("split")
    dock.denoise_button.click()
    wait(dock, qtbot)
    assert visible(viewer) == ["plane denoised"]
    assert dock.compare.currentIndex() == 0
    dock.compare.choose("split")
    viewer.layers.remove(viewer.layers["plane denoised"])
    assert "plane before | after" not in viewer.layers
    assert visible(viewer) == ["plane preview"]


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
