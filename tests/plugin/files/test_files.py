"""Tests of the Files tab: its presenter without Qt, and the tab in a real viewer with real files."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from unittest.mock import MagicMock, patch

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

import masked_denoiser as md
from masked_denoiser.errors import FormError
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise_dock import DenoiseDock
from masked_denoiser.plugin.files.presenter import FilesPresenter
from masked_denoiser.plugin.files.view import FilesForm, FilesView

TIMEOUT = 120_000
OPTIONS = md.Options(tile=64, noise="none")


@pytest.fixture
def images(tmp_path):
    """Return a folder of two images of 4 tiles each, with a broken file between them."""
    folder = tmp_path / "in"
    folder.mkdir()
    for seed, name in enumerate(("a.tif", "c.tif")):
        tifffile.imwrite(folder / name, np.random.default_rng(seed).integers(0, 256, (100, 120), dtype=np.uint8))
    (folder / "b.tif").write_bytes(b"II*\0 this is no image")
    return folder


@pytest.fixture
def dock(make_napari_viewer, models, qtbot, monkeypatch):
    """Return a dock that shows the tab Files, in a hidden viewer."""
    viewer = make_napari_viewer(show=False)
    dock = DenoiseDock(viewer)
    viewer.window.add_dock_widget(dock, name="Denoise")
    dock.expert.fields["tile"].value = OPTIONS.tile
    dock.expert.noise.setCurrentText(OPTIONS.noise)
    dock.tabs.setCurrentWidget(dock.files)
    qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)
    dock.viewer = viewer
    yield dock
    dock.files.stop()
    dock.presenter.stop()
    alive = [thread for thread in threading.enumerate() if thread.name == "masked-denoiser"]
    for thread in alive:
        thread.join(20)


def states(tab):
    return [tab.table.item(number, 1).text() for number in range(tab.table.rowCount())]


def wait_until_idle(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.files.presenter.busy, timeout=TIMEOUT)


def drop(tab, *paths):
    """Send the events of dropped files, as Qt does."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    left = Qt.MouseButton.LeftButton
    event = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, mime, left, Qt.KeyboardModifier.NoModifier)
    tab.dropEvent(event)


def test_dropped_folder_is_denoised_and_result_opens(dock, qtbot, images):
    tab = dock.files
    assert not tab.start_button.isEnabled()
    # Qt delivers a drop to the innermost widget under the cursor that accepts drops.
    assert tab.acceptDrops()
    assert not tab.table.viewport().acceptDrops()
    assert not tab.table.acceptDrops()
    drop(tab, images)
    drop(tab, images / "a.tif")  # already in the list
    assert states(tab) == ["waiting"] * 3
    assert tab.folder.text() == str(images / "denoised")
    tab.start_button.click()
    assert tab.cancel_button.isEnabled()
    assert not dock.model.isEnabled()
    wait_until_idle(dock, qtbot)
    assert states(tab)[0].startswith("done in")
    assert states(tab)[1].startswith("failed: contains no image")
    assert states(tab)[2].startswith("done in")
    assert "contains no image" in tab.table.item(1, 1).toolTip()
    assert "computing on" in tab.table.item(0, 1).toolTip()
    text = tab.messages.toPlainText()
    assert f"Done: {images / 'denoised'}: 2 done, 1 failed." in text
    assert "Error: b.tif failed: contains no image" in text
    assert tab.progress_bar.value() == tab.progress_bar.maximum() == 1000
    assert dock.model.isEnabled()
    assert sorted(path.name for path in (images / "denoised").iterdir()) == ["a.ome.zarr", "c.ome.zarr"]

    tab.table.cellDoubleClicked.emit(1, 0)  # the broken one has no result
    assert not dock.viewer.layers
    for _ in range(2):  # the second time selects the existing layer
        tab.table.cellDoubleClicked.emit(2, 0)
    (layer,) = dock.viewer.layers
    shutil.rmtree(images / "denoised" / "a.ome.zarr")  # by another program
    tab.table.selectRow(0)
    tab.open_button.click()
    assert "a.ome.zarr" in tab.messages.toPlainText().splitlines()[-1]
    assert layer.name == "c denoised"
    pixels = tifffile.imread(images / "c.tif")
    expected = md.denoise(pixels, model="general-gray", axes="YX", options=OPTIONS)
    np.testing.assert_array_equal(np.asarray(layer.data), expected)


