"""The lines of a journal: records that tell whether they are whole.

A line is the CRC-32 of a record in eight hexadecimal digits, a space, the record as JSON.
"""

from __future__ import annotations

import json
import time
import zlib
from pathlib import Path
from typing import Any

from masked_denoiser.errors import JobError
from masked_denoiser.plain_json import parse_json

#: Seconds after which a journal that does not show up is gone.
_LATE = 5


def line_of(record: dict[str, Any]) -> bytes:
    """Bytes, so that a line ends alike on every system and its length is what is on disk."""
    text = json.dumps(record, sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_records(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of a journal, the header first, and their length in bytes.

    What a power cut left of the last lines, torn or never written, is left out; a bad line before a good one is damage.
    """
    if not path.is_file():
        raise JobError(f"there is no journal {path}: its output is complete, or no job of this program was cut off")
    lines = path.read_bytes().split(b"\n")[:-1]
    found = [parse_line(line) for line in lines]
    while found and found[-1] is None:
        found.pop()
    records = [record for record in found if record is not None]
    if not records or len(records) < len(found):
        at = f"line {found.index(None) + 1}" if found else "its first line"
        raise JobError(f"journal {path} is damaged at {at}; start again with --overwrite")
    return records, sum(len(line) + 1 for line in lines[: len(records)])


def parse_line(line: bytes) -> dict[str, Any] | None:
    """A record; None for a line that does not agree with its checksum."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        record = parse_json(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


class Watch:
    """Sees from a worker whether its run is still the one that writes an output.

    A worker may outlive its driver. If somebody else has begun to write the same output since, perhaps with other
    settings, what the worker still has in hand must not get there.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._path, self._run = path, run

    def still_ours(self) -> bool:
        """Whether the journal is there and names no later run.

        A shared file system may show a new journal some seconds late.
        """
        for _ in range(_LATE):
            last = self._latest()
            if last:
                return last == self._run
            time.sleep(1)
        return False

    def _latest(self) -> str:
        """The run that was named last; a journal is short, and all of it may be another's since the last look."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return ""
        named = (record["run"] for record in map(parse_line, reversed(lines)) if record is not None and "run" in record)
        return str(next(named, ""))
