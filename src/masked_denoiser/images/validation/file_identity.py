"""Identity of files and folders by device and inode, which is the same under every path.

A bind mount, a second mount of a share, a hard link, or a case-insensitive disk give one file several names.
On Windows, Python reports the volume serial number and the file index in place of device and inode.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from masked_denoiser.images.zarr_files import is_array

#: Device and inode of a file or folder.
FileId = tuple[int, int]


def file_id(path: str | os.PathLike[str]) -> FileId | None:
    """Return the identity of a file or folder, following links; None if it does not exist or has none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - also takes the entries of scandir
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


def name_key(path: Path) -> str:
    """Return a key that is equal for paths to the same file; case is ignored, as by many file systems."""
    return unicodedata.normalize("NFC", str(path.expanduser().resolve())).casefold()


def find_overlap(output: Path, inputs: Iterable[Path]) -> Path | None:
    """Return the input that an output is, contains or lies in; None if there is none.

    Args:
        output: path of an output, which need not exist.
        inputs: existing files and folders that are read.
    """
    output = output.resolve()
    output_id, parents, contents = file_id(output), _ids(output.parents), _folder_ids(output)
    for path in inputs:
        resolved = path.resolve()
        if _is_related(output, resolved):
            return path
        parts = _folder_ids(resolved)
        is_inside = output_id is not None and output_id in _ids(resolved.parents)
        if is_inside or not parts.isdisjoint(parents | contents):
            return path
    return None


def _is_related(output: Path, path: Path) -> bool:
    """Return whether one path is or contains the other, by name."""
    return output == path or output.is_relative_to(path) or path.is_relative_to(output)


def _ids(paths: Iterable[Path]) -> set[FileId]:
    return {identity for path in paths if (identity := file_id(path)) is not None}


def _folder_ids(path: Path) -> set[FileId]:
    """Return the identities of a file or folder and of the folders in it, also behind links.

    Of the arrays of a zarr only the outermost folders of chunks are compared, as there may be millions of others. The
    chunks
    themselves are replaced by renaming, which leaves other names of the same file unchanged.
    """
    found: set[FileId] = set()
    pending = [path]
    while pending:
        folder = pending.pop()
        identity = file_id(folder)
        if identity is None or identity in found:
            continue
        found.add(identity)
        subfolders = list(_subfolders(folder))
        if is_array(folder):
            found |= _ids(subfolders)
        else:
            pending += subfolders
    return found


def _subfolders(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            yield from (Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:  # a file, or a folder that may not be read and thus not be removed
        return
