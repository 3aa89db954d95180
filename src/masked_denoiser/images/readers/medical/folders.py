"""Recognition of folders of DICOM files, which hold a volume as one file per slice."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from masked_denoiser.images.readers.signatures import is_dicom, read_head

#: Number of files of a folder, in the order of their names, of which at least half must be DICOM.
_EXAMINED = 16
#: Index of the files of a medium, which holds no pixels (DICOM PS3.10, 8.6).
INDEX_NAME = "DICOMDIR"
#: Most folders that are searched for series.
_MOST_FOLDERS = 500


def is_dicom_folder(path: Path) -> bool:
    """Return whether half of the first files in a folder are DICOM; False if the folder cannot be read."""
    found = [is_dicom_file(file) for file in files_in(path)[:_EXAMINED]] if path.is_dir() else []
    return any(found) and 2 * sum(found) >= len(found)


def nested_series(folder: Path) -> Path | None:
    """Return a folder of DICOM files anywhere below a folder, as on media with an index; None if there is none."""
    for parent, folders, _ in islice(os.walk(folder), _MOST_FOLDERS):
        folders.sort()
        if Path(parent) != folder and is_dicom_folder(Path(parent)):
            return Path(parent)
    return None


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder by name, except hidden ones and the index of a medium; [] if it is unreadable."""
    try:
        return sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != "." and p.name != INDEX_NAME)
    except OSError:
        return []


def is_dicom_file(path: Path) -> bool:
    """Return whether a file is DICOM by its content; False if it cannot be read."""
    try:
        return is_dicom(path, read_head(path))
    except OSError:
        return False
