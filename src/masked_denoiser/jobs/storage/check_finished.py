"""Check of the finished groups of an interrupted job, before it is continued."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from masked_denoiser.errors import JobError, OutputError
from masked_denoiser.images.readers.damage import read_zero_filled
from masked_denoiser.images.source import DECODER_ERRORS, Source
from masked_denoiser.images.validation.fingerprint import checksum, evenly_spaced
from masked_denoiser.images.writers.base import Sink
from masked_denoiser.images.writers.zarr_pyramid import FolderSink
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.storage.journal import GroupId, Journal
from masked_denoiser.tiling.groups import Group

#: Number of groups whose input is compared if its files have the same times and inodes as before.
_SAMPLED_GROUPS = 64

#: Threads that read and decode.
_THREADS = 4


def check_input(job: Job, source: Source, journal: Journal, files: int) -> None:
    """Check that the pixels from which finished groups were computed are still the same.

    All of them are compared if the files of the input have other times or inodes than when the job was interrupted, as
    they have if one was changed, copied or only touched; else some. Of an image on a network only some are, too.

    Args:
        job: the job.
        source: its input.
        journal: the journal with the finished groups.
        files: times of the files of the input now.

    Raises:
        JobError: if they differ; the first difference is located.
    """
    groups = sorted(journal.done)
    if files == journal.files and (files or source.url):
        groups = evenly_spaced(groups, _SAMPLED_GROUPS)
    same = _parallel(lambda group_id: _read_checksum(job, source, group_id) == journal.done[group_id].read, groups)
    changed = next((group_id for group_id, is_same in same if not is_same), None)
    if changed is not None:
        rows, columns = job.groups[changed[1]].core
        raise JobError(
            f"the input has changed since the job was interrupted (plane {changed[0]}, rows {rows.start} to "
            f"{rows.stop}, columns {columns.start} to {columns.stop}); restore it, or start again with --overwrite"
        )


def drop_damaged_groups(job: Job, sinks: Iterable[Sink], journal: Journal) -> None:
    """Remove from a journal the groups whose pixels are missing or damaged on disk, so that they are computed again."""
    stored = [(number, sink) for number, sink in enumerate(sinks) if isinstance(sink, FolderSink)]
    damaged: set[GroupId] = set()
    for number, sink in stored:
        sink.reopen()
        intact = _parallel(partial(_is_intact, job, sink, number, journal), sorted(journal.done))
        damaged |= {group_id for group_id, is_intact in intact if not is_intact}
    for group_id in damaged:
        del journal.done[group_id]
    journal.damaged_groups = len(damaged)


def _parallel(check: Callable[[GroupId], bool], groups: Iterable[GroupId]) -> Iterator[tuple[GroupId, bool]]:
    """Yield each group with the result of its check, in order."""
    groups = list(groups)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="checking") as pool:
        yield from zip(groups, pool.map(check, groups), strict=True)


def _read_checksum(job: Job, source: Source, group_id: GroupId) -> int:
    """Return the checksum of the pixels of a group in the input; see `Checksums.read`."""
    plane, group = job.planes[group_id[0]], job.groups[group_id[1]]
    value = 0
    for tile in group.tiles:
        rows, columns = (span.index for span in tile.core)
        pixels = (
            read_zero_filled(source, plane, rows, columns)[0]
            if job.on_error == "skip"
            else source.read(plane, rows, columns)
        )
        value = checksum(pixels, value)
    return value


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
