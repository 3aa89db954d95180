"""Contents of a zarr folder other than the pixels of its first image, from its metadata files alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

#: Files of which one marks a folder as a zarr array or group, in formats 2 and 3.
ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")
#: All metadata files of both formats.
METADATA_FILES = (*ZARR_FILES, ".zattrs", ".zmetadata")
#: Group attribute of an output for what OME-Zarr does not define.
OWN_ATTRIBUTE = "masked_denoiser"
#: Group attribute that marks the working folder of a file that is written at the end.
WORKING_FOLDER_ATTRIBUTE = "masked_denoiser_working_folder"
#: File or folder in a working folder that becomes the output.
UNFINISHED = "unfinished"
_PARTIAL_CHUNK = re.compile(r".+\.[0-9a-f]{32}\.partial")
#: Files of the file managers of Windows; those of others begin with a dot.
_JUNK_FILES = ("Thumbs.db", "desktop.ini")
#: Files to ignore: metadata, and those of the macOS file manager.
_IGNORED_FILES = (*METADATA_FILES, ".DS_Store")


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a zarr, thus one image."""
    return path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in ZARR_FILES)


def extra_contents(path: Path) -> list[str]:
    """Return the names in a zarr folder other than levels of its first image: labels, other images, unrelated files.

    An array has no extra contents; if metadata are broken or missing, everything in the folder counts as extra.
    """
    if is_array(path):
        return []
    if is_working_folder(path):
        return sorted(child.name for child in path.iterdir() if not _is_of_working_folder(child))
    levels = _level_paths(_attributes(path))
    return sorted(child.name for child in path.iterdir() if not _is_expected(child, levels))


def is_partial_chunk(name: str) -> bool:
    """Return whether a file name is that of a chunk that zarr is writing; it is renamed when it is complete."""
    return _PARTIAL_CHUNK.fullmatch(name) is not None


def is_pixel_file(name: str) -> bool:
    """Return whether a file in the folder of an array may hold pixels: metadata and files of file managers do not."""
    return not (name in METADATA_FILES or name.startswith(".") or name in _JUNK_FILES or is_partial_chunk(name))


def is_working_folder(path: Path) -> bool:
    """Return whether a zarr folder is the working folder of a file that this program is writing."""
    return WORKING_FOLDER_ATTRIBUTE in _attributes(path)


def _is_expected(child: Path, levels: set[str]) -> bool:
    if child.is_file():
        return child.name in _IGNORED_FILES or is_partial_chunk(child.name)
    return child.name in levels and is_array(child)


def _is_of_working_folder(child: Path) -> bool:
    return child.name == UNFINISHED or _is_expected(child, {child.name} if child.name.isdecimal() else set())


def is_array(path: Path) -> bool:
    """Return whether a folder is a zarr array, of format 2 or 3."""
    return (path / ".zarray").is_file() or _read_object(path / "zarr.json").get("node_type") == "array"


def _attributes(path: Path) -> dict[str, Any]:
    attributes = _read_object(path / "zarr.json").get("attributes") or _read_object(path / ".zattrs")
    return attributes if isinstance(attributes, dict) else {}


def _level_paths(attributes: dict[str, Any]) -> set[str]:
    """Return the paths of the levels of the first image."""
    try:
        return {str(level["path"]) for level in attributes.get("ome", attributes)["multiscales"][0]["datasets"]}
    except (KeyError, IndexError, TypeError, AttributeError):
        return set()


def _read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; {} if the file is missing or holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
