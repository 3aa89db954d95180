"""Journals: nothing is lost by refused jobs, full disks, torn lines and file systems that can do less."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from masked_denoiser.errors import ImageError, JobError, OutputError
from masked_denoiser.images.readers.damage import DamagedRegion
from masked_denoiser.jobs.storage import journal_records
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.jobs.storage.journal_records import Checksums, RunGuard, format_record, read_records
from tests.jobs.job_cases import fingerprint, make_input
from tests.jobs.storage.test_completeness import finish, interrupt


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return the path of an input, whose output is `whole.ome.zarr` next to it."""
    path = make_input(tmp_path)
    finish(path, tmp_path / "whole.ome.zarr")
    return path


@pytest.mark.parametrize("reason", ["disk", "contents", "journal"])
@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_refused_overwriting_keeps_the_interrupted_job(
    image: Path, tmp_path: Path, suffix: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / f"out{suffix}"
    interrupt(image, output)
    journal = Journal.path_for(output)
    before = journal.read_bytes()
    notes = (output if output.exists() else output.with_name(f"{output.name}.partial")) / "notes.txt"
    if reason == "contents":
        notes.write_text("mine")
    with monkeypatch.context() as patched:
        if reason == "disk":
            patched.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
        if reason == "journal":  # a full disk
            patched.setattr(journal_records, "sync_file", lambda _: raise_error(errno.ENOSPC))
        with pytest.raises((ImageError, JobError)):
            finish(image, output, overwrite=True)
    assert journal.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    notes.unlink(missing_ok=True)
    finish(image, output, resume=True)
    assert not journal.exists()


def test_space_of_what_is_overwritten_counts_as_free(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=40_000))  # of 65 536 bytes that it takes
    with pytest.raises(ImageError, match="free space or write elsewhere"):
        finish(image, tmp_path / "new.ome.zarr")
    finish(image, tmp_path / "whole.ome.zarr", overwrite=True)


def raise_error(number: int) -> None:
    raise OSError(number, os.strerror(number))


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Let the system write the begin of what exceeds a limit, as on a nearly full disk."""
    import resource  # not on Windows

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(os.name == "nt", reason="POSIX limits")
@pytest.mark.parametrize("is_cut", [True, False])
def test_record_that_is_written_in_part_is_an_error(
    image: Path, tmp_path: Path, is_cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Space may be freed afterwards, and what was written may stay on the disk."""
    output, add, calls = tmp_path / "out.ome.zarr", Journal.add, []

    def add_on_full_disk(journal: Journal, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) != 6:
            add(journal, *arguments)
            return
        with file_size_limit(journal.path.stat().st_size + 30):
            add(journal, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", add_on_full_disk)
        if not is_cut:
            patched.setattr(os, "truncate", lambda *_: raise_error(errno.EIO))
        with pytest.raises(OutputError, match="free space on its disk, then --resume"):
            interrupt(image, output, 12)
    assert Journal.path_for(output).read_bytes().endswith(b"\n") == is_cut
    finish(image, output, resume=True)
    assert fingerprint(output) == fingerprint(tmp_path / "whole.ome.zarr")


def test_groups_of_torn_lines_are_computed_again(image: Path, tmp_path: Path) -> None:
    """The record after a torn line may be of a group whose damage the torn line recorded."""
    output = tmp_path / "out.ome.zarr"
    interrupt(image, output, 8)
    journal = Journal.path_for(output)
    lines = journal.read_bytes().splitlines(keepends=True)
    groups = {line: record["done"] for line in lines if "done" in (record := read_one(line))}
    at = lines.index(next(iter(groups))) + 2
    torn = lines[at][:-40] + lines[at + 1]  # the next record was added to it
    journal.write_bytes(b"".join([*lines[:at], torn, *lines[at + 2 :]]))
    records, length = read_records(journal)
    assert length == journal.stat().st_size
    lost = {tuple(groups[line]) for line in lines[at : at + 3]}
    assert {tuple(r["done"]) for r in records if "done" in r} == {tuple(g) for g in groups.values()} - lost
    finish(image, output, resume=True)
    assert fingerprint(output) == fingerprint(tmp_path / "whole.ome.zarr")


def read_one(line: bytes) -> dict[str, Any]:
    record = journal_records.parse_record(line[:-1])
    assert record is not None
    return record


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS])
@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_file_systems_that_cannot_flush_folders(
    image: Path, tmp_path: Path, suffix: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of files still stop the job."""
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda d: raise_error(number) if stat.S_ISDIR(os.fstat(d).st_mode) else fsync(d))
    finish(image, tmp_path / f"out{suffix}")
    monkeypatch.setattr(os, "fsync", lambda d: None if stat.S_ISDIR(os.fstat(d).st_mode) else raise_error(number))
    with pytest.raises(JobError, match="cannot be written to"):
        finish(image, tmp_path / f"other{suffix}")
    assert not [path.name for path in tmp_path.iterdir() if "other" in path.name]


def test_guard_reads_only_what_was_added(tmp_path: Path) -> None:
    """It notices later runs, also after torn lines were cut off, and a journal that was replaced by an equal one."""
    path = tmp_path / "journal"
    header, first, later = ({"format": 3}, *({"by": "x", "run": run, "files": 1} for run in ("a", "b")))
    done = b"".join(format_record({"done": [number, 0], "read": 1, "written": [2]}) for number in range(5000))
    path.write_bytes(format_record(header) + format_record(first) + done)
    guard, parsed = RunGuard(path, "a"), []
    parse = journal_records.parse_record

    def counted(line: bytes) -> dict[str, Any] | None:
        parsed.append(line)
        return parse(line)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(journal_records, "parse_record", counted)
        assert guard.is_current()
        for _ in range(100):
            assert guard.is_current()
        assert len(parsed) == 5002
    whole = path.read_bytes()
    path.write_bytes(whole + b"0123abcd torn\n" + b"0123")
    assert guard.is_current()
    path.write_bytes(whole + format_record(later))  # the resumed job cuts torn lines off
    assert not guard.is_current()
    guard = RunGuard(path, "a")
    path.write_bytes(whole)
    assert guard.is_current()
    path.write_bytes(format_record(header) + format_record(later) + done)
    assert not guard.is_current()


def test_damage_is_recorded_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.ome.zarr", SimpleNamespace(release=lambda: None))  # type: ignore[arg-type]
    journal.path.touch()
    journal.begin_run(0)
    region = DamagedRegion((("Z", 3),), (0, 8), (0, 8))
    for number in range(3):
        journal.add((0, number), Checksums(1, (2,)), (region,))
    journal.close()
    assert journal.damage == [region]
    assert journal.path.read_bytes().count(b'"damage"') == 1
