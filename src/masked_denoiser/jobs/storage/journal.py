"""Journal of a job: a file next to the output that records the finished groups of tiles.

It is created before the output and removed after the output is complete. A line is the CRC-32 of a record in eight
hexadecimal digits, a space, and the record as JSON:

    {"format": 3, "job": {...}}
        header: the job
    {"by": "process 4711 on microscope", "run": "...", "files": 1234}
        start of a run: its writer, and the times of the files of the input
    {"done": [plane, group], "read": 1234, "written": [1234]}
        a group of tiles, appended after its pixels are on disk, with their checksums in the input and in the outputs
    {"limits": [at_once, side]}
        memory limits from here on, after memory ran out
    {"damage": [[index, rows, columns]]}
        unreadable regions of the input, before the group that contains them
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from masked_denoiser.atomic_file import remove_leftovers
from masked_denoiser.errors import JobError
from masked_denoiser.images.readers.damage import DamagedRegion
from masked_denoiser.images.writers.base import ProgressCallback
from masked_denoiser.inference.memory_limits import MemoryLimits
from masked_denoiser.jobs.spec.job import Job, describe_difference
from masked_denoiser.jobs.spec.job_file import job_from_json
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.storage.journal_records import (
    Checksums,
    GroupId,
    RecordWriter,
    check_is_journal,
    parse_region,
    read_records,
    write_header,
)
from masked_denoiser.jobs.storage.lock import OutputLock

_FORMAT = 3

#: Fields of a job that say which part of the input is denoised, and those from whose change others follow.
_PARTS = {"selection", "level", "shape", "axes"}
_CAUSES = _PARTS | {"fingerprint", "requested_noise", "model"}

#: Fields of a job that are paths.
_PATHS = ("input", "output", "model_from")


class Journal:
    """An open journal, which only this process may write. Use `start` or `resume`.

    Attributes:
        output: path of the output.
        path: path of the journal.
        done: finished groups of tiles, with the checksums of their pixels.
        damaged_groups: number of groups that were finished, and are missing or damaged on disk.
        damage: damaged regions of the input, which are not denoised, and zero where they cannot be read.
        limits: last recorded memory limits.
        run: unique name of this run of the job.
        files: times of the files of the input when the last run began; see `fingerprint.file_times`.
        check_input: raises a JobError if the input has changed since its tiles were read; it reports to its argument.
    """

    def __init__(self, output: Path, lock: OutputLock) -> None:
        self.output, self.path, self._lock = output, Journal.path_for(output), lock
        self.done: dict[GroupId, Checksums] = {}
        self.damaged_groups = 0
        self.files = 0
        self.check_input: Callable[[ProgressCallback], None] = lambda progress: None
        self.damage: list[DamagedRegion] = []
        self.limits = MemoryLimits()
        self.run = uuid4().hex
        self._known_damage: set[DamagedRegion] = set()
        self._records: RecordWriter | None = None

    @staticmethod
    def path_for(output: Path) -> Path:
        """Return the path of the journal of an output."""
        return output.with_name(output.name + ".journal")

    @classmethod
    def start(cls, output: Path, job: Job, lock: OutputLock | None = None, *, files: int = 0) -> Self:
        """Create a journal with a header that contains the job; an existing one is replaced.

        Args:
            output: path of the output.
            job: the job.
            lock: lock of the output.
            files: times of the files of the input.

        Raises:
            JobError: if another process writes this output, the folder cannot be written to, or another file has the
                name of the journal.
        """
        journal = cls(output, lock or lock_output(output))
        try:
            check_is_journal(journal.path)
            remove_leftovers(journal.path)
            write_header(journal.path, {"format": _FORMAT, "job": job.identity()})
            journal._open(files)
        except OSError as error:
            journal.close()
            raise JobError(f"{output.parent} cannot be written to ({error.strerror}); choose another output") from error
        except JobError:
            journal.close()
            raise
        return journal

    @classmethod
    def resume(cls, output: Path, job: Job, lock: OutputLock | None = None) -> Self:
        """Open the journal of an interrupted job to continue it; a torn end is cut off. Call `begin_run` afterwards.

        Raises:
            JobError: if there is none, it is damaged, another process writes this output, or the job differs; the
                differing fields are named.
        """
        lock = lock or lock_output(output)
        try:
            journal = cls(output, lock)
            records, length = read_records(Journal.path_for(output))
            _check_same_job(records[0], job, journal.path)
            for record in records[1:]:
                journal._restore(record, job)
            os.truncate(journal.path, length)
        except BaseException:
            lock.release()
            raise
        return journal

    @staticmethod
    def restore_measurements(output: Path, job: Job, *, chosen_precision: bool = False) -> Job:
        """Return a job with the noise measurement that the journal records, if the noise was measured.

        A measurement on another machine or with another version of SciPy may differ in its last digits.

        Args:
            output: path of the output.
            job: the job as it would start now.
            chosen_precision: whether the precision was left to be chosen.
        """
        values = read_records(Journal.path_for(output))[0][0].get("job")
        if not isinstance(values, dict) or values.get("version") != job.version:
            return job  # another version may have other fields; `resume` raises the error
        # Without paths, which may have names that are not UTF-8.
        recorded = job_from_json(values | dict.fromkeys(_PATHS, ""), str(Journal.path_for(output)))
        if recorded.requested_noise != job.requested_noise:
            return job
        if chosen_precision:
            job = replace(job, precision=recorded.precision)
        return replace(job, noise=recorded.noise, treatments=recorded.treatments, hot_pixels=recorded.hot_pixels)

    @staticmethod
    def restore_tile(output: Path, options: Options) -> Options:
        """Return options with the recorded tile and batch if the tile is "auto"."""
        if options.tile != "auto":
            return options
        match read_records(Journal.path_for(output))[0][0].get("job"):
            case {"tile": int(tile), "batch": int(batch)} if tile > 0 and batch > 0:
                return replace(options, tile=tile, batch=batch)
            case _:
                return options

    @staticmethod
    def recorded_limits(output: Path) -> MemoryLimits:
        """Return the last recorded memory limits; no limits if there is no valid record."""
        for record in reversed(read_records(Journal.path_for(output))[0]):
            match record:
                case {"limits": [int() | None as at_once, int() | None as side]}:
                    return MemoryLimits(at_once, side)
        return MemoryLimits()

    def begin_run(self, files: int) -> None:
        """Record that this process continues the job, and the times of the files of the input."""
        self._open(files)

    def add(self, group_id: GroupId, checksums: Checksums, damage: tuple[DamagedRegion, ...] = ()) -> None:
        """Record a group whose pixels are on disk, and sync the record to disk."""
        self.done[group_id] = checksums
        new = [region for region in damage if region not in self._known_damage]  # a group may be computed again
        self._add_damage(new)
        if new:
            self._append({"damage": [[list(map(list, p.index)), p.rows, p.columns] for p in new]})
        self._append({"done": list(group_id), "read": checksums.read, "written": list(checksums.written)})

    def add_limits(self, limits: MemoryLimits) -> None:
        """Record memory limits, if they have changed."""
        if limits != self.limits:
            self.limits = limits
            self._append({"limits": [limits.at_once, limits.side]})

    def close(self) -> None:
        """Close the journal and keep it, so that the job can be resumed."""
        try:
            if self._records is not None:
                self._records.close()
        finally:
            self._lock.release()

    def remove(self) -> None:
        """Close and remove the journal: the output is complete."""
        try:
            if self._records is not None:
                self._records.close()
            self.path.unlink()
        finally:
            self._lock.release()

    def _open(self, files: int) -> None:
        self.files = files
        self._records = RecordWriter(self.path)
        self._append({"by": f"process {os.getpid()} on {socket.gethostname()}", "run": self.run, "files": files})

    def _append(self, record: dict[str, Any]) -> None:
        assert self._records is not None
        self._records.append(record)

    def _add_damage(self, regions: list[DamagedRegion]) -> None:
        self.damage += regions
        self._known_damage |= set(regions)

    def _restore(self, record: dict[str, Any], job: Job) -> None:
        """Restore the state from a record of an earlier run."""
        match record:
            case {"done": [int(plane), int(group)], "read": int(read), "written": [*written]} if (
                0 <= plane < len(job.planes) and 0 <= group < len(job.groups) and all(map(_is_integer, written))
            ):
                self.done[plane, group] = Checksums(read, tuple(written))
            case {"damage": [*regions]}:
                self._add_damage([parse_region(values, self.path) for values in regions])
            case {"limits": [int() | None as at_once, int() | None as side]}:
                self.limits = MemoryLimits(at_once, side)
            case {"by": str(), "files": int(files)}:
                self.files = files
            case _:
                raise JobError(
                    f"journal {self.path} contains an invalid record: {str(record)[:80]}; start again with --overwrite"
                )


def _is_integer(value: object) -> bool:
    return isinstance(value, int)


def check_complete(job: Job, journal: Journal) -> None:
    """Check that all groups of a job are recorded, before its output is completed.

    Raises:
        JobError: if a group is missing, which would be a defect of this program.
    """
    missing = len(job.planes) * len(job.groups) - len(journal.done)
    if missing:
        raise JobError(f"{missing} groups of tiles of {journal.output} are missing; use --resume, and report it")


def lock_output(output: Path, *others: Path) -> OutputLock:
    """Lock an output, and other outputs of the same job.

    Raises:
        JobError: if another process has locked one; its name is given if known.
    """
    return OutputLock((output, *others), _last_writer(output))


def _last_writer(output: Path) -> str:
    """Return the process that last wrote to the journal of an output; empty if unknown."""
    try:
        records, _ = read_records(Journal.path_for(output))
    except JobError:
        return ""
    return next((str(record["by"])[:80] for record in reversed(records) if "by" in record), "")


def _check_same_job(header: dict[str, Any], job: Job, path: Path) -> None:
    """Raise a JobError that names the differing fields, if the header is not that of this job."""
    then, now = header.get("job"), json.loads(json.dumps(job.identity()))
    if header.get("format") != _FORMAT or not isinstance(then, dict):
        raise JobError(f"journal {path} has no header that this version can read; start again with --overwrite")
    changed = [key for key in now if then.get(key) != now[key]]
    if "fingerprint" in changed and not _PARTS & set(changed):
        changed = ["fingerprint"]  # what is measured in a changed input changes with it
    changed.sort(key=lambda key: key not in _CAUSES)
    differing = [describe_difference(key, then.get(key), now[key]) for key in changed]
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise JobError(
            f"cannot resume another job: {'; '.join(differing[:3])}{more}. Use the original settings, or --overwrite"
        )
