"""Held: what a zarr folder holds beside the pixels of its one image, told from its metadata files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: What makes a folder a zarr, in formats 2 and 3.
ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")
#: All metadata of both formats.
METADATA_FILES = (*ZARR_FILES, ".zattrs", ".zmetadata")
#: With what a file manager leaves behind.
_HARMLESS = (*METADATA_FILES, ".DS_Store")


def extra_contents(path: Path) -> list[str]:
    """Names in a zarr folder that are no pyramid level of its first image: labels, other images, files of others.

    A folder that is an array holds nothing else; of one whose metadata are broken or missing everything counts.
    """
    if _is_array(path):
        return []
    levels = _levels(_attributes(path))
    return sorted(child.name for child in path.iterdir() if not _belongs(child, levels))


def _belongs(child: Path, levels: set[str]) -> bool:
    # LocalStore writes <key>.<hex>.partial, then renames it.
    if child.is_file():
        return child.name in _HARMLESS or child.name.endswith(".partial")
    return child.name in levels and _is_array(child)


def _is_array(path: Path) -> bool:
    return (path / ".zarray").is_file() or _json(path / "zarr.json").get("node_type") == "array"


def _attributes(path: Path) -> dict[str, Any]:
    attributes = _json(path / "zarr.json").get("attributes") or _json(path / ".zattrs")
    return attributes if isinstance(attributes, dict) else {}


def _levels(attributes: dict[str, Any]) -> set[str]:
    """Paths of the levels of the first image."""
    try:
        return {str(level["path"]) for level in attributes.get("ome", attributes)["multiscales"][0]["datasets"]}
    except (KeyError, IndexError, TypeError, AttributeError):
        return set()


def _json(path: Path) -> dict[str, Any]:
    """An object in a file; an empty one if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
