"""Names of images inside files that hold several: `stack.lif::Series 2`, `data.h5::/volumes/raw`."""

from __future__ import annotations

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
