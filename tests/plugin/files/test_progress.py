"""Progress of a list of files, and the estimate of the time left."""

from __future__ import annotations

from pathlib import Path

import pytest

from masked_denoiser.jobs.batch.outputs import Pair
from masked_denoiser.jobs.batch.run import FileBegun, FileEnded, Outcome
from masked_denoiser.jobs.pipeline.events import Progress
from masked_denoiser.plugin.files.task import BatchProgress


def test_progress_of_list():
    now = 0.0
    progress = BatchProgress(4, clock=lambda: now)
    pair = Pair("a.tif", Path("a.ome.zarr"))
    assert str(progress) == "0 of 4 files"
    progress.update(FileBegun(0, 4, pair))
    progress.update(FileEnded(0, Outcome(pair, "already complete")))
    assert (progress.share, progress.seconds_left) == (0.25, None)  # unknown before the first image is done
    now = 10.0
    progress.update(FileBegun(1, 4, pair))
    progress.update(Progress(2, 4, 5_000_000, 5_000_000, 10.0))
    assert progress.share == 0.375
    assert progress.seconds_left == 50.0  # 2.5 images at 20 s each
    assert str(progress) == "1 of 4 files, 0.5 megapixels/s, about 50 s left"
    progress.update(FileEnded(1, Outcome(pair, "failed")))
    progress.update(FileBegun(2, 4, pair))
    now = 20.0
    progress.update(Progress(4, 4, 5_000_000, 0, 5.0))
    assert str(progress) == "2 of 4 files, 0.5 megapixels/s, about 13 s left"  # one image at 20 s for 1.5


def test_time_left_counts_only_the_work_of_this_run():
    now = 0.0
    progress = BatchProgress(10, clock=lambda: now)
    pair = Pair("a.tif", Path("a.ome.zarr"))
    progress.update(FileBegun(0, 10, pair))
    progress.update(Progress(900, 1000, 0, 100_000_000, 0.0))  # resumed
    now = 100.0
    progress.update(Progress(1000, 1000, 100_000_000, 0, 100.0))
    assert progress.seconds_left == pytest.approx(9000)  # 9 images of 1000 tiles, at 1 s each
    progress.update(FileEnded(0, Outcome(pair, "done")))
    assert progress.seconds_left == pytest.approx(9000)
    progress.update(FileBegun(1, 10, pair))
    progress.update(FileEnded(1, Outcome(pair, "failed")))  # it could not be opened
    assert (progress.share, progress.seconds_left) == (0.2, pytest.approx(8000))
