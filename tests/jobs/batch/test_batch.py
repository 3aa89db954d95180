"""Batches of images: their outputs, and their processing in sequence."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.errors import AlreadyCompleteError, ImageError, JobError, ListError, MaskedDenoiserError
from masked_denoiser.images.discovery import find_images, stem_of
from masked_denoiser.images.locator import is_match, matches
from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.assembled.ome_tiff import OmeTiffSink
from masked_denoiser.jobs.api import denoise_file
from masked_denoiser.jobs.batch.outputs import Pair, is_batch, plan_outputs
from masked_denoiser.jobs.batch.prepare import Preparer
from masked_denoiser.jobs.batch.run import FileBegun, FileEnded, FileReady, Summary, run_batch
from masked_denoiser.jobs.pipeline.pipeline import Pipeline
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.storage.journal import Journal, lock_output
from masked_denoiser.models import catalogue
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.swin import MaskedSwin

OPTIONS = Options(tile=32, noise="none")


@pytest.fixture
def images(tmp_path):
    """Return a folder with images of several kinds and unrelated files."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("b.tif", "a.ome.tif", "c.SVS", "d.png", "notes.txt", ".hidden.tif", "e.ome.tif.journal"):
        (folder / name).write_bytes(b"x")
    for name in ("e.ome.zarr", "plain", "f.ome.tif.partial", "g.ome.zarr.creating"):
        (folder / name).mkdir()
    (folder / "plain" / "deep.tif").write_bytes(b"x")
    (folder / "marked").mkdir()
    (folder / "marked" / "zarr.json").write_text("{}")
    (folder / "e.ome.zarr" / "0").mkdir()
    (folder / "e.ome.zarr" / "0" / "piece.tif").write_bytes(b"x")
    return folder


def names(found):
    return [Path(image).name for image in found]


def test_folders_and_patterns_expand_to_images(images):
    assert names(find_images([str(images)])) == ["a.ome.tif", "b.tif", "c.SVS", "d.png", "e.ome.zarr"]
    assert names(find_images([f"{images}/*.tif"])) == ["a.ome.tif", "b.tif"]
    everything = ["a.ome.tif", "b.tif", "c.SVS", "d.png", "e.ome.zarr", "marked", "notes.txt", "deep.tif"]
    assert sorted(names(find_images([f"{images}/**"]))) == sorted(everything)
    # Each image once, in the given order; URLs are kept unchanged, as they cannot be listed.
    twice = [str(images / "d.png"), str(images), "s3://bucket/x?.ome.zarr", f"{images}/plain/../d.png"]
    found = find_images(twice)
    assert names(found[:3]) == ["d.png", "a.ome.tif", "b.tif"]
    assert len(found) == 6
    assert found[-1] == "s3://bucket/x?.ome.zarr"


def test_file_name_with_wildcards_is_a_file(images):
    (images / "b[1].tif").write_bytes(b"x")
    assert names(find_images([str(images / "b[1].tif")])) == ["b[1].tif"]
    assert not is_batch([str(images / "b[1].tif")], "out.ome.zarr")


@pytest.mark.parametrize(
    ("inputs", "output", "expected"),
    [
        (["in/b.tif"], "out.ome.zarr", False),
        (["in/b.tif"], "out", False),
        (["in/b.tif"], "out/", True),
        (["in/b.tif"], "in", True),
        (["in/b.tif"], "in/e.ome.zarr", False),
        (["in/e.ome.zarr"], "out.ome.zarr", False),
        (["in"], "out", True),
        (["in/*.tif"], "out", True),
        (["in/b.tif", "in/d.png"], "out", True),
        (["https://host/b.ome.zarr?x=1"], "out.ome.zarr", False),
    ],
)
def test_batch_inputs_are_recognised(images, monkeypatch, inputs, output, expected):
    monkeypatch.chdir(images.parent)
    assert is_batch(inputs, output) is expected


NAMES = st.text(st.sampled_from("ab.AB é[*"), min_size=1, max_size=6).filter(lambda name: not name.startswith("."))
ENDINGS = st.sampled_from([".tif", ".ome.tif", ".ome.tiff", ".svs", ".png", ".JPG", ".zarr", ".ome.zarr"])


