"""Files that this program wrote, which are the only ones that it replaces."""

from __future__ import annotations

from pathlib import Path

from masked_denoiser.errors import JobError
from masked_denoiser.images.writers.output_path import is_assembled
from masked_denoiser.images.writers.provenance import read_attributes
from masked_denoiser.jobs.storage.journal import Journal


def is_replaceable(path: Path) -> bool:
    """Return whether an output is missing, an empty file, or states that this program wrote it.

    OME-Zarr is written in place, so that a journal states it, too, until the job is complete.
    """
    if not path.exists():
        return True
    is_empty = path.is_file() and not path.stat().st_size  # as workflow managers create
    started = not is_assembled(path) and Journal.path_for(path).exists()
    return is_empty or started or bool(read_attributes(path))


def check_own_output(path: Path) -> None:
    """Check that an existing output may be replaced, as it could be the only copy of an image.

    Raises:
        JobError: if this program did not write it.
    """
    if not is_replaceable(path):
        raise JobError(
            f"{path} was not written by this program, which does not replace it; remove it yourself, or write elsewhere"
        )


def find_own_output(path: Path) -> tuple[bool, bool]:
    """Return whether an output exists, complete or not, and whether it is unfinished.

    Raises:
        JobError: if it exists and this program did not write it.
    """
    check_own_output(path)
    unfinished = Journal.path_for(path).exists()
    return unfinished or path.exists(), unfinished


def how_to_replace(path: Path) -> str:
    """Return what a user can do to write to an existing path, as the rest of a sentence."""
    return "replace it with --overwrite" if is_replaceable(path) else "remove it yourself"
