"""Finalization of a job: cancellation, progress, and syncing to disk before it is recorded."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers import downsample as pyramid
from masked_denoiser.images.writers.assembled import ome_tiff as ome_tiff_sink
from masked_denoiser.jobs.pipeline.events import Cancelled, Finished, Finishing, TileDone
from masked_denoiser.jobs.pipeline.finalize import run_finalization
from masked_denoiser.jobs.prepare import prepare_file
from masked_denoiser.jobs.storage.journal import Journal
from tests.jobs.job_cases import OPTIONS, fingerprint, leftovers, make_input


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return make_input(tmp_path_factory.mktemp("input"), side=288, chunk=96)


@pytest.fixture(scope="module")
def whole(image):
    """Return the fingerprints of the outputs of uninterrupted jobs."""
    prints = {}
    for suffix in (".ome.zarr", ".ome.tif"):
        output = image.parent / f"whole{suffix}"
        assert isinstance(list(prepare(image, output).run())[-1], Finished)
        prints[suffix] = fingerprint(output)
    return prints


def prepare(image, output, **how):
    model, options = image.parent / "tiny.safetensors", replace(OPTIONS, tile=96)
    return prepare_file(open_image(image), output, model=model, options=options, device="cpu", **how).pipeline


@pytest.mark.parametrize(("suffix", "place"), [(".ome.zarr", "halve"), (".ome.tif", "halve"), (".ome.tif", "_tiles")])
def test_cancel_and_resume_of_finalize_give_the_same_bytes(image, whole, tmp_path, monkeypatch, suffix, place):
    output = tmp_path / f"cut{suffix}"
    pipeline, calls = prepare(image, output), []
    halve, tiles = pyramid.halve, ome_tiff_sink._tiles

    def counted():
        calls.append(place)
        if len(calls) == 2:
            pipeline.cancel.set()

    def halving(*args):
        counted()
        return halve(*args)

    def tiling(*args):
        for tile in tiles(*args):
            counted()
            yield tile

    with monkeypatch.context() as patch:
        patch.setattr(*((pyramid, "halve", halving) if place == "halve" else (ome_tiff_sink, "_tiles", tiling)))
        events = list(pipeline.run())
    assert isinstance(events[-1], Cancelled)
    assert events[-1].progress.pixels_left == 0
    assert len(calls) == 2  # no further step was started
    assert Journal.path_for(output).exists()
    assert not list(tmp_path.rglob("*.tif"))  # neither complete nor partial
    events = list(prepare(image, output, resume=True).run())
    assert isinstance(events[-1], Finished)
    assert not any(isinstance(event, TileDone) for event in events)
    assert fingerprint(output) == whole[suffix]
    assert leftovers(output) == []


def test_long_finalize_reports_progress():
    seen = threading.Event()

    def finish(follow):
        follow(0.25)
        assert seen.wait(60)

    events = run_finalization(finish, threading.Event())
    for event in events:
        if event == Finishing(0.25):
            seen.set()
    assert str(event) == "writing the pyramid, 25 %"
    assert str(Finishing()) == "writing the pyramid"


def test_closing_stops_finalize_and_errors_propagate():
    stopped = threading.Event()

    def endless(follow):
        try:
            while True:
                follow(0.5)
        finally:
            stopped.set()

    events = run_finalization(endless, threading.Event())
    assert [next(events), next(events).share] == [Finishing(), 0.5]
    events.close()
    assert stopped.is_set()
    with pytest.raises(OSError, match="disk full"):
        list(run_finalization(lambda follow: open_nothing(), threading.Event()))


def open_nothing():
    raise OSError("disk full")


class Disk:
    """State of files and folders that a power cut would leave, from their last sync."""

    def __init__(self, monkeypatch):
        self._fsync, self.synced = os.fsync, {}
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, descriptor):
        self._fsync(descriptor)
        self.synced[os.fstat(descriptor).st_ino] = self.state(Path(f"/proc/self/fd/{descriptor}").readlink())

    @staticmethod
    def state(path):
        return (
            sorted(p.name for p in path.iterdir()) if path.is_dir() else (path.stat().st_size, path.stat().st_mtime_ns)
        )

    def lost(self, folder, name):
        """Return the paths at `folder / name` that a power cut would lose or revert."""
        places = [folder / name, *(folder / name).rglob("*")]
        missing = [] if name in self.synced.get(folder.stat().st_ino, ()) else [name]
        return missing + [str(p) for p in places if self.synced.get(p.stat().st_ino) != self.state(p)]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells what a descriptor is by /proc")
@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_data_is_synced_before_the_journal_record(image, tmp_path, monkeypatch, suffix):
    disk, output, unsynced = Disk(monkeypatch), tmp_path / f"out{suffix}", []
    add, remove = Journal.add, Journal.remove

    def added(journal, *args):
        name = output.name if suffix == ".ome.zarr" else f"{output.name}.partial"
        unsynced.append(disk.lost(tmp_path, name))
        add(journal, *args)

    def removed(journal):
        unsynced.append(disk.lost(tmp_path, output.name))
        remove(journal)

    monkeypatch.setattr(Journal, "add", added)
    monkeypatch.setattr(Journal, "remove", removed)
    list(prepare(image, output).run())
    assert unsynced == [[]] * 10
