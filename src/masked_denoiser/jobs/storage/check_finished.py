"""Check of the finished groups of an interrupted job, before it is continued."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from masked_denoiser.errors import JobError, OutputError
from masked_denoiser.images.source import DECODER_ERRORS, Source
from masked_denoiser.images.validation.fingerprint import checksum, evenly_spaced, file_times
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.storage.input_pixels import in_parallel, read_checksum
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.jobs.storage.journal_records import GroupId
from masked_denoiser.tiling.groups import Group

if TYPE_CHECKING:
    from masked_denoiser.images.writers.zarr_pyramid import FolderSink

#: Number of groups whose input is compared if its files have the same times and inodes as before.
_SAMPLED_GROUPS = 64


def check_input(
    job: Job, source: Source, journal: Journal, files: int, progress: ProgressCallback = no_progress
) -> None:
    """Check that the pixels from which finished groups were computed are still the same.

    All of them are compared if the files of the input have other times or inodes than when they were read, as they have
    if one was changed, copied or only touched; else some. Of an image on a network only some are, too.

    Args:
        job: the job.
        source: its input.
        journal: the journal with the finished groups.
        files: times of the files of the input now.
        progress: called with 0 for each group; an exception raised by it stops the check.

    Raises:
        JobError: if they differ; the first difference is located.
    """
    groups = sorted(journal.done)
    if files == journal.files and (files or source.url):
        groups = evenly_spaced(groups, _SAMPLED_GROUPS)
    same = in_parallel(lambda group_id: read_checksum(job, source, group_id) == journal.done[group_id].read, groups)
    changed = None
    with closing(same):
        for group_id, is_same in same:
            progress(0.0)
            if not is_same:
                changed = group_id
                break
    if changed is not None:
        rows, columns = job.groups[changed[1]].core
        raise JobError(
            f"the input has changed since its tiles were read (plane {changed[0]}, rows {rows.start} to "
            f"{rows.stop}, columns {columns.start} to {columns.stop}); restore it, or start again with --overwrite"
        )


def drop_damaged_groups(job: Job, sinks: Iterable[Sink], journal: Journal) -> None:
    """Remove from a journal the groups whose pixels are missing or damaged on disk, so that they are computed again."""
    from masked_denoiser.images.writers.zarr_pyramid import FolderSink  # imports zarr, which arrays do not need

    stored = [(number, sink) for number, sink in enumerate(sinks) if isinstance(sink, FolderSink)]
    damaged: set[GroupId] = set()
    for number, sink in stored:
        sink.reopen()
        intact = in_parallel(partial(_is_intact, job, sink, number, journal), sorted(journal.done))
        damaged |= {group_id for group_id, is_intact in intact if not is_intact}
    for group_id in damaged:
        del journal.done[group_id]
    journal.damaged_groups = len(damaged)


def _is_intact(job: Job, sink: FolderSink, number: int, journal: Journal, group_id: GroupId) -> bool:
    """Return whether the pixels of a group are stored as they were written; undecodable files are deleted.

    Raises:
        OutputError: if they cannot be reached, which says nothing about them.
    """
    plane, (y, x, size) = job.planes[group_id[0]], _rectangle(job.groups[group_id[1]])
    try:
        pixels = sink.read(plane, y, x, size)
    except OSError as error:
        raise OutputError(journal.output, error) from error
    except DECODER_ERRORS:
        sink.delete(plane, y, x, size)
        return False
    return (checksum(pixels),) == journal.done[group_id].written[number : number + 1]


def _rectangle(group: Group) -> tuple[int, int, tuple[int, int]]:
    """Return the first row and column of a group, and its height and width."""
    rows, columns = group.core
    return rows.start, columns.start, (len(rows), len(columns))


def check_input_at_end(job: Job, source: Source, journal: Journal, progress: ProgressCallback) -> None:
    """Check before an output is completed that no file of its input was changed while the job ran.

    Raises:
        JobError: if pixels from which groups were computed have changed.
    """
    files = file_times(source)
    if files != journal.files:
        check_input(job, source, journal, files, progress)
