"""Checksum of all pixels of an input, by which a finished output knows the image that it is of."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import TypeVar

from masked_denoiser.errors import JobError
from masked_denoiser.images.readers.damage import read_zero_filled
from masked_denoiser.images.source import Source
from masked_denoiser.images.validation.fingerprint import changed_at, checksum
from masked_denoiser.images.writers.provenance import read_attributes
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.storage.journal_records import Checksums, GroupId

#: Attribute of an output with the checksum.
INPUT_PIXELS = "input_pixels"

#: Threads that read and decode.
_THREADS = 4

_T = TypeVar("_T")


def pixels_of(done: Mapping[GroupId, Checksums]) -> str:
    """Return the checksum of the input of all groups of a job."""
    return _combined(done[group_id].read for group_id in sorted(done))


def check_same_pixels(path: Path, source: Source, job: Job) -> None:
    """Check that the input of a complete output is still the same, by all of its pixels if its files are newer.

    Args:
        path: of the output.
        source: the image, as the job reads it.
        job: the job, whose settings are those of the output.

    Raises:
        JobError: if it has changed.
    """
    stored = read_attributes(path).get(INPUT_PIXELS)
    if not isinstance(stored, str) or changed_at(source) <= _written_at(path):
        return
    groups = product(range(len(job.planes)), range(len(job.groups)))
    if _combined(value for _, value in in_parallel(lambda one: read_checksum(job, source, one), groups)) != stored:
        raise JobError(
            f"{path} is complete, but the input has changed since (its pixels); write elsewhere, or use --overwrite"
        )


def _written_at(path: Path) -> float:
    """Return when an output was written: of a zarr when its job began, as other programs may add to it later."""
    began = [level / name for level in (path / "0",) for name in ("zarr.json", ".zarray") if (level / name).exists()]
    return (began[0] if began else path).stat().st_mtime


def in_parallel(check: Callable[[GroupId], _T], groups: Iterable[GroupId]) -> Generator[tuple[GroupId, _T]]:
    """Yield each group with the result of a function that reads it, in order."""
    groups = list(groups)
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="checking")
    try:
        yield from zip(groups, pool.map(check, groups), strict=True)
    finally:  # also when the caller stops early
        pool.shutdown(cancel_futures=True)


def read_checksum(job: Job, source: Source, group_id: GroupId) -> int:
    """Return the checksum of the pixels of a group in the input; see `Checksums.read`."""
    plane, group = job.planes[group_id[0]], job.groups[group_id[1]]
    value = 0
    for tile in group.tiles:
        if job.on_error == "skip":  # what counts as damaged depends on the whole rectangle that is read
            pixels, _ = read_zero_filled(source, plane, *(span.index for span in tile.read))
            value = checksum(pixels[(slice(None), *tile.core_in_read)], value)
        else:
            value = checksum(source.read(plane, *(span.index for span in tile.core)), value)
    return value


def _combined(checksums: Iterable[int]) -> str:
    return f"{zlib.crc32(b''.join(value.to_bytes(4, 'little') for value in checksums)):08x}"
