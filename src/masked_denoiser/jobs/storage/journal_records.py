"""Records of a journal: lines with checksums.

A line is the CRC-32 of a record in eight hexadecimal digits, a space, and the record as JSON.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masked_denoiser.errors import JobError
from masked_denoiser.plain_json import parse_json

#: Seconds after which a missing journal counts as removed.
_MAX_DELAY_SECONDS = 5


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

    Invalid lines at the end are left out, since a power failure leaves such lines, torn or never written.

    Raises:
        JobError: if there is no journal, or an invalid line precedes a valid one.
    """
    if not path.is_file():
        raise JobError(f"journal {path} does not exist: its output is complete, or was not written by this program")
    lines = path.read_bytes().split(b"\n")[:-1]
    parsed = [parse_record(line) for line in lines]
    while parsed and parsed[-1] is None:
        parsed.pop()
    records = [record for record in parsed if record is not None]
    if not records or len(records) < len(parsed):
        position = f"line {parsed.index(None) + 1}" if parsed else "its first line"
        raise JobError(f"journal {path} is damaged at {position}; start again with --overwrite")
    return records, sum(len(line) + 1 for line in lines[: len(records)])


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


class RunGuard:
    """Check by a worker that its run is still the one that writes an output.

    A worker may outlive its driver. If another run has started to write the same output, perhaps with other settings,
    the worker must not write its remaining results.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._path, self._run = path, run

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
        """Return the last run named in the journal, which is read whole: it is short and may have been replaced."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return ""
        records = map(parse_record, reversed(lines))
        return str(next((record["run"] for record in records if record is not None and "run" in record), ""))
