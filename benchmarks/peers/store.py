"""Finished results as lines of JSON, so that an interrupted comparison continues where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: Error or verdict of what was not run, when finished results are shown.
NOT_RUN = "not run"

#: Begin of the names of practical checks, which distinguishes them from images.
CHECK = "check: "


class Store:
    """Results by peer, case and fingerprint of what determines them.

    A line that was cut off when the program was ended is ignored.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results: dict[tuple[str, str, str], dict[str, Any]] = {}
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            self._results[entry["peer"], entry["case"], entry["fingerprint"]] = entry

    def get(self, peer: str, case: str, fingerprint: str) -> dict[str, Any] | None:
        """Return a finished result, or None."""
        return self._results.get((peer, case, fingerprint))

    def add(self, entry: dict[str, Any]) -> None:
        """Write a result with the keys `peer`, `case` and `fingerprint` at once."""
        self._results[entry["peer"], entry["case"], entry["fingerprint"]] = entry
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = self._path.read_bytes() if self._path.exists() else b""
        with self._path.open("ab") as stream:
            if text and not text.endswith(b"\n"):
                stream.write(b"\n")
            stream.write(json.dumps(entry).encode() + b"\n")
