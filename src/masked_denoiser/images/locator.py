"""Texts that name images: inside files (`stack.lif::Series 2`, `data.h5::/volumes/raw`), and patterns of files."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

#: Separates the path of a file or folder from the name of an image in it.
SEPARATOR = "::"


def split_locator(text: str) -> tuple[str, str]:
    """Return the path and the name of the image in it, "" if the text names none.

    A file whose own name has the separator is that file.
    """
    path, separator, part = text.partition(SEPARATOR)
    return (path, part) if separator and path and not Path(text).expanduser().exists() else (text, "")


def join_locator(path: str | Path, part: str) -> str:
    """Return the text that `split_locator` separates; the path alone if there is no part."""
    return f"{path}{SEPARATOR}{part}" if part else str(path)


def matches(pattern: Path) -> list[str]:
    """Return the files that match a pattern; the name of an existing folder in it is no pattern."""
    folder = _plain_folder(pattern)
    escaped = Path(glob.escape(str(folder)), pattern.relative_to(folder))
    return glob.glob(str(escaped), recursive=True)  # noqa: PTH207 - may be absolute


def is_match(path: Path, text: str) -> bool:
    """Return whether a file, which need not exist, matches a pattern."""
    pattern, file = (Path(os.path.abspath(Path(each).expanduser())) for each in (text, path))  # noqa: PTH100 - no links
    folder = _plain_folder(pattern)
    if not file.is_relative_to(folder):
        return False
    return _parts_match(file.relative_to(folder).parts, pattern.relative_to(folder).parts)


def _plain_folder(pattern: Path) -> Path:
    """Return the existing folder in which a pattern is searched."""
    return next((parent for parent in pattern.parents if parent.is_dir()), pattern.parents[-1])


def _parts_match(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Return whether the parts of a path match those of a pattern, as in `glob.glob(..., recursive=True)`."""
    if not patterns or not parts:
        return not parts and not set(patterns) - {"**"}
    if patterns[0] == "**":
        return _parts_match(parts, patterns[1:]) or _parts_match(parts[1:], patterns)
    return fnmatch.fnmatch(parts[0], patterns[0]) and _parts_match(parts[1:], patterns[1:])


def natural_order(path: str | Path) -> tuple[list[int | str], str]:
    """Return the key that sorts paths with numbers by their values, so that `cell2_truth` precedes `cell10_truth`.

    Pairs of images in two folders, such as `cell2` and `cell2_truth`, have the same order by it.
    """
    parts: list[int | str] = [*re.split(r"([0-9]+)", str(path).casefold())]
    parts[1::2] = map(int, parts[1::2])
    return parts, str(path)