@given(st.lists(st.tuples(NAMES, ENDINGS), min_size=1, max_size=6, unique=True), st.sampled_from([".ome.zarr", ".tif"]))
def test_each_image_gets_a_unique_output(tmp_path_factory, files, ending):
    folder = tmp_path_factory.mktemp("plan")
    paths = [folder / f"{stem}{old}" for stem, old in files]
    for path in paths:
        path.write_bytes(b"x")
    inputs = [str(path) for path in paths]
    if len({stem_of(path).casefold() for path in inputs}) < len(inputs):
        with pytest.raises(ListError, match="would both be written to"):
            plan_outputs(inputs, folder / "out", ending)
        return
    pairs = plan_outputs(inputs, folder / "out", ending)
    assert [pair.input for pair in pairs] == inputs
    outputs = [str(pair.output).casefold() for pair in pairs]
    assert len(set(outputs)) == len(outputs)
    assert not set(outputs) & {str(path).casefold() for path in paths}
    for pair, (stem, _) in zip(pairs, files, strict=True):
        assert pair.output.parent == folder / "out"
        assert pair.output.name.endswith(ending)
        assert pair.output.name.startswith(stem[:1])
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("suffix", "ending"),
    [
        *((suffix, ".mrc") for suffix in (".mrc", ".mrcs", ".map", ".REC", ".st", ".ali")),
        (".nii", ".nii"),
        (".nii.gz", ".nii.gz"),
        (".hdr", ".nii.gz"),
        (".lif", ".ome.zarr"),
    ],
)
def test_format_that_can_be_written_is_kept(suffix, ending, tmp_path):
    (tmp_path / f"a{suffix}").write_bytes(b"x")
    (pair,) = plan_outputs([str(tmp_path)], tmp_path / "out")
    assert pair.output == tmp_path / "out" / f"a{ending}"


def refusals(folder):
    """Return inputs, output, extension, and what the error must name."""
    return [
        ([f"{folder}/*.czi"], "out", ".ome.zarr", "nothing matches"),
        ([f"{folder}/missing.tif", f"{folder}/b.tif"], "out", ".ome.zarr", "missing.tif: cannot be found"),
        ([f"{folder}/f.ome.tif.partial"], "out", ".ome.zarr", "holds no images"),
        ([f"{folder}/b.tif", f"{folder}/plain/../b.png"], "out", ".ome.zarr", "b.png would both be written to"),
        ([f"{folder}/b.tif", f"{folder}/B.png"], "out", ".ome.zarr", "would both be written to"),
        ([str(folder)], "in", ".ome.zarr", "is both input and output"),
        ([f"{folder}/b.t*"], "in", ".tiff", "b.tiff matches .*, so that a second run would denoise the results"),
        ([f"{folder}/b.tif", f"{folder}/d.png"], "in", ".tif", "is, holds or lies in the input"),
        ([f"{folder}/d.png", f"{folder}/e.ome.zarr"], "in/e.ome.zarr/0", ".tif", "lies in the input"),
        ([f"{folder}/e.ome.zarr/0/piece.tif", f"{folder}/e.tif"], "in", ".ome.zarr", "holds or lies in the input"),
        ([f"{folder}/b.tif", f"{folder}/d.png"], "out.ome.zarr", ".ome.zarr", "out.ome.zarr names one image"),
        ([f"{folder}/b.tif", f"{folder}/d.png"], "in/e.ome.zarr", ".ome.zarr", "names one image"),
        ([f"{folder}/b.tif", f"{folder}/d.png"], "in/notes.txt", ".ome.zarr", "is a file"),
        ([f"{folder}/b.tif", f"{folder}/d.png"], "no/out", ".ome.zarr", "not an existing folder"),
        ([f"{folder}/b.tif", f"{folder}/d.png"], "out", ".jpg", "cannot end in '.jpg'"),
    ]


def test_invalid_batches_are_refused_before_any_work(images, monkeypatch):
    monkeypatch.chdir(images.parent)
    for name in ("b.png", "B.png", "e.tif"):
        (images / name).write_bytes(b"x")
    before = sorted(images.parent.rglob("*"))
    for inputs, output, ending, words in refusals(images):
        with pytest.raises((ListError, ImageError), match=words):
            plan_outputs(inputs, Path(output), ending)
    assert sorted(images.parent.rglob("*")) == before


def test_standard_deviation_name_does_not_clash(tmp_path):
    inputs = [str(tmp_path / name) for name in ("a.tif", "a_std.tif")]
    for path in inputs:
        Path(path).write_bytes(b"x")
    assert len(plan_outputs(inputs, tmp_path / "out")) == 2
    with pytest.raises(ListError, match=r"a_std\.ome\.zarr"):
        plan_outputs(inputs, tmp_path / "out", std=True)


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (64, 80), dtype=np.uint8)


