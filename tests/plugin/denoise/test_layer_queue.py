"""Tests of the queue of layers, of the settings of the last job, and of what they change in the dock."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel

from masked_denoiser.errors import FormError
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.last_settings import recall_settings, remember_settings, settings_file
from masked_denoiser.plugin.denoise.layer_queue import LayerQueue
from masked_denoiser.plugin.denoise_dock import DenoiseDock
from masked_denoiser.plugin.shared.preferences import Preferences

TIMEOUT = 120_000


class Jobs:
    """Stand-in for the presenter, whose jobs end when the test says so."""

    def __init__(self) -> None:
        self.running, self.finished, self.log, self.layer = False, False, [], None

    def begin(self):
        """Keep nothing, as there are no settings."""

    def refuse(self, error):
        self.log.append(f"refused: {error}")

    def choose(self, layer):
        if layer.name == "invalid":
            raise FormError("it has no axes")
        self.layer = layer

    def has(self, layer):
        return layer.name != "removed"

    def denoise(self):
        self.running = True
        self.log.append(self.layer.name if self.layer else "chosen")

    def announce(self, text):
        self.log.append(text)

    def end(self, finished):
        self.running, self.finished = False, finished


def layers(*names):
    return [SimpleNamespace(name=name) for name in names]


def started(*names):
    """Return stand-in jobs, and a queue that has begun with layers of these names."""
    jobs = Jobs()
    queue = LayerQueue(jobs)
    queue.start(layers(*names))
    return jobs, queue


def test_layers_follow_each_other():
    jobs, queue = started("a", "b")
    queue.advance()  # while the first is running
    assert jobs.log == ["layer 1 of 2: 'a'", "a"]
    jobs.end(finished=True)
    queue.advance()
    jobs.end(finished=True)
    queue.advance()
    assert jobs.log == ["layer 1 of 2: 'a'", "a", "layer 2 of 2: 'b'", "b"]


def test_next_layer_follows_at_once_if_one_was_removed():
    jobs, queue = started("a", "removed", "b")
    jobs.end(finished=True)
    queue.advance()  # nothing may call it again unless a job is running
    assert jobs.running
    assert jobs.log == ["layer 1 of 3: 'a'", "a", "layer 2 of 3: 'removed' was removed", "layer 3 of 3: 'b'", "b"]


def test_invalid_layer_ends_queue():
    jobs, queue = started("a", "invalid", "b")
    jobs.end(finished=True)
    queue.advance()
    assert jobs.log[-1] == "refused: it has no axes"
    jobs.end(finished=True)  # of another job
    queue.advance()
    assert not jobs.running


def test_cancelled_job_ends_queue():
    jobs, queue = started("a", "b", "c")
    jobs.end(finished=False)
    queue.advance()
    queue.advance()
    assert jobs.log[2:] == ["2 more layers were not denoised"]


@pytest.fixture
def open_dock(models, qtbot):
    opened = []

    def open_(viewer) -> DenoiseDock:
        dock = DenoiseDock(viewer)
        qtbot.addWidget(dock)
        opened.append(dock)
        qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)
        return dock

    yield open_
    for dock in opened:
        dock.stop()


def test_selected_layers_are_denoised_and_cleared(open_dock, qtbot, plane, rgb):
    viewer = ViewerModel()
    first, second, third = viewer.add_image(plane, name="a"), viewer.add_image(rgb, name="b"), viewer.add_image(plane)
    dock = open_dock(viewer)
    dock.expert.noise.setCurrentText("none")
    assert dock.all_selected.isHidden()
    viewer.layers.selection = {first, second}
    assert not dock.all_selected.isHidden()
    assert dock.all_selected.text() == "all 2 selected layers"
    dock.all_selected.setChecked(True)
    dock.denoise_button.click()
    qtbot.waitUntil(lambda: "b denoised" in viewer.layers and not dock.presenter.running, timeout=TIMEOUT)
    assert [layer.name for layer in viewer.layers if layer.visible] == ["a denoised", "b denoised", third.name]
    assert np.array_equal(viewer.layers["a denoised"].data.shape, plane.shape)
    dock.clear_button.click()
    assert [layer.name for layer in viewer.layers] == ["a", "a denoised", "b", third.name]


def test_last_settings_are_kept_and_reset(open_dock, plane, qtbot):
    viewer = ViewerModel()
    viewer.add_image(plane)
    dock = open_dock(viewer)
    dock.model.setCurrentText("tiny-gray")
    dock.expert.fields["strength"].value = 0.7
    dock.denoise_button.click()
    qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)
    again = open_dock(viewer)
    assert again.form().model == "tiny-gray"
    assert again.form().options == replace(Options(), strength=0.7)
    assert again.noise.slider.value() == 7
    again.expert.reset_button.click()
    assert again.form().model == "auto"
    assert again.form().options == Options()
    assert open_dock(viewer).form().model == "auto"


@pytest.mark.parametrize(
    "text", ["", "[]", "{", json.dumps({"request": {"model": "a", "device": "b", "options": {"x": 1}}})]
)
def test_unreadable_settings_are_ignored(models, text):
    remember_settings(Form(model="tiny-gray", options=Options(intensity=(1.0, 2.0))))
    assert recall_settings() == ("tiny-gray", "auto", Options(intensity=(1.0, 2.0)))
    settings_file().write_text(text)
    assert recall_settings() is None


def test_preferences_fill_in_output_and_device(open_dock, plane, tmp_path, monkeypatch):
    preferences = Preferences(device="cpu", cache_bytes=2**26, output="tiff", folder=tmp_path)
    monkeypatch.setattr("masked_denoiser.plugin.denoise_dock.read_preferences", lambda: preferences)
    viewer = ViewerModel()
    viewer.add_image(plane, name="plane")
    dock = open_dock(viewer)
    form = dock.form()
    assert (form.output, form.path, form.device) == ("tiff", str(tmp_path / "plane denoised.ome.tif"), "cpu")
    assert dock.live.live.cache_bytes == 2**26


def test_report_is_written(open_dock, qtbot, tmp_path, monkeypatch):
    y, x = np.mgrid[:160, :200]
    clean = 120 + 50 * np.sin(x / 25) * np.cos(y / 31)
    viewer = ViewerModel()
    viewer.add_image(np.clip(clean + np.random.default_rng(0).normal(0, 12, clean.shape), 0, 255).astype(np.uint8))
    dock = open_dock(viewer)
    dock.expert.noise.setCurrentText("sigma=12")
    dock.preview_button.click()
    qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)
    path = tmp_path / "report.html"
    monkeypatch.setattr("masked_denoiser.plugin.denoise_dock.choose_report", lambda parent, name: path)
    dock.report_button.click()
    qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)
    assert f"Report: {path}" in dock.messages.toPlainText()
    page = path.read_text()
    assert "For the methods section" in page
    assert "general-gray" in page


def test_queue_keeps_slices_and_continues_after_unchanged_image(open_dock, qtbot, plane):
    viewer = ViewerModel()
    ramp = np.stack([np.tile(np.linspace(0, 60000, 200).astype(np.uint16), (200, 1))] * 3)
    noisy = np.stack([np.repeat(plane[:, :100], 2, axis=1)] * 3)
    first, second = viewer.add_image(ramp, name="clean"), viewer.add_image(noisy, name="noisy")
    dock = open_dock(viewer)
    viewer.layers.selection = {first, second}
    dock.presenter.chooser.choose_layer(first)
    dock.expert.axes.setText("ZYX")
    dock.expert.slices.ranges["Z"].setText("1")
    dock.expert.fields["tile"].value = 64
    dock.all_selected.setChecked(True)
    dock.denoise_button.click()
    qtbot.waitUntil(lambda: not dock.presenter.busy and "layer 2 of 2" in dock.messages.toPlainText(), timeout=TIMEOUT)
    assert "were not denoised" not in dock.messages.toPlainText()
    assert dock.expert.slices.ranges["Z"].text() == "1"
    assert dock.presenter.chooser.layer is second


def test_denoise_anyway_is_for_the_chosen_layer_and_is_not_kept(open_dock, qtbot, plane):
    viewer = ViewerModel()
    ramp = np.tile(np.linspace(0, 60000, 200).astype(np.uint16), (200, 1))
    first, second = viewer.add_image(ramp, name="a"), viewer.add_image(ramp[:, ::-1], name="b")
    dock = open_dock(viewer)
    viewer.layers.selection.active = first
    dock.denoise_button.click()
    qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)
    viewer.layers.selection.active = second
    dock.expert.fields["strength"].value = 1.5
    dock.noise.denoise_anyway.emit()
    qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)
    assert [layer.name for layer in viewer.layers] == ["a", "b", "b denoised"]
    assert recall_settings() == ("auto", "auto", Options(strength=1.5))