def test_cancel_within_image_and_resume(dock, qtbot, images, paused_after_tile):
    tile_done, proceed = paused_after_tile
    tab = dock.files
    tab.presenter.add([str(images / "c.tif"), str(images / "a.tif")])
    tab.format.setCurrentText("OME-TIFF")
    tab.start_button.click()
    qtbot.waitUntil(lambda: tile_done.is_set() and states(tab)[0] == "25 %", timeout=TIMEOUT)
    assert "0 of 2 files" in tab.progress_label.text()
    dock.tabs.setCurrentIndex(0)
    assert not dock.denoise_button.isEnabled()
    tab.cancel_button.click()
    proceed.set()
    wait_until_idle(dock, qtbot)
    assert states(tab)[0].startswith("cancelled at ")
    assert states(tab)[1] == "waiting"
    output = images / "denoised" / "c.ome.tif"
    assert Journal.path_for(output).exists()
    assert "0 done, 1 cancelled, 1 not begun" in tab.messages.toPlainText()
    with patch.object(tab.presenter, "_ask", return_value="Resume") as ask:
        tab.start_button.click()
        wait_until_idle(dock, qtbot)
    assert ask.call_args.args[1:] == ("Resume", "Start again", "Stop")
    assert "1 of 2 outputs already exist, 1 of them unfinished" in ask.call_args.args[0]
    assert all(state.startswith("done in") for state in states(tab))
    for name in "ac":
        expected = md.denoise(tifffile.imread(images / f"{name}.tif"), axes="YX", options=OPTIONS)
        np.testing.assert_array_equal(tifffile.imread(images / "denoised" / f"{name}.ome.tif"), expected)
    assert not list((images / "denoised").glob("*.journal"))
    with patch.object(tab.presenter, "_ask", return_value="Resume"):
        tab.start_button.click()
        wait_until_idle(dock, qtbot)
    assert states(tab) == ["already complete"] * 2


def test_closing_dock_cancels_list(dock, qtbot, images, paused_after_tile):
    tile_done, proceed = paused_after_tile
    dock.files.presenter.add([str(images)])
    dock.files.start_button.click()
    qtbot.waitUntil(tile_done.is_set, timeout=TIMEOUT)
    proceed.set()
    dock.viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(
        lambda: not [thread for thread in threading.enumerate() if thread.name == "masked-denoiser"], timeout=TIMEOUT
    )
    assert not (images / "denoised" / "c.ome.zarr").exists()


def test_unexpected_error_is_shown_and_tab_stays_usable(dock, qtbot, images):
    dock.files.presenter.add([str(images)])
    with patch("masked_denoiser.inference.runner.ModelRunner.submit", side_effect=RuntimeError("mat1 and mat2")):
        dock.files.start_button.click()
        wait_until_idle(dock, qtbot)
    text = dock.files.messages.toPlainText()
    assert "unexpected RuntimeError: mat1 and mat2" in text
    assert "0 done, 3 failed" in text
    assert states(dock.files)[0].startswith("failed: unexpected RuntimeError")
    assert states(dock.files)[2].startswith("failed: unexpected RuntimeError")
    assert dock.files.start_button.isEnabled()


def test_layer_job_blocks_list(dock, qtbot, images, paused_after_tile, plane):
    _, proceed = paused_after_tile
    dock.files.presenter.add([str(images)])
    dock.viewer.add_image(plane, name="plane")
    dock.denoise_button.click()
    assert not dock.files.start_button.isEnabled()
    proceed.set()
    qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)
    assert dock.files.start_button.isEnabled()