@pytest.fixture
def made(tmp_path):
    """Return a folder with four images, one truncated, and a function that denoises them with a tiny model."""
    model = tmp_path / "tiny.safetensors"
    config = SwinConfig(channels=1, embed=4, depths=(1,), heads=(1,), mlp_ratio=1.0, mean=(0.0,))
    Model(Card("tiny", config), MaskedSwin(config).state_dict()).save(model)
    for number, name in enumerate("abcd"):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels(number), tile=(16, 16))
    torn = tmp_path / "b.tif"
    torn.write_bytes(torn.read_bytes()[:2000])
    pairs = [Pair(str(tmp_path / f"{name}.tif"), tmp_path / f"{name}.ome.zarr") for name in "abcd"]

    def run(cancel=None, pairs=pairs, **how):
        preparer = Preparer(str(model), OPTIONS, "cpu", **how)
        return run_batch(pairs, preparer, cancel or threading.Event())

    return tmp_path, run


def states(summary):
    return [outcome.state for outcome in summary.outcomes]


def end_of(events):
    *_, last = events
    assert isinstance(last, Summary)
    return last


def check_whole(folder, *letters):
    """Check that every output equals that of a single-image job, and that no journal is left."""
    for name in letters:
        image = folder / f"{name}.tif"
        denoise_file(image, folder / f"alone {name}.ome.zarr", model=folder / "tiny.safetensors", tile=32, noise="none")
        with (
            open_image(folder / f"{name}.ome.zarr") as result,
            open_image(folder / f"alone {name}.ome.zarr") as expected_result,
        ):
            np.testing.assert_array_equal(np.asarray(result.data), np.asarray(expected_result.data))
    assert not list(folder.glob("*.journal"))


def test_truncated_image_does_not_stop_the_batch(made, monkeypatch):
    folder, run = made
    loaded = []
    load = catalogue.load_model
    monkeypatch.setattr(catalogue, "load_model", lambda name: loaded.append(name) or load(name))
    events = list(run())
    summary = end_of(events)
    assert states(summary) == ["done", "failed", "done", "done"]
    assert summary.outcomes[1].reason.startswith("is truncated")
    assert "\n" not in summary.outcomes[1].reason
    assert str(summary) == "3 done, 1 failed"
    assert not summary.cancelled
    assert len(loaded) == 1
    numbers = [event.number for event in events if isinstance(event, FileBegun | FileEnded)]
    assert numbers == [0, 0, 1, 1, 2, 2, 3, 3]
    assert not (folder / "b.ome.zarr").exists()
    check_whole(folder, "a", "c", "d")


def cancel_in(number, tiles):
    """Return an event that is set after some tiles of one image, and a wrapper of the events that sets it."""
    cancel = threading.Event()

    def through(events):
        at, done = -1, 0
        for event in events:
            at = event.number if isinstance(event, FileBegun) else at
            done += at == number and type(event).__name__ == "TileDone"
            if done >= tiles:
                cancel.set()
            yield event

    return cancel, through


def test_cancelled_batch_resumes(made, monkeypatch):
    folder, run = made
    cancel, through = cancel_in(2, tiles=2)
    summary = end_of(through(run(cancel)))
    assert states(summary) == ["done", "failed", "cancelled", "not begun"]
    assert summary.cancelled
    assert Journal.path_for(folder / "c.ome.zarr").exists()
    before = {path: path.stat().st_mtime_ns for path in (folder / "a.ome.zarr").rglob("*")}
    # Without `resume`, existing outputs are not touched.
    assert states(end_of(run())) == ["failed", "failed", "failed", "done"]
    tifffile.imwrite(folder / "b.tif", pixels(1), tile=(16, 16))  # the truncated image was copied again
    denoised = []
    original = Pipeline._compute
    monkeypatch.setattr(Pipeline, "_compute", lambda *a: denoised.append(a) or original(*a))
    summary = end_of(run(resume=True))
    assert states(summary) == ["already complete", "done", "done", "already complete"]
    assert 6 <= len(denoised) < 12  # 6 tiles of b, and only what is missing of c
    assert {path: path.stat().st_mtime_ns for path in (folder / "a.ome.zarr").rglob("*")} == before
    check_whole(folder, "a", "b", "c", "d")


