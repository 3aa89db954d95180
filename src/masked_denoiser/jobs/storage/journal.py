"""The journal: what a job has finished, a line each, on disk beside the output.

It is opened before the output and removed after it is complete, so an output with a journal beside it is unfinished,
and one without is whole. A line is the CRC-32 of a record in eight hexadecimal digits, a space, the record as JSON:

    {"format": 2, "job": {...}}             what is done, once, first
    {"by": "process 4711 on microscope", "run": "..."}    who writes, once a run
    {"done": [plane, group]}                a group of tiles, appended after its pixels are on disk
    {"limits": [at_once, side]}             what memory held from here on, after it ran out
    {"damage": [[index, rows, columns]]}    places of the input that could not be read, before the group they are in
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from masked_denoiser.errors import JobError
from masked_denoiser.images.readers.damage import DamagedRegion
from masked_denoiser.images.writers.fsync import sync_file
from masked_denoiser.inference.memory_limits import Limits
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.job_file import job_from
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.storage.journal_records import line_of, read_records
from masked_denoiser.jobs.storage.lock import OutputLock

_FORMAT = 2

#: A finished piece of work: number of the plane, and of the group of its tiles.
GroupId = tuple[int, int]


class Journal:
    """An open journal, which this process alone may write. Use `start` or `resume`.

    Attributes:
        output: that it is about.
        path: of the file.
        done: what is finished.
        damage: places of the input that were passed through.
        limits: what memory held when it had run out.
        run: names this run of the job.
    """

    def __init__(self, output: Path, lock: OutputLock) -> None:
        self.output, self.path, self._lock = output, Journal.beside(output), lock
        self.done: set[GroupId] = set()
        self.damage: list[DamagedRegion] = []
        self.limits = Limits()
        self.run = uuid4().hex
        self._file: FileIO | None = None

    @staticmethod
    def beside(output: Path) -> Path:
        """Where the journal of an output lies."""
        return output.with_name(output.name + ".journal")

    @classmethod
    def start(cls, output: Path, job: Job, lock: OutputLock | None = None) -> Self:
        """A new journal that names its job; one that is there is replaced.

        Raises:
            JobError: if another process writes this output, or the folder cannot be written to.
        """
        journal = cls(output, lock or lock_output(output))
        begun = journal.path.with_name(f"{journal.path.name}.new")
        try:
            with begun.open("wb") as file:
                file.write(line_of({"format": _FORMAT, "job": job.identity()}))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            journal._lock.release()
            raise JobError(f"{output.parent} cannot be written to ({error.strerror}); choose another output") from error
        begun.replace(journal.path)  # a journal has its header, or it is not there
        sync_file(journal.path)
        journal._open()
        return journal

    @classmethod
    def resume(cls, output: Path, job: Job, lock: OutputLock | None = None) -> Self:
        """The journal of an interrupted job, ready to go on. A torn end is cut off.

        Raises:
            JobError: if there is none, it is damaged, another process writes this output, or the job differs, naming
                in what.
        """
        lock = lock or lock_output(output)
        try:
            journal = cls(output, lock)
            records, length = read_records(Journal.beside(output))
            _compare(records[0], job, journal.path)
            for record in records[1:]:
                journal._take(record, job)
            os.truncate(journal.path, length)
            journal._open()
        except BaseException:
            lock.release()
            raise
        return journal

    @staticmethod
    def as_begun(output: Path, job: Job, *, measured_precision: bool = False) -> Job:
        """A job whose noise was measured, with what was measured when it was begun.

        A measurement by another machine or version of SciPy may differ in its last figures.

        Args:
            output: of the job.
            job: as it would be begun now.
            measured_precision: whether the precision, too, was left to a measurement.
        """
        values = read_records(Journal.beside(output))[0][0].get("job")
        if not isinstance(values, dict) or values.get("version") != job.version:
            return job  # another version may keep other fields; `resume` says so
        places = {"input": job.input, "output": job.output, "model_from": job.model_from}
        then = job_from(values | places, str(Journal.beside(output)))
        if then.asked != job.asked:
            return job
        if measured_precision:
            job = replace(job, precision=then.precision)
        return replace(job, noise=then.noise, treatments=then.treatments, hot_pixels=then.hot_pixels)

    @staticmethod
    def tile_as_begun(output: Path, options: Options) -> Options:
        """Options whose tile is left to a measurement, with the tile and the batch of the job that was begun."""
        if options.tile != "auto":
            return options
        match read_records(Journal.beside(output))[0][0].get("job"):
            case {"tile": int(tile), "batch": int(batch)} if tile > 0 and batch > 0:
                return replace(options, tile=tile, batch=batch)
            case _:
                return options

    @staticmethod
    def limits_as_begun(output: Path) -> Limits:
        """What memory held when a job was interrupted; none if it had not run out, or the record is none."""
        for record in reversed(read_records(Journal.beside(output))[0]):
            match record:
                case {"limits": [int() | None as at_once, int() | None as side]}:
                    return Limits(at_once, side)
        return Limits()

    def add(self, piece: GroupId, damage: tuple[DamagedRegion, ...] = ()) -> None:
        """Records a piece whose pixels are on disk, and sees to it that the record is there too."""
        self.done.add(piece)
        self.damage += damage
        if damage:
            self._append({"damage": [[list(map(list, p.index)), p.rows, p.columns] for p in damage]})
        self._append({"done": list(piece)})

    def note(self, limits: Limits) -> None:
        """Records with what the device goes on, if that is news."""
        if limits != self.limits:
            self.limits = limits
            self._append({"limits": [limits.at_once, limits.side]})

    def close(self) -> None:
        """Leaves the journal where it is, for a later resume."""
        try:
            if self._file is not None:
                self._file.close()
        finally:
            self._lock.release()

    def remove(self) -> None:
        """The output is complete."""
        try:
            if self._file is not None:
                self._file.close()
            self.path.unlink()
        finally:
            self._lock.release()

    def _open(self) -> None:
        self._file = self.path.open("ab", buffering=0)  # nothing is left to be written by a close
        self._append({"by": f"process {os.getpid()} on {socket.gethostname()}", "run": self.run})

    def _append(self, record: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(line_of(record))
        os.fsync(self._file.fileno())

    def _take(self, record: dict[str, Any], job: Job) -> None:
        """Takes over a record of an earlier run."""
        match record:
            case {"done": [int(plane), int(group)]} if 0 <= plane < len(job.planes) and 0 <= group < len(job.groups):
                self.done.add((plane, group))
            case {"damage": [*places]}:
                self.damage += [_place(values, self.path) for values in places]
            case {"limits": [int() | None as at_once, int() | None as side]}:
                self.limits = Limits(at_once, side)
            case {"by": str()}:
                pass
            case _:
                raise JobError(
                    f"journal {self.path} holds a record that is none: {str(record)[:80]}; start again with --overwrite"
                )


def check_complete(job: Job, journal: Journal) -> None:
    """The last look before an output is called complete.

    Raises:
        JobError: if a group of tiles is missing, which would be a defect of this program.
    """
    missing = len(job.planes) * len(job.groups) - len(journal.done)
    if missing:
        raise JobError(f"{missing} groups of tiles of {journal.output} are not done; go on with --resume, and tell us")


def lock_output(output: Path, *others: Path) -> OutputLock:
    """The right to write an output, and others beside it.

    Raises:
        JobError: if another process has it, naming that.
    """
    return OutputLock((output, *others), _owner(output))


def _owner(output: Path) -> str:
    """Who wrote last in the journal of an output; empty if nobody knows."""
    try:
        records, _ = read_records(Journal.beside(output))
    except JobError:
        return ""
    return next((str(record["by"])[:80] for record in reversed(records) if "by" in record), "")


def _compare(header: dict[str, Any], job: Job, path: Path) -> None:
    then, now = header.get("job"), json.loads(json.dumps(job.identity()))
    if header.get("format") != _FORMAT or not isinstance(then, dict):
        raise JobError(f"journal {path} has no header that this version reads; start again with --overwrite")
    changed = [key for key in now if then.get(key) != now[key]]
    differing = [f"{key} was {then.get(key)!r:.200} and is {now[key]!r:.200}" for key in changed]
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise JobError(
            f"cannot resume another job: {'; '.join(differing[:3])}{more}. Repeat the first settings, or --overwrite"
        )


def _place(values: Any, path: Path) -> DamagedRegion:
    match values:
        case [[*index], [int(top), int(bottom)], [int(left), int(right)]] if all(
            isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], int)
            for pair in index
        ):
            return DamagedRegion(tuple((letter, at) for letter, at in index), (top, bottom), (left, right))
    raise JobError(f"journal {path} holds a place that is none: {str(values)[:80]}; start again with --overwrite")
