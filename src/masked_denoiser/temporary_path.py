"""Names of temporary files and folders next to an output, which no file of a user has."""

from __future__ import annotations

import re
import secrets
import shutil
import zlib
from pathlib import Path
from typing import Literal

#: What a temporary path is for: a folder or file that is being created, or one that is being removed.
Purpose = Literal["creating", "removing"]

#: Characters of a name that its temporary name repeats, as file systems limit the length of names.
_REPEATED_CHARACTERS = 80

_ENDING = re.compile(r"[0-9a-f]{16}\.(creating|removing)")


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
    return f".{path.name[:_REPEATED_CHARACTERS]}.{zlib.crc32(path.name.encode()):08x}."
