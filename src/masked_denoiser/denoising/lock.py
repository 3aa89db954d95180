"""One process at a time writes an output."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from masked_denoiser.denoising.job import JobError


class OutputLock:
    """The right to write an output, held until it is released or the process ends, however it ends.

    The operating system keeps it (`flock`, or its like on Windows), so that a killed process leaves no lock behind,
    only an empty file `<output>.lock`, which the next run takes over.
    """

    def __init__(self, output: Path, owner: str) -> None:
        """Takes the lock.

        Args:
            output: what will be written.
            owner: who holds it, if somebody does, for the error.

        Raises:
            JobError: if another process, or another job of this one, holds it.
        """
        self._path = output.with_name(f"{output.name}.lock")
        self._lock = FileLock(self._path, timeout=0, thread_local=False)  # another thread may release it
        try:
            self._lock.acquire()
        except Timeout as error:
            by = f" by {owner}" if owner else ""
            raise JobError(f"{output} is being written{by}; wait for it, cancel it, or write elsewhere") from error
        except OSError as error:
            raise JobError(f"{output.parent} cannot be written to ({error.strerror}); choose another output") from error

    def release(self) -> None:
        """Gives the right back, and removes the file."""
        if self._lock.is_locked:
            self._path.unlink(missing_ok=True)
            self._lock.release()
