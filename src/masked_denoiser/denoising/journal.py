"""The journal: what a job has finished, one JSON line each, on disk beside the output.

It is opened before the output and removed after it is complete, so an output with a journal beside
it is unfinished, and one without is whole.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Self, get_args

from masked_denoiser.denoising.job import Job, JobError
from masked_denoiser.denoising.precision import Precision
from masked_denoiser.plain_json import parse_json

_FORMAT = 1

#: A finished piece of work: number of the plane, first and last tile.
Piece = tuple[int, int, int]


class Journal:
    """An open journal. Use `start` or `resume`."""

    def __init__(self, path: Path, file: BinaryIO, done: set[Piece]) -> None:
        self.path, self._file, self.done = path, file, done

    @staticmethod
    def beside(output: Path) -> Path:
        """Where the journal of an output lies."""
        return output.with_name(output.name + ".journal")

    @classmethod
    def start(cls, output: Path, job: Job) -> Self:
        """A new journal that names its job."""
        path = cls.beside(output)
        begun = path.with_name(f"{path.name}.new")
        try:
            with begun.open("wb") as file:
                file.write(_line({"format": _FORMAT, "job": job.deciding()}))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise JobError(f"{path.parent} cannot be written to ({error.strerror}); choose another output") from error
        begun.replace(path)  # a journal has its header, or it is not there
        return cls(path, path.open("ab"), set())

    @classmethod
    def resume(cls, output: Path, job: Job) -> Self:
        """The journal of an interrupted job, ready to go on. A torn last line is cut off.

        Raises:
            JobError: if there is none, it is damaged, or the job differs, naming in what.
        """
        path = cls.beside(output)
        header, *records = _records(output)
        _compare(header, job, path)
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
        return cls(path, path.open("ab"), {_piece(record, path) for record in records})

    @staticmethod
    def as_begun(output: Path, job: Job, *, measured_precision: bool = False) -> Job:
        """A job whose noise was measured, with what was measured when it was begun.

        A measurement by another machine or version of SciPy may differ in its last figures.

        Args:
            output: of the job.
            job: as it would be begun now.
            measured_precision: whether the precision, too, was left to a measurement.
        """
        then = _records(output)[0].get("job")
        if not isinstance(then, dict) or then.get("asked") != job.asked or "treatments" not in then:
            return job
        if measured_precision and then.get("precision") in get_args(Precision):
            job = replace(job, precision=then["precision"])
        treatments = _treatments(then["treatments"], Journal.beside(output))
        return replace(job, noise=str(then.get("noise", "")), treatments=treatments)

    def add(self, piece: Piece) -> None:
        """Records a piece whose pixels are written, and makes sure that the record is on disk."""
        self.done.add(piece)
        self._append({"done": list(piece)})

    def close(self) -> None:
        """Leaves the journal where it is, for a later resume."""
        self._file.close()

    def remove(self) -> None:
        """The output is complete."""
        self._file.close()
        self.path.unlink()

    def _append(self, record: dict[str, Any]) -> None:
        self._file.write(_line(record))
        self._file.flush()
        os.fsync(self._file.fileno())


def _treatments(values: Any, path: Path) -> tuple[tuple[Any, ...], ...]:
    try:
        return tuple(_treatment(value) for value in values)
    except TypeError as error:
        raise JobError(f"journal {path} has treatments that are none; start again with --overwrite") from error


def _treatment(values: list[Any]) -> tuple[Any, ...]:
    """The values of a treatment in the types that it has, as JSON knows no tuples."""
    return tuple(tuple(map(tuple, value)) if isinstance(value, list) else value for value in values)


def _line(record: dict[str, Any]) -> bytes:
    """Bytes, so that a line ends alike on every system and its length is what is on disk."""
    return json.dumps(record, sort_keys=True).encode() + b"\n"


def _records(output: Path) -> list[dict[str, Any]]:
    """The header and what was done."""
    path = Journal.beside(output)
    if not path.is_file():
        raise JobError(f"{output} has no journal beside it: it is complete, or no job of this program was cut off")
    return _whole_lines(path) or [{}]


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a journal; what comes after the last line end was torn by the interruption."""
    *lines, _torn = path.read_bytes().split(b"\n")
    try:
        records = [parse_json(line) for line in lines]
    except ValueError as error:
        raise JobError(f"journal {path} is damaged ({error}); start again with --overwrite") from error
    if not all(isinstance(record, dict) for record in records):
        raise JobError(f"journal {path} is damaged (a line is no record); start again with --overwrite")
    return records


def _compare(header: dict[str, Any], job: Job, path: Path) -> None:
    then, now = header.get("job"), job.deciding()
    if header.get("format") != _FORMAT or not isinstance(then, dict):
        raise JobError(f"journal {path} has no header that this version reads; start again with --overwrite")
    changed = [key for key in now if then.get(key) != now[key]]
    differing = [f"{key} was {then.get(key)!r:.200} and is {now[key]!r:.200}" for key in changed]
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise JobError(
            f"cannot resume another job: {'; '.join(differing[:3])}{more}. Repeat the first settings, or --overwrite"
        )


def _piece(record: dict[str, Any], path: Path) -> Piece:
    numbers = record.get("done")
    if not isinstance(numbers, list) or len(numbers) != 3 or not all(isinstance(n, int) for n in numbers):
        raise JobError(f"journal {path} holds a record that is none: {str(record)[:80]}; start again with --overwrite")
    return numbers[0], numbers[1], numbers[2]
