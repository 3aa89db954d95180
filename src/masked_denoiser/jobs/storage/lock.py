"""Lock of an output, which at most one process writes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from masked_denoiser.errors import JobError

#: What a lock holds without `flock`: process and computer, a line each, and what else identifies the process.
_MARKER = re.compile(rb"(\d+(\n[^\n]*)*)?")
_MAX_MARKER_BYTES = 1024


class OutputLock:
    """Exclusive right to write outputs, until it is released or the process ends in any way.

    The operating system manages it (`flock`, or its equivalent on Windows), so that a killed process leaves only an
    empty file `<output>.lock`, which the next run takes over. On a file system without `flock`, the file holds number
    and computer of the process instead; the next run takes it over if it is on the same computer.
    """

    def __init__(self, outputs: Sequence[Path], owner: str) -> None:
        """Lock all outputs of a job.

        Args:
            outputs: paths that will be written.
            owner: last writer of the output, for the error; empty if unknown.

        Raises:
            JobError: if another process, or another job of this process, has locked one of them.
        """
        self._locks: list[FileLock] = []
        try:
            for output in outputs:
                self._locks.append(_lock(output, owner))
        except JobError:
            self.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Unlock the outputs and remove the lock files; further calls do nothing."""
        while self._locks:
            lock = self._locks.pop()
            if os.name != "nt":  # Windows cannot remove an open file; there the library removes it afterwards
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()


def _lock(output: Path, owner: str) -> FileLock:
    path = output.with_name(f"{output.name}.lock")
    content = _content(path)
    if content is None or not _MARKER.fullmatch(content):
        raise JobError(f"{path} exists and is not a lock of this program; move it, or choose another output")
    # Not thread-local, since another thread may release it.
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        by = f" by {owner}" if owner else ""
        ended = f"remove {path.name} if it has ended, " if content else ""
        raise JobError(f"{output} is being written{by}; wait for it, cancel it, {ended}or write elsewhere") from error
    except NotImplementedError as error:  # by older versions of the library
        raise JobError(
            f"{output.parent} is on a file system without locks; write elsewhere, or update the package filelock"
        ) from error
    except OSError as error:
        raise JobError(f"{output.parent} cannot be written to ({error.strerror}); choose another output") from error
    return lock


def _content(path: Path) -> bytes | None:
    """Return the begin of a file; b"" if there is none, or another process has just removed it; None for a folder."""
    if path.is_dir():
        return None
    try:
        with path.open("rb") as file:
            return file.read(_MAX_MARKER_BYTES)
    except (FileNotFoundError, PermissionError):  # Windows does not open a file that another process has locked
        return b""
