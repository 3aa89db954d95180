"""The Fine-tune dock in a real viewer, with a tiny model: from the first click to the denoised layer."""

from __future__ import annotations

import time
from unittest.mock import patch

import numpy as np
import pytest
from skimage.data import immunohistochemistry

from masked_denoiser.errors import FormError
from masked_denoiser.models.file import read_card
from masked_denoiser.plugin.denoise_dock import DenoiseDock
from masked_denoiser.plugin.fine_tune.form import FineTuneForm, clean_name, make_fine_tune_request, rectangles
from masked_denoiser.plugin.fine_tune.history import History
from masked_denoiser.plugin.fine_tune_dock import FineTuneDock
from masked_denoiser.plugin.shared.wording import describe_training_end
from masked_denoiser.tiling.plan import Span
from masked_denoiser.training.events import Stepped, Trained, Validated

TIMEOUT = 60_000


@pytest.fixture
def tissue() -> np.ndarray:
    return np.ascontiguousarray(immunohistochemistry()[100:228, 60:220])


@pytest.fixture
def viewer(make_napari_viewer, models):
    return make_napari_viewer(show=True)


@pytest.fixture
def open_tune(viewer, qtbot):
    """Opens the dock, settled, with a training of a second."""
    opened = []

    def open_() -> FineTuneDock:
        dock = FineTuneDock(viewer)
        viewer.window.add_dock_widget(dock, name="Fine-tune")
        opened.append(dock)
        for box, value in ((dock.steps, 4), (dock.batch, 2), (dock.patch, 16)):
            box.setValue(value)
        dock.model.setCurrentText("tiny-rgb")
        finish(dock, qtbot)
        return dock

    yield open_
    for dock in opened:
        dock.presenter.close()


@pytest.fixture(autouse=True)
def no_questions(monkeypatch):
    """A question that a test does not expect would wait for an answer for ever."""

    def ask(self, question, *choices):
        raise AssertionError(question)

    monkeypatch.setattr(FineTuneDock, "ask", ask)


def finish(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)


def test_from_a_layer_to_a_model_that_denoises(viewer, open_tune, qtbot, tissue, models):
    """Start, Save, and in the other dock Denoise."""
    viewer.add_image(tissue, name="tissue")
    dock = open_tune()
    denoise = DenoiseDock(viewer)
    viewer.window.add_dock_widget(denoise, name="Denoise")
    finish(denoise, qtbot)
    assert not dock.save_button.isEnabled()
    dock.start_button.click()
    assert dock.stop_button.isEnabled()
    assert not dock.start_button.isEnabled()
    finish(dock, qtbot)
    assert "Error" not in dock.notes.toPlainText()
    assert "Done: 4 steps." in dock.notes.toPlainText()
    assert dock.curves.isVisible()
    assert not dock.picture.pixmap().isNull()
    dock.name.setText("mine")
    dock.save_button.click()
    card = read_card(models / "mine.safetensors")
    assert (card.name, card.training["recipe"]["steps"]) == ("mine", 4)
    assert denoise.model.currentText() == "mine"
    denoise.expert.tile.setValue(64)
    denoise.denoise_button.click()
    finish(denoise, qtbot)
    assert viewer.layers["tissue denoised"].data.shape == tissue.shape
    denoise.presenter.stop()


def test_the_noise_is_shown_on_the_users_own_patch(viewer, open_tune, qtbot, tissue):
    viewer.add_image(tissue, name="tissue")
    dock = open_tune()
    qtbot.waitUntil(dock.noise_picture.isVisible, timeout=TIMEOUT)
    before = dock.noise_picture.pixmap().toImage()
    dock.noise.family.setCurrentText("speckle")
    assert dock.form().noise == "speckle(variance=0.02)"
    dock.noise.values()["variance"].setValue((0.01, 0.05))
    assert dock.form().noise == "speckle(variance=0.01..0.05)"
    qtbot.waitUntil(lambda: dock.noise_picture.pixmap().toImage() != before, timeout=TIMEOUT)
    for letter in "x":
        qtbot.keyClicks(dock.noise.recipe, letter)
    assert "character" in dock.noise.problem.text()
    assert dock.noise.family.currentText() == "own recipe"
    dock.start_button.click()
    finish(dock, qtbot)
    assert "Error: noise recipe, character" in dock.notes.toPlainText()
    assert dock.start_button.isEnabled()


def test_stop_and_continue(viewer, open_tune, qtbot, tissue):
    viewer.add_image(tissue, name="tissue")
    dock = open_tune()
    dock.steps.setValue(100_000)
    dock.start_button.click()
    qtbot.waitUntil(lambda: dock.progress.text().startswith("step "), timeout=TIMEOUT)
    began = time.monotonic()
    dock.stop_button.click()
    finish(dock, qtbot)
    assert time.monotonic() - began < 2, "Stop must answer within two seconds, whatever the machine"
    assert "Continue goes on" in dock.notes.toPlainText()
    first = dock.presenter._learned.trained.step
    dock.steps.setValue(first + 3)
    dock.continue_button.click()
    finish(dock, qtbot)
    assert f"Done: {first + 3} steps." in dock.notes.toPlainText()
    assert f"going on after step {first}" in dock.notes.toPlainText()
    # Another start under the same name asks first.
    with patch.object(FineTuneDock, "ask", return_value="Start again") as asked:
        dock.steps.setValue(2)
        dock.start_button.click()
        finish(dock, qtbot)
    assert asked.call_args.args[1:] == ("Continue it", "Start again", "Stop")
    assert "Done: 2 steps." in dock.notes.toPlainText()


