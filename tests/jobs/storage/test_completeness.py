"""An output is complete only if it says so itself: in its metadata, written last."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from masked_denoiser.cli.main import main
from masked_denoiser.errors import AlreadyCompleteError, ImageError, JobError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.validation.completeness import incompleteness
from masked_denoiser.images.writers.provenance import read_attributes
from masked_denoiser.jobs.pipeline.events import Finished, Finishing, TileDone
from masked_denoiser.jobs.prepare import Prepared, prepare_file
from masked_denoiser.jobs.storage.journal import Journal
from tests.jobs.job_cases import OPTIONS, fingerprint, make_input

SUFFIXES = pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_input(tmp_path)


@contextmanager
def prepare(image: Path, output: Path, **how: bool) -> Iterator[Prepared[Any]]:
    model = image.parent / "tiny.safetensors"
    with (
        open_image(image) as source,
        prepare_file(source, output, model=model, options=OPTIONS, device="cpu", **how) as prepared,
    ):
        yield prepared


def interrupt(image: Path, output: Path, groups: int = 5) -> None:
    """Run a job until this many groups are finished."""
    with prepare(image, output) as prepared:
        for event in prepared.pipeline.run():
            if isinstance(event, TileDone) and event.progress.done >= groups:
                prepared.pipeline.cancel.set()


def finish(image: Path, output: Path, **how: bool) -> None:
    with prepare(image, output, **how) as prepared:
        list(prepared.pipeline.run())


def refuse(image: Path, output: Path, error: type[Exception], match: str | None = None) -> None:
    with pytest.raises(error, match=match), prepare(image, output, resume=True):
        pass


def notes_of(path: Path) -> tuple[str, ...]:
    with open_image(path) as source:
        return source.notes


@SUFFIXES
def test_complete_output_says_so(image: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"out{suffix}"
    finish(image, output)
    assert read_attributes(output)["complete"]
    assert notes_of(output) == ()
    refuse(image, output, AlreadyCompleteError)


def test_output_without_its_journal_is_not_resumed(image: Path, tmp_path: Path, capsys) -> None:
    interrupt(image, tmp_path / "out.ome.zarr")
    Journal.path_for(tmp_path / "out.ome.zarr").unlink()
    refuse(image, tmp_path / "out.ome.zarr", JobError, "unknown completeness and has no journal.*--overwrite")
    assert any("not known to be complete" in note for note in notes_of(tmp_path / "out.ome.zarr"))
    arguments = [str(image), str(tmp_path), "--noise", "none", "--tile", "32", "--halo", "8", "--resume"]
    (tmp_path / "out.ome.zarr").rename(tmp_path / "in.ome.zarr")
    assert main(["denoise", *arguments, "--model", str(tmp_path / "tiny.safetensors"), "--device", "cpu"]) == 1
    assert "unknown completeness" in "".join(capsys.readouterr())
    finish(image, tmp_path / "in.ome.zarr", overwrite=True)


@pytest.mark.parametrize("missing", ["chunk", "part of a chunk", "level"])
def test_store_copied_while_it_is_written_is_recognised(image: Path, tmp_path: Path, missing: str) -> None:
    """The metadata were copied after the mark was written, but the pixels before they were complete."""
    output = tmp_path / "out.ome.zarr"
    finish(image, output)
    chunk = output / "0" / "c" / "0" / "1" / "0"
    if missing == "chunk":
        chunk.unlink()
    elif missing == "part of a chunk":
        chunk.write_bytes(chunk.read_bytes()[:100])
    else:
        shutil.rmtree(output / "0" / "c")
    refuse(image, output, JobError, r"it has \d+ of \d+ files of pixels")
    try:
        notes = notes_of(output)
    except ImageError as error:
        notes = (str(error),)
    expected = "none of its chunks are stored" if missing == "level" else "not known to be complete"
    assert any(expected in note for note in notes)


def test_killed_before_the_journal_is_removed(image: Path, tmp_path: Path) -> None:
    """The output is marked, but its journal is still there: it is resumed to the same bytes."""
    output = tmp_path / "out.ome.zarr"
    interrupt(image, output, groups=16)
    journal = Journal.path_for(output).read_bytes()
    finish(image, output, resume=True)
    Journal.path_for(output).write_bytes(journal)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    finish(image, output, resume=True)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def test_files_of_file_managers_do_not_count(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.ome.zarr"
    interrupt(image, output)
    for name in (".DS_Store", "._c", "Thumbs.db"):
        (image / "c" / name).write_bytes(b"icons")
        (output / "0" / name).write_bytes(b"icons")
    finish(image, output, resume=True)
    assert notes_of(output) == ()
    refuse(image, output, AlreadyCompleteError)


@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_files_of_the_user_in_an_output_are_kept(image: Path, tmp_path: Path, how: str) -> None:
    output = tmp_path / "out.ome.zarr"
    interrupt(image, output)
    (output / "mine.partial").write_text("dear")
    (output / "0" / "folder.partial").mkdir()
    if how == "resume":
        finish(image, output, resume=True)
    else:
        with pytest.raises(ImageError, match=r"holds more than an image \(mine\.partial\)"):
            finish(image, output, overwrite=True)
    assert (output / "mine.partial").read_text() == "dear"
    assert (output / "0" / "folder.partial").is_dir()


def copy_if_there(source: str, target: str) -> None:
    """Copy a file as programs for backups do: one that was renamed since the folder was listed is left out."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


def test_copies_of_a_store_that_is_being_written(image: Path, tmp_path: Path) -> None:
    """Each copy is either complete, with the bytes of the output, or not known to be complete."""
    output, copies = tmp_path / "out.ome.zarr", []
    with prepare(image, output) as prepared:
        for event in prepared.pipeline.run():
            if isinstance(event, TileDone | Finishing | Finished):
                copies.append(tmp_path / f"copy {len(copies)}.ome.zarr")
                shutil.copytree(output, copies[-1], copy_function=copy_if_there)
    states = [incompleteness(copy, read_attributes(copy)) for copy in copies]
    assert not states[-1]
    assert all(states[:-2])
    for copy, state in zip(copies, states, strict=True):
        if state:
            refuse(image, copy, JobError, "unknown completeness")
        else:
            assert fingerprint(copy) == fingerprint(output)
