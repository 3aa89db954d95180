"""Watch for forbidden effects of files: outside writes, commands, connections, unpickling and secret reads."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from masked_denoiser.images.validation.size_limits import LIMIT_VARIABLE

#: Seconds and bytes that one input may take, far above the budget of a decoded piece.
SECONDS, GROWTH = 20, 768 * 2**20
_BUDGET_GIB = "0.0625"

_FORBIDDEN = {
    "os.exec", "os.posix_spawn", "os.spawn", "os.system", "pickle.find_class", "socket.connect", "socket.getaddrinfo",
    "subprocess.Popen", "urllib.Request", "shutil.rmtree",
}  # fmt: skip
_WRITES = {"os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Slow(BaseException):
    """Raised when an input takes longer than `SECONDS`."""


class Watch:
    """Recorder of forbidden audit events of the interpreter; a single instance, as hooks cannot be removed."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._folder: Path | None = None
        sys.addaudithook(self._on_event)

    @contextmanager
    def watching(self, folder: Path) -> Iterator[None]:
        """Record events; only `folder` may be written to, and `secret` next to it must not be read."""
        self.seen, self._folder = [], folder
        try:
            yield
        finally:
            self._folder = None

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        folder = self._folder
        if folder is None:
            return
        if event in _FORBIDDEN:
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            writes = isinstance(arguments[2], int) and arguments[2] & _WRITING
            secret = _inside(path, folder.parent / "secret") or path == "/etc/passwd"
            if secret or (writes and not _inside(path, folder)):
                self.seen.append(f"open {path} {arguments[1:]}")
        elif event in _WRITES:
            paths = [os.path.realpath(os.fsdecode(a)) for a in arguments if isinstance(a, str | bytes)]
            if not all(_inside(path, folder) for path in paths):
                self.seen.append(f"{event} {paths}")


def _inside(path: str, folder: Path) -> bool:
    return path in (os.devnull, str(folder)) or path.startswith(f"{folder}{os.sep}")


WATCH = Watch()


@contextmanager
def quiet() -> Iterator[None]:
    """Set a small budget for decoded pieces and silence library warnings and logs about broken files."""
    before = os.environ.get(LIMIT_VARIABLE)
    os.environ[LIMIT_VARIABLE] = _BUDGET_GIB
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
        os.environ.pop(LIMIT_VARIABLE)
        if before is not None:
            os.environ[LIMIT_VARIABLE] = before


@contextmanager
def time_limit(seconds: int = SECONDS) -> Iterator[None]:
    """Raise `Slow` after some seconds, where the system has alarms and this is the main thread."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def raise_slow(*_: object) -> None:
        raise Slow

    before = signal.signal(signal.SIGALRM, raise_slow)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def peak_bytes() -> int:
    """Return the peak resident memory of this process, in bytes."""
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
