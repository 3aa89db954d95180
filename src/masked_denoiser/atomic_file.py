"""Files that are written completely or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Characters of a file name that its temporary file repeats, as file systems limit the length of names.
_REPEATED_CHARACTERS = 50


@contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, whose file replaces that of `path` at the end of the block.

    The temporary file is new, empty and hidden, and belongs to this block alone, even if another process writes `path`.
    It is on disk before it is renamed. If the block fails, `path` is unchanged and the temporary file is removed.

    Raises:
        OSError: if a file cannot be written there.
    """
    temporary = _create_new(path)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the error in the block is the one to report
            temporary.unlink(missing_ok=True)
        raise


def _create_new(path: Path) -> Path:
    """Create an empty file next to `path` with a name that no file has, and with the usual permissions.

    `tempfile` would create one that only its owner can read.
    """
    while True:
        temporary = path.with_name(f".{path.name[:_REPEATED_CHARACTERS]}.{secrets.token_hex(8)}.creating")
        with suppress(FileExistsError):
            temporary.touch(exist_ok=False)
            return temporary


def _sync(path: Path) -> None:
    """Wait until a file is on disk, where the file system can tell."""
    try:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
