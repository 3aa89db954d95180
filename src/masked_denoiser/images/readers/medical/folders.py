"""Recognition of folders of DICOM files, which hold a volume as one file per slice."""

from __future__ import annotations

from pathlib import Path

from masked_denoiser.images.readers.signatures import is_dicom, read_head

#: Number of files of a folder, in the order of their names, of which one must be DICOM.
_EXAMINED = 4
#: Index of the files of a medium, which holds no pixels (DICOM PS3.10, 8.6).
INDEX_NAME = "DICOMDIR"


def is_dicom_folder(path: Path) -> bool:
    """Return whether one of the first files in a folder is DICOM; False if the folder cannot be read."""
    return path.is_dir() and any(is_dicom_file(file) for file in files_in(path)[:_EXAMINED])


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
