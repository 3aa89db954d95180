"""Folders of files that this program wrote, such as a derived DICOM series, with a list of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masked_denoiser.atomic_file import temporary_path
from masked_denoiser.errors import ImageError
from masked_denoiser.images.validation.completeness import COMPLETE_KEY
from masked_denoiser.plain_json import parse_json

#: File in the folder that lists the others with their sizes, and holds the attributes of the image. It is hidden, as
#: programs that import a folder should not try to read it.
LISTING = ".masked-denoiser.json"


def write_listing(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Write the list of the files in a folder, and the attributes of its image."""
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    mark = {"files": len(files), "bytes": sum(files.values())}
    text = json.dumps({**attributes, COMPLETE_KEY: mark, "files": sorted(files)}, sort_keys=True, indent=1)
    (folder / LISTING).write_text(text + "\n", encoding="utf-8")


def read_listing(folder: Path) -> dict[str, Any]:
    """Return the attributes of the image in a folder; {} if this program did not write it.

    Raises:
        OSError, ValueError: if the list cannot be read.
    """
    path = folder / LISTING
    values = parse_json(path.read_bytes()) if path.is_file() else {}
    return values if isinstance(values, dict) else {}


def check_derived_folder(folder: Path) -> None:
    """Check that a folder holds nothing but files that this program wrote.

    Raises:
        ImageError: if it holds others, which would be lost, or is no such folder.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder} is a file, and a DICOM series is a folder: write elsewhere")
    listed = read_listing(folder).get("files")
    if not isinstance(listed, list):
        raise ImageError(f"{folder} was not written by this program: move it, or write elsewhere")
    others = sorted({path.name for path in folder.iterdir()} - {*map(str, listed), LISTING})
    if others:
        raise ImageError(f"{folder} holds other files ({', '.join(others[:5])}), which would be lost: write elsewhere")


def remove_derived_folder(folder: Path) -> None:
    """Delete a folder that `check_derived_folder` accepts; it is renamed first, so that it never looks complete.

    Raises:
        ImageError: if it holds other files.
    """
    check_derived_folder(folder)
    shutil.rmtree(folder.rename(temporary_path(folder, "removing")))
