"""Records of a journal: lines with checksums.

A line is the CRC-32 of a record in eight hexadecimal digits, a space, and the record as JSON.
"""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from masked_denoiser.atomic_file import temporary_path
from masked_denoiser.errors import JobError
from masked_denoiser.images.readers.damage import DamagedRegion
from masked_denoiser.images.writers.fsync import sync_file
from masked_denoiser.plain_json import parse_json

#: Seconds after which a missing journal counts as removed.
_MAX_DELAY_SECONDS = 5


#: Group of tiles: index of the plane, and of the group in `Job.groups`.
GroupId = tuple[int, int]


@dataclass(frozen=True)
class Checksums:
    """Checksums (CRC-32) of the pixels of a group of tiles.

    Attributes:
        read: of its pixels in the input, tile by tile, without halos.
        written: of its pixels in the result, and in the standard deviation if there is one.
    """

    read: int
    written: tuple[int, ...]


def format_record(record: dict[str, Any]) -> bytes:
    """Return a record as a line of bytes, which has the same length on every system."""
    text = json.dumps(record, sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_records(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the records of a journal, the header first, and their length in bytes.

    Torn lines, as a power failure or a full disk leaves, are left out, so that their groups are computed again; those
    at the end are not counted in the length. A group after a torn line, which may have been the record of its damage,
    is left out, too.

    Raises:
        JobError: if there is no journal, its header is damaged, or it has lines that this program does not write.
    """
    if not path.is_file():
        raise JobError(f"journal {path} does not exist: its output is complete, or was not written by this program")
    lines = path.read_bytes().split(b"\n")[:-1]
    parsed = [parse_record(line) for line in lines]
    while parsed and parsed[-1] is None:
        parsed.pop()
    for number, record in enumerate(parsed or [None]):
        if record is None and (number == 0 or not _is_torn(lines[number])):
            raise JobError(f"journal {path} is damaged at line {number + 1}; start again with --overwrite")
    after_torn = [False, *(record is None for record in parsed)]
    records = [
        record
        for record, is_doubtful in zip(parsed, after_torn, strict=False)
        if record is not None and not (is_doubtful and "done" in record)
    ]
    return records, sum(len(line) + 1 for line in lines[: len(parsed)])


def _is_torn(line: bytes) -> bool:
    """Return whether an invalid line may be the begin of a record, or a block that was never written."""
    return b"\0" in line or re.match(rb"[0-9a-f]{8}", line) is not None


def write_header(path: Path, header: dict[str, Any]) -> None:
    """Replace a journal by one with a header, at once, so that none lacks it.

    Raises:
        OSError: if it cannot be written.
    """
    temporary = temporary_path(path, "creating")
    try:
        temporary.write_bytes(format_record(header))
        sync_file(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_file(path)


class RecordWriter:
    """The file of a journal, to whose end records are added."""

    def __init__(self, path: Path) -> None:
        """Open an existing file.

        Raises:
            OSError: if it cannot be written.
        """
        self._path = path
        self._file = path.open("ab", buffering=0)  # so that closing writes nothing
        self._length = path.stat().st_size

    def append(self, record: dict[str, Any]) -> None:
        """Add a record and sync it to disk; if this fails, nothing is left of it.

        Raises:
            OSError: if it cannot be written.
        """
        line = format_record(record)
        try:
            left = memoryview(line)
            while left:  # a nearly full disk takes a part, and raises an error for the rest
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError:
            with suppress(OSError):  # the error above is the one to report; `read_records` leaves torn lines out
                os.truncate(self._path, self._length)
            raise
        self._length += len(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def check_is_journal(path: Path) -> None:
    """Check that a path may be used for a journal: there is no file, or an earlier journal, even a damaged one.

    Raises:
        JobError: if there is a file or folder that this program has not written.
    """
    if not path.exists():
        return
    start = b"" if path.is_dir() else _first_bytes(path)
    if path.is_dir() or (start.strip(b"\0") and not re.match(rb"[0-9a-f]{8} \{", start)):
        raise JobError(f"{path} exists and is not a journal of this program; move it, or choose another output")


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line; None if the line does not match its checksum."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        record = parse_json(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def parse_region(values: Any, path: Path) -> DamagedRegion:
    """Return a damaged region of a record.

    Raises:
        JobError: if it is invalid.
    """
    match values:
        case [[*index], [int(top), int(bottom)], [int(left), int(right)]] if all(
            isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], int)
            for pair in index
        ):
            return DamagedRegion(tuple((letter, at) for letter, at in index), (top, bottom), (left, right))
    raise JobError(f"journal {path} contains an invalid region: {str(values)[:80]}; start again with --overwrite")


class RunGuard:
    """Check by a worker that its run is still the one that writes an output.

    A worker may outlive its driver. If another run has started to write the same output, perhaps with other settings,
    the worker must not write its remaining results.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._path, self._run = path, run
        self._lock = Lock()
        self._begin, self._end, self._line, self._last = 0, 0, b"", ""

    def is_current(self) -> bool:
        """Return whether the journal exists and names no later run.

        A shared file system may show a new journal some seconds late.
        """
        for _ in range(_MAX_DELAY_SECONDS):
            last = self._last_run()
            if last:
                return last == self._run
            time.sleep(1)
        return False

    def _last_run(self) -> str:
        """Return the last run named in the journal, of which only what was added since the last call is read.

        It is read whole if it was replaced: then the line of the last run, whose name is unique, is not in its place.
        """
        try:
            with self._lock, self._path.open("rb") as file:
                file.seek(self._begin)
                if file.read(len(self._line)) != self._line:
                    self._begin, self._end, self._line, self._last = 0, 0, b"", ""
                file.seek(self._end)
                self._parse(file.read())
                return self._last
        except FileNotFoundError:
            return ""

    def _parse(self, added: bytes) -> None:
        """Store the last run in lines that were added, and where the last valid line ends.

        Invalid lines at the end are read again, since a resumed job replaces them.
        """
        start = self._end
        for line in added.splitlines(keepends=True):
            record = parse_record(line[:-1]) if line.endswith(b"\n") else None
            if record is not None:
                self._end = start + len(line)
                if "run" in record:
                    self._begin, self._line, self._last = start, line, str(record["run"])
            start += len(line)