def test_unreachable_scheduler_is_shown_and_nothing_runs(dock, qtbot, images):
    dock.expert.scheduler.setText("nonsense://host:1")
    dock.files.presenter.add([str(images)])
    dock.files.start_button.click()
    wait_until_idle(dock, qtbot)
    assert "nonsense://host:1" in dock.files.messages.toPlainText()
    assert not list((images / "denoised").iterdir())


@pytest.fixture
def presenter_and_view(models, tmp_path):
    """Return the presenter and a mock of its view."""
    from napari.components import ViewerModel

    view, ask, form = (
        MagicMock(spec=FilesView),
        MagicMock(return_value="Stop"),
        MagicMock(return_value=Form(model="auto")),
    )
    view.fields.return_value = FilesForm(str(tmp_path / "out"), ".ome.zarr", "")
    return FilesPresenter(ViewerModel(), view, form, ask), view, ask, form


def test_missing_input_is_reported_and_nothing_runs(presenter_and_view, images, tmp_path):
    presenter, view, _, form = presenter_and_view
    presenter.start()
    assert "there are no images in the list" in view.show_error.call_args.args[0]
    presenter.add([str(tmp_path / "missing.tif")])
    assert "cannot be found" in view.show_error.call_args.args[0]
    (images / "empty").mkdir()
    presenter.add([str(images / "a.tif"), str(images / "empty"), str(images)])
    assert "holds no images" in view.show_error.call_args.args[0]
    assert [Path(row.image).name for row in view.show_files.call_args.args[0]] == ["a.tif", "b.tif", "c.tif"]
    view.suggest_folder.assert_called_once_with(str(images / "denoised"))
    view.fields.return_value = FilesForm(" ", ".ome.zarr", "")
    presenter.start()
    assert "choose a folder" in view.show_error.call_args.args[0]
    view.fields.return_value = FilesForm(str(images), ".tif", "")
    presenter.start()
    assert "is, holds or lies in the input" in view.show_error.call_args.args[0]
    form.side_effect = FormError("fill in both")
    view.fields.return_value = FilesForm(str(tmp_path / "out"), ".ome.zarr", "")
    presenter.start()
    view.show_error.assert_called_with("fill in both")
    view.set_running.assert_not_called()
    assert not (tmp_path / "out").exists()


def test_skipped_files_of_a_folder_are_reported(presenter_and_view, images):
    presenter, view, *_ = presenter_and_view
    (images / "a.tif").rename(images / "a.flex")
    presenter.add([str(images)])
    (files,) = view.show_files.call_args.args
    assert [Path(file.image).name for file in files] == ["b.tif", "c.tif"]
    (message,) = view.show_message.call_args.args
    assert message.startswith(f"skipped 1 file with unknown suffixes in {images}: a.flex")


def test_images_in_a_file_with_wildcard_characters_are_listed_and_planned(presenter_and_view, images, tmp_path, plane):
    presenter, view, ask, _ = presenter_and_view
    np.savez(tmp_path / "x[1].npz", **{"cells//1": plane, "cells//2": plane})  # names inside of a file are no paths
    (tmp_path / "out" / "a.ome.zarr").mkdir(parents=True)
    presenter.add([f"{tmp_path}/./x[1].npz", str(images / "a.tif")])
    (files,) = view.show_files.call_args.args
    file = tmp_path / "x[1].npz"
    assert [one.image for one in files] == [f"{file}::cells//1", f"{file}::cells//2", str(images / "a.tif")]
    presenter.start()
    view.show_error.assert_not_called()
    assert ask.call_args.args[0].startswith("1 of 3 outputs already exist. ")


def test_existing_outputs_need_confirmation(presenter_and_view, images, tmp_path):
    presenter, view, ask, _ = presenter_and_view
    presenter.add([str(images)])
    (tmp_path / "out" / "a.ome.zarr").mkdir(parents=True)
    presenter.start()
    assert ask.call_args.args[0].startswith("1 of 3 outputs already exist. ")
    view.show_message.assert_called_once_with("Nothing was done.")
    view.set_running.assert_not_called()
    presenter.remove([0, 2])
    assert [row.image for row in view.show_files.call_args.args[0]] == [str(images / "b.tif")]
