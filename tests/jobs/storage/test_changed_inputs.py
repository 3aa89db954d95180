"""Inputs that change after their tiles were read: during the job, and after its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from masked_denoiser.errors import AlreadyCompleteError, JobError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.images.validation.fingerprint import take_fingerprint
from masked_denoiser.jobs.pipeline.events import Finished, Finishing, TileDone
from masked_denoiser.jobs.prepare import Prepared, prepare_file
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.storage.journal import Journal

SIDE = 600
PIXELS = np.random.default_rng(0).integers(0, 200, (SIDE, SIDE)).astype(np.uint16)

#: The same image with a change where its fingerprint does not look.
CHANGED = PIXELS.copy()
CHANGED[:20, :20] += 1


@contextmanager
def prepare(image: Path, output: Path, options: Options | None = None, **how: bool) -> Iterator[Prepared[Any]]:
    options = options or Options(noise="none", tile=128, batch=1, intensity=(0, 200))
    with (
        open_image(image) as source,
        prepare_file(source, output, model=tiny_model(channels=1), options=options, device="cpu", **how) as prepared,
    ):
        yield prepared


def finish(image: Path, output: Path) -> Prepared[Any]:
    """Write an image, and denoise it."""
    tifffile.imwrite(image, PIXELS)
    with prepare(image, output) as prepared:
        list(prepared.pipeline.run())
    return prepared


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif", ".mrc"])
def test_complete_output_is_of_all_pixels_of_its_input(suffix: str, tmp_path: Path) -> None:
    """The fingerprint looks at some squares; an image that differs elsewhere is another one, a copy is not."""
    image, output = tmp_path / "in.tif", tmp_path / f"out{suffix}"
    prepared = finish(image, output)
    tifffile.imwrite(image, PIXELS)
    with pytest.raises(AlreadyCompleteError), prepare(image, output, resume=True):
        pass
    with open_image(image) as source:
        before = take_fingerprint(source, prepared.job.planes)
    tifffile.imwrite(image, CHANGED)
    with open_image(image) as source:
        assert take_fingerprint(source, prepared.job.planes) == before  # so that the test shows something
    with pytest.raises(JobError, match="the input has changed since"), prepare(image, output, resume=True):
        pass


def test_labels_that_another_program_adds_do_not_hide_a_change(tmp_path: Path) -> None:
    image, output = tmp_path / "in.tif", tmp_path / "out.ome.zarr"
    finish(image, output)
    tifffile.imwrite(image, CHANGED)
    (output / "labels").mkdir()
    with pytest.raises(JobError, match="the input has changed since"), prepare(image, output, resume=True):
        pass


def test_check_at_the_end_can_be_cancelled(tmp_path: Path) -> None:
    """It reads all of an input whose file was touched, which may take long."""
    image, output = tmp_path / "in.tif", tmp_path / "out.ome.zarr"
    tifffile.imwrite(image, PIXELS)
    with prepare(image, output) as prepared:
        for event in prepared.pipeline.run():
            if isinstance(event, TileDone) and event.progress.done == 12:
                image.chmod(0o600)
            if isinstance(event, Finishing):
                prepared.pipeline.cancel.set()
    assert Journal.path_for(output).exists()
    with prepare(image, output, resume=True) as prepared:
        assert isinstance(list(prepared.pipeline.run())[-1], Finished)


def test_mrc_knows_its_input(tmp_path: Path) -> None:
    """A mirror image has the same statistics."""
    image, output = tmp_path / "in.tif", tmp_path / "out.mrc"
    finish(image, output)
    tifffile.imwrite(image, PIXELS[::-1])
    with pytest.raises(JobError, match="the input has changed"), prepare(image, output, resume=True):
        pass


@pytest.mark.parametrize("changes", [True, False])
def test_input_that_is_written_while_the_job_runs(changes: bool, tmp_path: Path) -> None:
    """A mixture of two images is not completed. A file that is written again with the same pixels is no problem."""
    image, output = tmp_path / "in.tif", tmp_path / "out.ome.zarr"
    tifffile.imwrite(image, PIXELS)

    def run() -> None:
        with prepare(image, output) as prepared:
            for event in prepared.pipeline.run():
                if isinstance(event, TileDone) and event.progress.done == 12:
                    with image.open("r+b") as file:  # in place, as an acquisition does
                        file.seek(-2 * PIXELS.size, 2)
                        file.write(bytes(4000) if changes else PIXELS.tobytes()[:4000])

    if not changes:
        run()
        assert not Journal.path_for(output).exists()
        return
    with pytest.raises(JobError, match="the input has changed since its tiles were read"):
        run()
    assert Journal.path_for(output).exists()


@pytest.mark.parametrize("tile", ["auto", 128])
def test_tile_of_a_complete_output_is_known(tile: Any, tmp_path: Path) -> None:
    """A tile that was measured on another machine is no other job."""
    image, output = tmp_path / "in.tif", tmp_path / "out.ome.zarr"
    finish(image, output)
    options = Options(noise="none", tile=tile, batch=1, intensity=(0, 200))
    with pytest.raises(AlreadyCompleteError), prepare(image, output, options, resume=True):
        pass


@pytest.mark.parametrize(("name", "value"), [("tile", 0), ("tile", 2**21), ("batch", 10**5), ("halo", -1)])
def test_numbers_with_which_a_job_cannot_be_resumed_are_refused(name: str, value: int, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", PIXELS)
    options = Options(**{"noise": "none", name: value})
    with (
        pytest.raises(JobError, match=f"{name} is {value}; choose"),
        prepare(tmp_path / "in.tif", tmp_path / "out.ome.zarr", options),
    ):
        pass


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """As old archives have them. Jobs run and are resumed; job files refuse them."""
    from masked_denoiser.jobs.spec.job_file import write_job_file

    folder = Path(str(tmp_path / "caf\udce9"))
    folder.mkdir()
    image, output = folder / "b\udce9ta.tif", folder / "r\udce9sult.ome.zarr"
    tifffile.imwrite(tmp_path / "in.tif", PIXELS)
    (tmp_path / "in.tif").rename(image)
    with prepare(image, output) as prepared:
        for event in prepared.pipeline.run():
            if isinstance(event, TileDone) and event.progress.done == 5:
                prepared.pipeline.cancel.set()
    with pytest.raises(JobError, match="is not UTF-8"):
        write_job_file(tmp_path / "job.json", prepared.job)
    with prepare(image, output, resume=True) as prepared:
        list(prepared.pipeline.run())
    assert not Journal.path_for(output).exists()
