"""Tests of form, messages, worker and updated pyramid levels, without Qt."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import zarr

from masked_denoiser.errors import FormError, JobError, MaskedDenoiserError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.writers.downsample import halve
from masked_denoiser.jobs.pipeline.events import Cancelled, Finished, Progress, TileDone
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.jobs.storage.journal import lock_output
from masked_denoiser.plugin.denoise import task as tasks
from masked_denoiser.plugin.denoise.form import Form, default_path, make_request, memory_warning, output_path
from masked_denoiser.plugin.denoise.presenter import DenoisePresenter, DenoiseView
from masked_denoiser.plugin.layers.live_result import LiveRegion, live_in_memory
from masked_denoiser.plugin.shared.background_task import TaskEnded, TaskRunner
from masked_denoiser.plugin.shared.wording import describe_error, describe_job_end
from masked_denoiser.tiling.plan import Span

SOURCE = open_image(np.zeros((50, 60), np.uint8), axes="YX")
DONE = Progress(40, 40, 10**6, 0, 200.0)


@pytest.mark.parametrize(
    ("output", "path", "expected"),
    [
        ("memory", "ignored", None),
        ("zarr", "a/b", Path("a/b.ome.zarr")),
        ("zarr", "a/b.zarr", Path("a/b.zarr")),
        ("zarr", "b.tif", Path("b.tif.ome.zarr")),
        ("tiff", "b.OME.TIF", Path("b.OME.TIF")),
        ("tiff", " b.x ", Path("b.x.ome.tif")),
    ],
)
def test_suffix_is_appended_to_output(output, path, expected):
    assert output_path(Form(output=output, path=path)) == expected


def test_output_requires_path():
    with pytest.raises(FormError, match="choose a file"):
        output_path(Form(output="tiff", path="  "))


def test_suggested_path_is_in_input_folder(tmp_path):
    image = tmp_path / "in.svs"
    assert default_path("zarr", "a/b: c", None, image, Path("/home")) == str(tmp_path / "a_b_ c denoised.ome.zarr")
    assert default_path("tiff", "a", None, None, Path("home")) == str(Path("home", "a denoised.ome.tif"))
    assert default_path("memory", "a", None, image, Path("/home")) == ""
    assert default_path("tiff", "a", tmp_path, Path("b"), Path("home")) == str(tmp_path / "a denoised.ome.tif")


def test_request_requires_model():
    with pytest.raises(FormError, match="choose a model"):
        make_request(Form(), SOURCE, input=None)


def test_result_is_multiscale_only_like_its_layer_or_if_it_is_large():
    large = open_image(np.broadcast_to(np.uint8(0), (10, 8193)), axes="YX")
    request = partial(make_request, Form(model="m"), input=None)
    part = Region((), Span(0, 10), Span(0, 8192))
    assert request(large).pyramid
    assert not request(SOURCE).pyramid
    assert request(SOURCE, multiscale=True).pyramid
    assert not request(large, region=part).pyramid
    assert not request(large, region=replace(part, columns=Span(0, 8193)), preview=True, multiscale=True).pyramid


def test_large_result_in_memory_needs_confirmation():
    assert memory_warning(SOURCE, False, free=6000) == ""
    assert "An output on disk" in memory_warning(SOURCE, False, free=5999)
    assert memory_warning(SOURCE, True, free=6000) != ""
    part = Region((), Span(0, 25), Span(0, 60))
    assert memory_warning(SOURCE, False, free=3000, region=part) == ""
    assert memory_warning(SOURCE, False, free=2999, region=part) != ""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MaskedDenoiserError("x is 3;\nchoose 4"), "x is 3; choose 4"),
        (RuntimeError("CUDA error: out of memory"), "there was not enough memory"),
        (MemoryError(), "there was not enough memory"),
        (OSError("No space left on device"), "a file could not be read or written"),
        (RuntimeError("mat1 and mat2"), "unexpected RuntimeError: mat1 and mat2; please report"),
    ],
)
def test_error_messages(error, expected):
    assert describe_error(error).startswith(expected)


def test_endings():
    some = Progress(12, 40, 10**6, 5, 3.0)
    assert describe_job_end(Finished(DONE), "r", None) == "Done: layer 'r', 40 tiles in 3 min 20 s."
    assert describe_job_end(Finished(DONE), "r", Path("a.tif")) == "Done: a.tif, 40 tiles in 3 min 20 s."
    cancelled = describe_job_end(Cancelled(some), "r", Path("a.tif"))
    assert cancelled.startswith("Cancelled: 12 of 40 tiles are kept in a.tif. Press")
    assert describe_job_end(Cancelled(some), "", None, ", because") == "Cancelled, because: nothing is kept."


def events_of(runner):
    events = []
    while runner.running:
        events += runner.poll()
    return events


def test_worker_reports_runtime_errors_and_ends():
    def task(cancel):
        yield 1
        raise RuntimeError("lost by napari's workers")

    runner = TaskRunner()
    runner.start(task)
    first, last = events_of(runner)
    assert first == 1
    assert isinstance(last, TaskEnded)
    assert str(last.error) == "lost by napari's workers"
    assert not runner.running


def test_worker_keeps_only_latest_progress():
    def task(cancel):
        for number in range(1000):
            yield Progress(number, 1000, 0, 0, 0.0)
            if number == 500:
                yield "half"

    runner = TaskRunner()
    runner.start(task)
    runner._thread.join()
    events = events_of(runner)
    assert [getattr(event, "done", event) for event in events] == [500, "half", 999, TaskEnded()]


def test_stopped_worker_closes_task_and_is_silent():
    closed, started = threading.Event(), threading.Event()

    def task(cancel):
        try:
            started.set()
            while not cancel.wait(0.01):
                yield "working"
        finally:
            closed.set()

    runner = TaskRunner()
    runner.start(task)
    started.wait(10)
    assert runner.stop(10)
    assert closed.is_set()
    assert runner.poll() == []
    runner.start(lambda cancel: iter(["again"]))
    assert events_of(runner) == ["again", TaskEnded()]


def test_second_task_waits_for_first():
    runner = TaskRunner()
    runner.start(lambda cancel: iter([]))
    with pytest.raises(ValueError, match="running already"):
        runner.start(lambda cancel: iter([]))
    events_of(runner)


@pytest.mark.parametrize("tile", [64, 24])
def test_lower_levels_follow_tiles_and_end_exact(tile):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 603, 515, 3), dtype=np.uint8)
    source = open_image(pixels, axes="ZYXS")
    array = np.zeros_like(pixels)
    live = live_in_memory(array, source, pyramid=True)
    plane = Plane((("Z", 1),), "S", 0, 3)
    for y in range(0, 603, tile):
        for x in range(0, 515, tile):
            piece = pixels[1, y : y + tile, x : x + tile]
            array[1, y : y + tile, x : x + tile] = piece
            live.add(TileDone(plane, y, x, piece.transpose(2, 0, 1), DONE))
    levels = live.layer_levels("ZYXS")
    assert [level.shape for level in levels] == [(2, 603, 515, 3), (2, 302, 258, 3), (2, 151, 129, 3)]
    half = halve(pixels[1], 0, 1)
    if tile == 64:
        np.testing.assert_array_equal(levels[1][1], half)
        np.testing.assert_array_equal(levels[2][1], halve(half, 0, 1))
    assert not np.asarray(levels[1][0]).any()
    live.finalize()
    np.testing.assert_array_equal(levels[1][1], half)
    assert isinstance(levels[1], zarr.Array)


@pytest.mark.parametrize("corner", [(0, 0), (70, 301)])
def test_level_cached_by_napari_is_updated(corner):
    """napari converts the smallest level of a two-dimensional pyramid to NumPy once, and keeps that array."""
    pixels = np.random.default_rng(0).integers(0, 255, (603, 615), dtype=np.uint8)
    array = np.zeros_like(pixels)
    cut = array[corner[0] : corner[0] + 515, corner[1] : corner[1] + 300]
    source = open_image(np.zeros_like(pixels), axes="YX")
    part = Region((), Span(corner[0], corner[0] + 515), Span(corner[1], corner[1] + 300))
    whole, region = live_in_memory(array, source, True), LiveRegion(cut, source, part, 64, True)
    kept = [np.asarray(live.layer_levels("YX")[-1]) for live in (whole, region)]
    for y in range(0, 603, 64):
        for x in range(0, 615, 64):
            array[y : y + 64, x : x + 64] = pixels[y : y + 64, x : x + 64]
            inside = y + 64 > corner[0] and y < corner[0] + 515 and x + 64 > corner[1] and x < corner[1] + 300
            for live in (whole, region)[: 1 + inside]:
                live.add(TileDone(Plane(), y, x, pixels[None, y : y + 64, x : x + 64], DONE))
    for seen, expected in zip(kept, (array, cut), strict=True):
        np.testing.assert_array_equal(seen, halve(halve(expected, 0, 1), 0, 1))


def test_task_cancelled_before_first_tile_frees_output(models, tmp_path, monkeypatch):
    kept, prepare = [], tasks._prepare
    monkeypatch.setattr(tasks, "_prepare", lambda *arguments: kept.append(prepare(*arguments)) or kept[-1])
    form = Form(model="tiny-gray", output="zarr", path=str(tmp_path / "o"), device="cpu", options=Options(noise="none"))
    events = tasks.denoise(make_request(form, SOURCE, input=tmp_path / "in.tif"), threading.Event())
    next(events)
    with pytest.raises(JobError, match="is being written"):
        lock_output(tmp_path / "o.ome.zarr")
    events.close()
    lock_output(tmp_path / "o.ome.zarr").release()
    assert kept


def test_job_that_changes_nothing_ends_as_cancelled_if_it_was(models, tmp_path):
    request, cancel = make_request(Form(model="tiny-gray", device="cpu"), SOURCE, input=None), threading.Event()
    assert not any(isinstance(event, Cancelled) for event in tasks.denoise(request, cancel))
    cancel.set()
    assert isinstance(list(tasks.denoise(request, cancel))[-1], Cancelled)


def test_presenter_without_layers_shows_message(models):
    from napari.components import ViewerModel

    view = MagicMock(spec=DenoiseView)
    view.form.return_value = Form(model="tiny-gray")
    presenter = DenoisePresenter(ViewerModel(), view)
    presenter.denoise()
    view.show_error.assert_called_once_with("there is no image layer; open an image first")
    names = ["auto", "general-gray", "general-rgb", "tiny-gray", "tiny-rgb"]
    view.show_models.assert_called_once_with(names, "auto")
    presenter.stop()
    assert not presenter.busy


def test_presenter_confirms_large_result_in_memory(models, monkeypatch):
    from napari.components import ViewerModel

    view = MagicMock(spec=DenoiseView)
    view.form.return_value = Form(model="tiny-gray")
    view.ask.return_value = "Stop"
    viewer = ViewerModel()
    viewer.add_image(np.zeros((40, 50), np.uint8))
    monkeypatch.setattr("psutil.virtual_memory", lambda: MagicMock(available=100))
    presenter = DenoisePresenter(viewer, view)
    presenter.denoise()
    assert view.ask.call_args.args[1:] == ("Denoise anyway", "Stop")
    view.set_running.assert_not_called()
    presenter.stop()