def test_closing_the_dock_keeps_the_checkpoint(viewer, open_tune, qtbot, tissue, models):
    import threading

    viewer.add_image(tissue, name="tissue")
    dock = open_tune()
    dock.steps.setValue(100_000)
    dock.start_button.click()
    qtbot.waitUntil(lambda: dock.progress.text().startswith("step "), timeout=TIMEOUT)
    viewer.window.remove_dock_widget(dock)
    names = ("masked-denoiser", "masked-denoiser-patches_0")
    qtbot.waitUntil(lambda: not [t for t in threading.enumerate() if t.name in names], timeout=TIMEOUT)
    assert (models.parent / "training" / "tiny-rgb-tuned" / "checkpoint.pt").exists()


@pytest.mark.parametrize("way", ["noisy images, no truth", "pairs: noisy and clean"])
def test_the_other_ways(viewer, open_tune, qtbot, tissue, way):
    noisy = np.clip(tissue + np.random.default_rng(0).normal(0, 20, tissue.shape), 0, 255).astype(np.uint8)
    viewer.add_image(tissue, name="clean")
    viewer.add_image(noisy, name="noisy")
    dock = open_tune()
    assert [viewer.layers[n].name for n in dock.ticked()[0]] == ["noisy"]
    dock.way.setCurrentText(way)
    dock.clean_layer.setCurrentText("clean")
    dock.start_button.click()
    finish(dock, qtbot)
    assert "Done: 4 steps." in dock.notes.toPlainText()
    assert not dock.noise.isVisible()


def test_only_inside_the_shapes(viewer, open_tune, qtbot):
    """Outside of the rectangle the image is NaN: reading there would end the training."""
    pixels = np.full((300, 300), np.nan, np.float32)
    pixels[40:180, 50:230] = np.random.default_rng(0).random((140, 180))
    viewer.add_image(pixels, name="image", scale=(0.5, 0.5), contrast_limits=(0, 1))
    viewer.add_shapes([[[20, 25], [20, 114], [89, 114], [89, 25]]], name="here")
    dock = open_tune()
    dock.region.setCurrentText("here")
    request = dock.presenter._request_for(dock.form(), False)
    assert request.regions == (((Span(40, 179), Span(50, 229)),),)
    dock.start_button.click()
    finish(dock, qtbot)
    assert "Error" not in dock.notes.toPlainText()
    assert "Done: 4 steps." in dock.notes.toPlainText()
    dock.images.add_files(["a file"])
    dock.start_button.click()
    assert "shapes are drawn on layers" in dock.notes.toPlainText()
    viewer.layers["here"].data = []
    dock.presenter.noise_changed()
    qtbot.waitUntil(lambda: "has no shapes" in dock.noise.problem.text(), timeout=TIMEOUT)
    assert dock.save_button.isEnabled()


def test_errors_are_told_and_the_dock_goes_on(viewer, open_tune, qtbot, tmp_path):
    viewer.add_image(np.zeros((64, 64), np.uint8), name="black")
    dock = open_tune()
    dock.start_button.click()
    finish(dock, qtbot)
    assert "black is constant; there is nothing to learn from it" in dock.notes.toPlainText()
    dock.images.list.item(0).setCheckState(dock.images.list.item(0).checkState().Unchecked)
    dock.start_button.click()
    assert "tick a layer, or add files" in dock.notes.toPlainText()
    dock.images.add_files([str(tmp_path / "gone.tif")])
    dock.start_button.click()
    finish(dock, qtbot)
    assert "gone.tif: cannot be found" in dock.notes.toPlainText()
    assert dock.start_button.isEnabled()


def test_rectangles_stay_within_the_image():
    shape = np.array([[0, -5.5, 10.2], [0, 20, 10.2], [0, 20, 500]])
    assert rectangles([shape], (30, 40)) == [(Span(0, 21), Span(10, 40))]
    with pytest.raises(FormError, match="outside of the image"):
        rectangles([shape + 100], (30, 40))


def test_names_and_missing_fields():
    assert clean_name("", "paper-rgb") == "paper-rgb-tuned"
    for bad in ("../evil", "a/b", ".hidden"):
        with pytest.raises(FormError, match="only letters"):
            clean_name(bad, "x")
    with pytest.raises(FormError, match="tick a layer"):
        make_fine_tune_request(FineTuneForm(model="m"), [], [], [])
    settings = FineTuneForm(input_mask=False, attention_mask=False).settings()
    assert (settings["masked_patches"], settings["attention_mask"]) == (0.0, [0.0, 0.0])


def test_long_loss_curves_stay_short_and_keep_their_mean():
    history = History()
    for step in range(1, 5001):
        history.add_step(Stepped(step, 5000, step / 5000, 1e-4, step, 1.0))
    assert len(history.steps) <= 2000
    assert history.steps == sorted(history.steps)
    np.testing.assert_allclose(np.array(history.losses) * 5000, history.steps)
    for _ in range(2):
        history.add_validation(Validated(10, {"a": 1.0}, {}, True, np.zeros((1, 1, 3))))
    assert history.psnr == {"a": [1.0]}


@pytest.mark.parametrize(
    ("trained", "said"),
    [
        (Trained(9, 5, 30.0, "finished", {"n": 28.0}, {"n": 30.0}), r"The best step, 5, .* \(\+2\.00 dB"),
        (Trained(9, 0, 30.0, "finished", {"n": 30.0}, {"n": 30.0}), "No step was better"),
        (Trained(9, 5, 30.0, "diverged"), "try a lower learning rate"),
        (Trained(9, 9, None, "stopped"), "Continue goes on. Save keeps the last weights"),
    ],
)
def test_endings(trained, said):
    import re

    assert re.search(said, describe_training_end(trained))
