"""Files that are written completely or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, whose file replaces that of `path` at the end of the block.

    The file is on disk before it is renamed. If the block fails, `path` is unchanged and the temporary file is removed.
    A process that is killed leaves it; the next one overwrites it, since its name is always the same.
    """
    temporary = path.with_name(f".{path.name}.creating")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the error in the block is the one to report
            temporary.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    """Wait until a file is on disk, where the file system can tell."""
    try:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
