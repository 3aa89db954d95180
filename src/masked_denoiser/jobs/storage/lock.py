"""One process at a time writes an output."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from masked_denoiser.errors import JobError


class OutputLock:
    """The right to write outputs, held until it is released or the process ends, however it ends.

    The operating system keeps it (`flock`, or its like on Windows), so that a killed process leaves no lock behind,
    only an empty file `<output>.lock`, which the next run takes over.
    """

    def __init__(self, outputs: Sequence[Path], owner: str) -> None:
        """Takes the locks of all outputs of a job.

        Args:
            outputs: what will be written.
            owner: who holds it, if somebody does, for the error.

        Raises:
            JobError: if another process, or another job of this one, holds one of them.
        """
        self._locks: list[FileLock] = []
        try:
            for output in outputs:
                self._locks.append(_locked(output, owner))
        except JobError:
            self.release()
            raise

    def release(self) -> None:
        """Gives the right back, and removes the files; once is enough."""
        while self._locks:
            lock = self._locks.pop()
            if os.name != "nt":  # Windows removes no file that is open; there the library does it afterwards
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()


def _locked(output: Path, owner: str) -> FileLock:
    # Another thread may release it.
    lock = FileLock(output.with_name(f"{output.name}.lock"), timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        by = f" by {owner}" if owner else ""
        raise JobError(f"{output} is being written{by}; wait for it, cancel it, or write elsewhere") from error
    except OSError as error:
        raise JobError(f"{output.parent} cannot be written to ({error.strerror}); choose another output") from error
    return lock