def test_full_disk_ends_the_batch(made, monkeypatch):
    folder, run = made
    pairs = [Pair(str(folder / f"{name}.tif"), folder / f"{name}.ome.tif") for name in "acd"]
    write, written = OmeTiffSink.write, []

    def full(self, *arguments):
        written.append(arguments)
        if len(written) == 8:  # 6 tiles an image: in the second one
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, *arguments)

    monkeypatch.setattr(OmeTiffSink, "write", full)
    summary = end_of(run(pairs=pairs))
    assert states(summary) == ["done", "failed", "not begun"]
    assert "disk is full" in summary.stopped
    assert not summary.cancelled
    monkeypatch.setattr(OmeTiffSink, "write", write)
    assert states(end_of(run(pairs=pairs, resume=True))) == ["already complete", "done", "done"]
    assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize("error", [RuntimeError("CUDA error:\nlaunch failure"), KeyError("c"), AssertionError()])
def test_unexpected_error_is_named_and_the_batch_continues(made, monkeypatch, error):
    folder, run = made
    compute, seen = Pipeline._compute, []

    def broken(self, *arguments):
        if self.job.output.endswith("a.ome.zarr"):
            seen.append(self.job.output)
            raise error
        return compute(self, *arguments)

    monkeypatch.setattr(Pipeline, "_compute", broken)
    events = list(run())
    summary = end_of(events)
    assert seen
    assert states(summary) == ["failed", "failed", "done", "done"]
    words = " ".join(str(error).split()) or "AssertionError"
    assert summary.outcomes[0].reason == f"unexpected {type(error).__name__}: {words}"
    assert next(event.error for event in events if isinstance(event, FileEnded)) is error
    monkeypatch.setattr(Pipeline, "_compute", compute)
    assert states(end_of(run(resume=True))) == ["done", "failed", "already complete", "already complete"]
    check_whole(folder, "a", "c", "d")


def test_batch_closed_early_releases_the_output(made):
    folder, run = made
    events = run()
    ready = next(event for event in events if isinstance(event, FileReady))
    with pytest.raises(JobError, match="is being written"):
        lock_output(folder / "a.ome.zarr")
    events.close()
    lock_output(folder / "a.ome.zarr").release()
    assert ready.pipeline.journal.done == {}  # not released by the garbage collector
    assert states(end_of(run(resume=True))) == ["done", "failed", "done", "done"]


def test_invalid_options_are_refused_first(tmp_path):
    for wrong, words in (
        ({"model": "no-such-model"}, "no-such-model"),
        ({"device": "tpu"}, "unknown device"),
        ({"resume": True, "overwrite": True}, "only one"),
    ):
        with pytest.raises(MaskedDenoiserError, match=words):
            Preparer(**wrong).check()


def test_resume_of_a_complete_output(tmp_path, made):
    folder, _ = made
    how = {"model": folder / "tiny.safetensors", "tile": 32, "noise": "none"}
    denoise_file(folder / "a.tif", folder / "a.ome.tif", **how)
    with pytest.raises(AlreadyCompleteError, match="is complete"):
        denoise_file(folder / "a.tif", folder / "a.ome.tif", **how, resume=True)


def test_image_inside_a_zarr_can_be_named(tmp_path):
    zarr.create_array(tmp_path / "plate.zarr" / "A" / "0", shape=(64, 64), dtype="uint8")
    assert names(find_images([f"{tmp_path}/plate.zarr/*/*"])) == ["0"]


@pytest.mark.parametrize(
    ("pattern", "output", "matched"),
    [
        ("data/**/*.tif", "data/a.ome.tif", True),
        ("data/**/*.tif", "data/s/res/a.ome.tif", True),
        ("run[1]/*.tif", "run[1]/a.ome.tif", True),
        ("run[1]/*.tif", "run1/a.ome.tif", False),
        ("data/*.tif", "data/res/a.ome.tif", False),
        ("data/*/a.tif", "data/s/b.tif", False),
    ],
)
def test_outputs_match_patterns_as_inputs_do(tmp_path, monkeypatch, pattern, output, matched):
    monkeypatch.chdir(tmp_path)
    for folder in ("data/s/res", "run[1]", "run1"):
        Path(folder).mkdir(parents=True)
    assert is_match(Path(output), pattern) == matched
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).touch()
    found = {Path(path) for path in matches(Path(pattern))}
    assert (Path(output) in found) == matched
