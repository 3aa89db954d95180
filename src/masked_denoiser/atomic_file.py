"""Files that are written completely or not at all, and temporary names next to them, which no file of a user has."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

#: What a temporary path is for: a folder or file that is being created, or one that is being removed.
Purpose = Literal["creating", "removing"]

#: Bytes of a name that its temporary name repeats, as file systems limit the length of names.
_REPEATED_BYTES = 80

_ENDING = re.compile(r"[0-9a-f]{16}\.(creating|removing)")


@contextmanager
def replaced_atomically(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, whose file replaces that of `path` at the end of the block.

    The temporary file is new, empty and hidden, and belongs to this block alone, even if another process writes `path`.
    It is on disk before it is renamed. If the block fails, `path` is unchanged and the temporary file is removed.

    Args:
        path: file to write.
        overwrite: whether a file that is at `path` at the end of the block is replaced.

    Raises:
        FileExistsError: if there is a file that must not be replaced, even one that appeared during the block.
        OSError: if a file cannot be written there.
    """
    temporary = _create_new(path)
    try:
        yield temporary
        _sync(temporary)
        if overwrite:
            temporary.replace(path)
        else:
            _publish_new(temporary, path)
    except BaseException:
        with suppress(OSError):  # the error in the block is the one to report
            temporary.unlink(missing_ok=True)
        raise


def _publish_new(temporary: Path, path: Path) -> None:
    """Rename a file to a name that no file has: on POSIX a rename would replace one, but a hard link does not."""
    if os.name == "nt":
        temporary.rename(path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:  # the file system has no hard links
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        temporary.replace(path)
    else:
        with suppress(OSError):  # the file is complete; `remove_leftovers` deletes its other name
            temporary.unlink()


def _create_new(path: Path) -> Path:
    """Create an empty file with a temporary name and the usual permissions.

    `tempfile` would create one that only its owner can read.
    """
    temporary = temporary_path(path, "creating")
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


def temporary_path(path: Path, purpose: Purpose) -> Path:
    """Return a new hidden path next to `path`, with a random part so that it cannot exist already."""
    return path.with_name(f"{_prefix(path)}{secrets.token_hex(8)}.{purpose}")


def remove_leftovers(path: Path) -> None:
    """Delete the temporary files and folders of `path` that killed processes have left."""
    if not path.parent.is_dir():
        return
    prefix = _prefix(path)
    for other in path.parent.iterdir():
        if not other.name.startswith(prefix) or not _ENDING.fullmatch(other.name[len(prefix) :]):
            continue
        if other.is_dir():
            shutil.rmtree(other)
        else:
            other.unlink()


def _prefix(path: Path) -> str:
    repeated = os.fsencode(path.name)[:_REPEATED_BYTES].decode(errors="ignore")
    return f".{repeated}.{zlib.crc32(os.fsencode(path.name)):08x}."
