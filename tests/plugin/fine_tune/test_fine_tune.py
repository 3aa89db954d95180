"""Tests of the Fine-tune dock in a real viewer, with a tiny model."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from skimage.data import immunohistochemistry

from masked_denoiser.errors import FormError
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.models.file import read_card
from masked_denoiser.plugin.denoise.results.result_layers import ResultLayers
from masked_denoiser.plugin.denoise.task import LayerUpdate
from masked_denoiser.plugin.denoise_dock import DenoiseDock
from masked_denoiser.plugin.fine_tune.form import (
    FineTuneForm,
    bounding_boxes,
    make_fine_tune_request,
    model_name,
    shape_boxes,
)
from masked_denoiser.plugin.fine_tune.history import TrainingHistory
from masked_denoiser.plugin.fine_tune_dock import FineTuneDock
from masked_denoiser.plugin.shared.wording import describe_training_end
from masked_denoiser.tiling.plan import Span
from masked_denoiser.training.events import ESTIMATED, HIDDEN_PIXELS, Stepped, Trained, Validated
from masked_denoiser.training.run_folder import RunFolder

TIMEOUT = 60_000


@pytest.fixture
def tissue() -> np.ndarray:
    return np.ascontiguousarray(immunohistochemistry()[100:228, 60:220])


@pytest.fixture
def viewer(make_napari_viewer, models):
    return make_napari_viewer(show=True)


@pytest.fixture
def open_tune(viewer, qtbot):
    """Return a function that opens the dock, idle, with a recipe that takes a second."""
    opened = []

    def open_() -> FineTuneDock:
        dock = FineTuneDock(viewer)
        viewer.window.add_dock_widget(dock, name="Fine-tune")
        opened.append(dock)
        for box, value in ((dock.expert.steps, 4), (dock.expert.batch, 2), (dock.expert.patch, 16)):
            box.setValue(value)
        dock.model.setCurrentText("tiny-rgb")
        wait_until_idle(dock, qtbot)
        return dock

    yield open_
    for dock in opened:
        dock.presenter.stop()


@pytest.fixture(autouse=True)
def fail_on_questions(monkeypatch):
    """Fail on an unexpected question, which would wait for an answer without end."""

    def ask(self, question, *choices):
        raise AssertionError(question)

    monkeypatch.setattr(FineTuneDock, "ask", ask)


def wait_until_idle(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)


def test_fine_tuned_model_denoises(viewer, open_tune, qtbot, tissue, models):
    """Press Start and Save, and Denoise in the other dock."""
    viewer.add_image(tissue, name="tissue")
    dock = open_tune()
    denoise = DenoiseDock(viewer)
    viewer.window.add_dock_widget(denoise, name="Denoise")
    wait_until_idle(denoise, qtbot)
    assert not dock.save_button.isEnabled()
    dock.start_button.click()
    assert dock.stop_button.isEnabled()
    assert not dock.start_button.isEnabled()
    wait_until_idle(dock, qtbot)
    assert "Error" not in dock.messages.toPlainText()
    assert "Done: 4 steps." in dock.messages.toPlainText()
    assert dock.curves.isVisible()
    assert not dock.picture.pixmap().isNull()
    dock.name.setText("mine")
    dock.save_button.click()
    card = read_card(models / "mine.safetensors")
    assert (card.name, card.training["recipe"]["steps"]) == ("mine", 4)
    assert denoise.model.currentText() == "mine"
    denoise.expert.fields["tile"].value = 64
    denoise.expert.noise.setCurrentText("none")
    denoise.denoise_button.click()
    wait_until_idle(denoise, qtbot)
    assert viewer.layers["tissue denoised"].data.shape == tissue.shape
    denoise.presenter.stop()


def test_denoise_with_it_now(viewer, open_tune, qtbot, tissue, models):
    viewer.add_image(tissue, name="tissue")
    dock = open_tune()
    dock.model.setCurrentText("auto")
    assert not dock.denoise_button.isEnabled()
    dock.start_button.click()
    wait_until_idle(dock, qtbot)
    assert not dock.view_picture.pixmap().isNull()
    dock.denoise_button.click()
    assert (models / "tissue-tuned.safetensors").exists()
    _, denoise = viewer.window.add_plugin_dock_widget("napari-masked-denoiser", "Denoise")
    assert denoise.model.currentText() == "tissue-tuned"
    wait_until_idle(denoise, qtbot)
    assert "preview of " in denoise.messages.toPlainText()  # of a random model, which changes nothing
    denoise.presenter.stop()


@pytest.mark.parametrize(
    ("answer", "way"), [("Train with noisy images", "noisy"), ("Train anyway", "clean"), ("Stop", "")]
)
def test_noisy_images_are_not_silently_taken_as_clean(viewer, open_tune, qtbot, tissue, answer, way):
    noisy = np.clip(tissue + np.random.default_rng(0).normal(0, 20, tissue.shape), 0, 255).astype(np.uint8)
    viewer.add_image(noisy, name="noisy")
    dock = open_tune()
    with patch.object(FineTuneDock, "ask", return_value=answer) as ask:
        dock.start_button.click()
        wait_until_idle(dock, qtbot)
    assert "one is noisy (noisy: " in ask.call_args.args[0]
    assert "standard deviation" in ask.call_args.args[0]
    recipe = RunFolder(dock.presenter._request.folder).recipe()
    assert (recipe.way if recipe else "") == way


def test_noise_is_previewed_on_image_patch(viewer, open_tune, qtbot, tissue):
    viewer.add_image(tissue, name="tissue")
    dock = open_tune()
    qtbot.waitUntil(dock.noise_picture.isVisible, timeout=TIMEOUT)
    before = dock.noise_picture.pixmap().toImage()
    dock.noise.family.setCurrentText("speckle")
    assert dock.form().noise == "speckle(variance=0.02)"
    dock.noise.sliders()["variance"].setValue((0.01, 0.05))
    assert dock.form().noise == "speckle(variance=0.01..0.05)"
    qtbot.waitUntil(lambda: dock.noise_picture.pixmap().toImage() != before, timeout=TIMEOUT)
    for letter in "x":
        qtbot.keyClicks(dock.noise.recipe, letter)
    assert "character" in dock.noise.problem.text()
    assert dock.noise.family.currentText() == "custom recipe"
    dock.start_button.click()
    wait_until_idle(dock, qtbot)
    assert "Error: noise recipe, character" in dock.messages.toPlainText()
    assert dock.start_button.isEnabled()


def test_default_noise_is_that_of_the_training_of_the_model(viewer, open_tune, qtbot, tissue, models):
    model = load_model("tiny-rgb")
    training = {"recipe": {"noise": "speckle(variance=0.3)", "steps": 7}}
    card = replace(model.card, name="loud", training=training)
    replace(model, card=card).save(models / "loud.safetensors")
    viewer.add_image(tissue, name="tissue")
    dock = open_tune()
    assert (dock.form().noise, dock.noise.family.currentText()) == ("", "as the model was trained")
    qtbot.waitUntil(dock.noise_picture.isVisible, timeout=TIMEOUT)
    before = dock.noise_picture.pixmap().toImage()
    dock.model.setCurrentText("loud")
    qtbot.waitUntil(lambda: dock.noise_picture.pixmap().toImage() != before, timeout=TIMEOUT)
    wait_until_idle(dock, qtbot)
    dock.noise.family.setCurrentText("none")
    assert dock.form().settings()["noise"] == "none"
    dock.noise.recipe.selectAll()
    qtbot.keyClick(dock.noise.recipe, Qt.Key.Key_Backspace)
    assert (dock.form().noise, dock.noise.problem.text()) == ("", "")
    dock.start_button.click()
    wait_until_idle(dock, qtbot)
    assert "Done: 4 steps." in dock.messages.toPlainText()
    recipe = RunFolder(models.parent / "training" / "tissue-tuned").recipe()
    assert recipe is not None
    assert recipe.noise == "speckle(variance=0.3)"


def test_stop_and_continue(viewer, open_tune, qtbot, tissue):
    viewer.add_image(tissue, name="tissue")
    dock = open_tune()
    dock.expert.steps.setValue(100_000)
    dock.start_button.click()
    qtbot.waitUntil(lambda: dock.progress_label.text().startswith("step "), timeout=TIMEOUT)
    began = time.monotonic()
    dock.stop_button.click()
    wait_until_idle(dock, qtbot)
    assert time.monotonic() - began < 2, "Stop must answer within two seconds, whatever the machine"
    assert "press Continue to resume" in dock.messages.toPlainText()
    first = dock.presenter._result.trained.step
    dock.expert.steps.setValue(first + 3)
    dock.continue_button.click()
    wait_until_idle(dock, qtbot)
    assert f"Done: {first + 3} steps." in dock.messages.toPlainText()
    assert f"resuming after step {first}" in dock.messages.toPlainText()
    # Steps that are done are made again, also in another session of napari, which has no result yet.
    dock.presenter._result = None
    with patch.object(FineTuneDock, "ask", return_value="Continue"):
        dock.expert.steps.setValue(2)
        dock.start_button.click()
        wait_until_idle(dock, qtbot)
    assert f"Done: {first + 5} steps." in dock.messages.toPlainText()
    # A second start under the same name needs confirmation.
    with patch.object(FineTuneDock, "ask", return_value="Start again") as ask:
        dock.expert.steps.setValue(2)
        dock.start_button.click()
        wait_until_idle(dock, qtbot)
    assert ask.call_args.args[1:] == ("Continue", "Start again", "Stop")
    assert "Done: 2 steps." in dock.messages.toPlainText()


def test_closing_dock_keeps_checkpoint(viewer, open_tune, qtbot, tissue, models):
    import threading

    viewer.add_image(tissue, name="tissue")
    dock = open_tune()
    dock.expert.steps.setValue(100_000)
    dock.start_button.click()
    qtbot.waitUntil(lambda: dock.progress_label.text().startswith("step "), timeout=TIMEOUT)
    viewer.window.remove_dock_widget(dock)
    names = ("masked-denoiser", "masked-denoiser-patches_0")
    qtbot.waitUntil(lambda: not [t for t in threading.enumerate() if t.name in names], timeout=TIMEOUT)
    assert (models.parent / "training" / "tissue-tuned" / "checkpoint.pt").exists()


@pytest.mark.parametrize("supervision", ["noisy images, no truth", "pairs: noisy and clean"])
def test_other_kinds_of_supervision(viewer, open_tune, qtbot, tissue, supervision):
    noisy = np.clip(tissue + np.random.default_rng(0).normal(0, 20, tissue.shape), 0, 255).astype(np.uint8)
    viewer.add_image(tissue, name="clean")
    viewer.add_image(noisy, name="noisy")
    dock = open_tune()
    assert [viewer.layers[n].name for n in dock.training_images()[0]] == ["noisy"]
    dock.supervision.setCurrentText(supervision)
    dock.clean_layer.setCurrentText("clean")
    dock.start_button.click()
    wait_until_idle(dock, qtbot)
    assert "Done: 4 steps." in dock.messages.toPlainText()
    assert not dock.noise.isVisible()


def test_training_is_limited_to_shapes(viewer, open_tune, qtbot):
    """The image is NaN outside the rectangle: reading there would end the training."""
    pixels = np.full((300, 300), np.nan, np.float32)
    pixels[40:180, 50:230] = np.sin(np.arange(180) / 9) ** 2
    viewer.add_image(pixels, name="image", scale=(0.5, 0.5), contrast_limits=(0, 1))
    viewer.add_shapes([[[20, 25], [20, 114], [89, 114], [89, 25]]], name="here")
    dock = open_tune()
    dock.region.setCurrentText("here")
    request = dock.presenter._request_for(dock.form(), False)
    assert request.regions == (((Span(40, 179), Span(50, 229)),),)
    dock.start_button.click()
    wait_until_idle(dock, qtbot)
    assert "Error" not in dock.messages.toPlainText()
    assert "Done: 4 steps." in dock.messages.toPlainText()
    dock.images.add_files(["a file"])
    dock.start_button.click()
    assert "shapes apply to layers only" in dock.messages.toPlainText()
    viewer.layers["here"].data = []
    dock.presenter.update_noise_preview()
    qtbot.waitUntil(lambda: "has no shapes" in dock.noise.problem.text(), timeout=TIMEOUT)
    assert dock.save_button.isEnabled()


def test_errors_are_shown_and_dock_stays_usable(viewer, open_tune, qtbot, tmp_path):
    viewer.add_image(np.zeros((64, 64), np.uint8), name="black")
    dock = open_tune()
    dock.start_button.click()
    wait_until_idle(dock, qtbot)
    assert "black is constant and cannot be trained with" in dock.messages.toPlainText()
    dock.images.list.item(0).setCheckState(dock.images.list.item(0).checkState().Unchecked)
    dock.start_button.click()
    assert "tick a layer, or add files" in dock.messages.toPlainText()
    dock.images.add_files([str(tmp_path / "gone.tif")])
    dock.start_button.click()
    wait_until_idle(dock, qtbot)
    assert "gone.tif: cannot be found" in dock.messages.toPlainText()
    assert dock.start_button.isEnabled()


def test_rectangles_are_clipped_to_image():
    shape = np.array([[0, -5.5, 10.2], [0, 20, 10.2], [0, 20, 500]])
    assert bounding_boxes([shape], (30, 40)) == [(Span(0, 21), Span(10, 40))]
    with pytest.raises(FormError, match="outside of the image"):
        bounding_boxes([shape + 100], (30, 40))


def test_names_and_missing_fields():
    assert model_name("", Path("slides/my slide.ome.tif")) == "my-slide-tuned"
    for typed, safe in (("../evil", "evil"), ("a/b c", "a-b-c"), (".hidden", "hidden"), ("x" * 300, "x" * 100)):
        assert model_name(typed, Path("x.tif")) == safe
    with pytest.raises(FormError, match="no letters"):
        model_name("...", Path("x.tif"))
    with pytest.raises(FormError, match="tick a layer"):
        make_fine_tune_request(FineTuneForm(model="m"), [], [], [])
    settings = FineTuneForm(input_mask=False, attention_mask=False).settings()
    assert (settings["masked_patches"], settings["attention_mask"]) == (0.0, [0.0, 0.0])


def test_long_loss_curves_are_binned_to_means():
    history = TrainingHistory()
    for step in range(1, 5001):
        history.add_step(Stepped(step, 5000, step / 5000, 1e-4, step, 1.0))
    assert len(history.steps) <= 2000
    assert history.steps == sorted(history.steps)
    np.testing.assert_allclose(np.array(history.losses) * 5000, history.steps)
    for _ in range(2):
        history.add_validation(Validated(10, {"a": 1.0}, {}, True, np.zeros((1, 1, 3))))
    history.add_validation(Validated(20, {"b": 2.0}, {}, True, np.zeros((1, 1, 3))))
    assert history.psnr == {"a": {10: 1.0}, "b": {20: 2.0}}


@pytest.mark.parametrize(
    ("trained", "message"),
    [
        (Trained(9, 5, 30.0, "finished", {"n": 28.0}, {"n": 30.0}), r"The best step, 5, .* \(\+2\.00 dB"),
        (Trained(9, 0, 30.0, "finished", {"n": 30.0}, {"n": 30.0}), "No step was better"),
        (
            Trained(9, 5, 30.0, "finished", {ESTIMATED: 28.0}, {ESTIMATED: 30.0}),
            r"\(\+2\.00 dB relative to the original model\), compared with the same image with other noise",
        ),
        (Trained(9, 5, 22.0, "finished", {}, {HIDDEN_PIXELS: 22.0}), r"^(?!.* dB).*compare both by eye"),
        (Trained(9, 5, 30.0, "diverged"), "try a lower learning rate"),
        (Trained(9, 9, None, "stopped"), "press Continue to resume. Save writes the last weights"),
    ],
)
def test_endings(trained, message):
    import re

    assert re.search(message, describe_training_end(trained))


def test_choices_follow_layers_that_are_renamed_and_moved(viewer, open_tune):
    layers = [viewer.add_image(np.zeros((64, 64)), name=name) for name in "abc"]
    shapes = viewer.add_shapes([np.array([[2.0, 2], [2, 9], [9, 9], [9, 2]])], name="box")
    dock = open_tune()
    for number in range(3):
        dock.images.list.item(number).setCheckState(Qt.CheckState.Checked if number != 1 else Qt.CheckState.Unchecked)
    dock.clean_layer.setCurrentIndex(1)
    dock.region.setCurrentText("box")
    layers[0].name, layers[1].name, shapes.name = "first", "second", "region"
    viewer.layers.move(2, 0)
    assert dock.training_images()[0] == [0, 1]
    assert [viewer.layers[number].name for number in (0, 1)] == ["c", "first"]
    assert dock.clean_layer.currentText() == "second"
    assert dock.shapes_name() == "region"


def test_views_are_no_training_images(viewer, open_tune, tissue):
    """The live view of a layer shows its pixels; the removal of a region is reported."""
    layer = viewer.add_image(tissue, name="tissue")
    dock = open_tune()
    ResultLayers(viewer).show_separately(layer, LayerUpdate("live", (tissue,)))
    assert [dock.images.list.item(number).text() for number in range(dock.images.list.count())] == ["tissue"]
    shapes = viewer.add_shapes([[[0, 0], [0, 60], [60, 60], [60, 0]]], name="cells")
    dock.region.setCurrentText("cells")
    viewer.layers.remove(shapes)
    assert "Shapes layer 'cells' was removed" in dock.messages.toPlainText()


def test_rectangle_of_a_layer_whose_last_dimension_is_not_x():
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((40, 60, 5)), axis_labels=("y", "x", "z"))
    shapes = viewer.add_shapes([np.array([[5.0, 10, 2], [5, 30, 2], [20, 30, 2], [20, 10, 2]])], ndim=3)
    assert shape_boxes(shapes, layer, "YXZ", (40, 60)) == [(Span(5, 21), Span(10, 31))]
