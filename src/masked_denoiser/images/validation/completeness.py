"""Mark of a complete output, which is written last: an output without it is of unknown completeness.

In an OME-Zarr the mark counts the files of its pixels, because a folder may be copied while it is written, or in part.
An OME-TIFF gets its final name only when it is complete, and a truncated file does not open.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masked_denoiser.images.zarr_files import is_pixel_file

#: Key of the mark in the attributes that are stored with an image.
COMPLETE_KEY = "complete"


def completeness_mark(folder: Path, levels: int) -> dict[str, int]:
    """Return the mark of an OME-Zarr: number and bytes of the files that hold the pixels of its levels.

    Args:
        folder: of the group, with the levels "0", "1", ...
        levels: number of levels.
    """
    sizes = [size for number in range(levels) for size in _file_sizes(folder / str(number))]
    return {"levels": levels, "files": len(sizes), "bytes": sum(sizes)}


def incompleteness(path: Path, attributes: Mapping[str, Any], most_files: int | None = None) -> str:
    """Return why an output is not known to be complete, as a clause; "" if it is complete.

    Args:
        path: of the output.
        attributes: as `read_attributes` returns them.
        most_files: number of files above which the mark is trusted without counting them; None to count any number.
    """
    match attributes.get(COMPLETE_KEY):
        case True if path.is_file():
            return ""
        case {"files": int(files), "bytes": int(size)} if path.is_dir() and "levels" not in attributes[COMPLETE_KEY]:
            sizes = [each.stat().st_size for each in path.iterdir() if not each.name.startswith(".")]
            if (len(sizes), sum(sizes)) == (files, size):
                return ""
            return f"it has {len(sizes)} of {files} files"
        case {"levels": int(levels), "files": int(files), "bytes": int(size)} if path.is_dir() and 0 < levels < 100:
            if most_files is not None and files > most_files:
                return ""
            found = completeness_mark(path, levels)
            if (found["files"], found["bytes"]) == (files, size):
                return ""
            return f"it has {found['files']} of {files} files of pixels, with {found['bytes']} of {size} bytes"
    return "it lacks the mark that is written last, so its job was interrupted or it was copied before the end"


def _file_sizes(folder: Path) -> list[int]:
    """Return the sizes in bytes of all files in a folder but the metadata of zarr."""
    return [
        Path(parent, name).stat().st_size
        for parent, _, names in os.walk(folder)
        for name in names
        if is_pixel_file(name)
    ]
