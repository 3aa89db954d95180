"""The output of a job on disk: whether it may be written, its sinks, and its journal."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.errors import AlreadyCompleteError, JobError, OutputError
from masked_denoiser.images.create import create_sink
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress, subrange
from masked_denoiser.images.writers.output_path import (
    check_output,
    check_replaceable,
    check_room,
    discard,
    estimate_bytes,
    has_begun,
)
from masked_denoiser.images.writers.provenance import read_attributes
from masked_denoiser.jobs.spec.job import Job, describe_difference
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.jobs.storage.lock import OutputLock
from masked_denoiser.tiling.plan import chunk_side


@dataclass(frozen=True)
class Output:
    """What a job writes to, and its end.

    Attributes:
        sink: of the result.
        std_sink: of the standard deviation, if the job has one.
        journal: of what is done.
    """

    sink: Sink
    std_sink: Sink | None
    journal: Journal

    def finish(self, follow: ProgressCallback = no_progress) -> None:
        """Completes the outputs, and then removes the journal; what `follow` raises stops it, for a later resume."""
        sinks = self._sinks()
        damage = sorted(set(map(str, self.journal.damage)))
        try:
            for sink in sinks if damage else ():
                sink.note({"damage": damage})
            for number, sink in enumerate(sinks):
                follow(number / len(sinks))
                sink.finish(subrange(follow, number, len(sinks)))
            self.journal.remove()
        except OSError as error:
            raise OutputError(self.journal.output, error) from error

    def close(self) -> None:
        """Closes the outputs as they are, for a later resume."""
        for sink in self._sinks():
            sink.close()
        self.journal.close()

    def _sinks(self) -> list[Sink]:
        return [sink for sink in (self.sink, self.std_sink) if sink is not None]


def check_existing(path: Path, source: Source, job_has_std: bool, resume: bool, overwrite: bool) -> bool:
    """Whether an interrupted job is to be continued.

    Raises:
        AlreadyCompleteError: if a complete output is to be resumed.
        JobError: if resuming and overwriting are both asked for, or the output waits for one of them.
        ImageError: if the output cannot be written, or would touch the input.
    """
    check_wishes(resume, overwrite)
    check_output(path, source)
    unfinished = Journal.beside(path).exists()
    if overwrite or (resume and unfinished):
        return resume
    if unfinished:
        raise JobError(f"{path} was begun and not finished; go on with --resume, or start again with --overwrite")
    if path.exists() and resume:
        raise AlreadyCompleteError(
            f"{path} has no journal beside it: it is complete. Nothing to resume; --overwrite starts again"
        )
    _check_free(path)
    if job_has_std:
        check_output(std_path(path), source)
        _check_free(std_path(path))
    return False


def check_wishes(resume: bool, overwrite: bool) -> None:
    """Refuses to go on and to start again at once.

    Raises:
        JobError: if both are asked for.
    """
    if resume and overwrite:
        raise JobError("--resume goes on and --overwrite starts again; give only one of them")


def _check_free(path: Path) -> None:
    if path.exists():
        raise JobError(f"{path} exists; write elsewhere, or replace it with --overwrite")


def check_made_alike(path: Path, job: Job, *, measured_precision: bool = False) -> None:
    """Refuses to take a complete output for that of a job with other settings.

    Args:
        path: of the output.
        job: as it would be begun now.
        measured_precision: whether the precision was left to a measurement.

    Raises:
        JobError: naming what differs.
    """
    made = read_attributes(path)
    then = made.get("settings")
    if not isinstance(then, dict):
        raise JobError(
            f"{path} exists, and is no output of this version; write elsewhere, or replace it with --overwrite"
        )
    measured = {"noise", "treatments", "hot_pixels"} if job.asked == "auto" else set()
    left_open = {"version", *measured, *(["precision"] if measured_precision else [])}
    now = json.loads(json.dumps(job.settings()))
    differing = [
        describe_difference(key, then.get(key), now[key])
        for key in now
        if key not in left_open and then.get(key) != now[key]
    ]
    if made.get("input") != provenance(job)["input"]:
        differing.insert(0, "the input has changed (its pixels)")
    if differing:
        raise JobError(
            f"{path} is complete, but of another job: {'; '.join(differing[:3])}. Write elsewhere, or --overwrite"
        )


def open_output(source: Source, job: Job, lock: OutputLock, *, resume: bool, overwrite: bool) -> Output:
    """Creates or reopens what a job writes to.

    Args:
        source: the image.
        job: with the path of its output.
        lock: of that output; it belongs to the journal from now on, and is released if this fails.
        resume: go on with what is there.
        overwrite: replace what is there.

    Raises:
        JobError: if the journal does not fit the job, or the output is gone.
        ImageError: if the output cannot be written.
    """
    path = Path(job.output)
    with ExitStack() as undo:
        # The journal comes before the output: what has no journal beside it is complete.
        journal = Journal.resume(path, job, lock) if resume else Journal.start(path, job, lock)
        undo.callback(journal.close if resume else journal.remove)
        begun = bool(journal.done)
        if not begun:
            _check_room(source, job, path)
        sinks = open_sinks(path, source, job, resume=begun, overwrite=overwrite or resume)
        undo.pop_all()
    return Output(*sinks, journal)


def _check_room(source: Source, job: Job, path: Path) -> None:
    check_room(path, sum(estimate_bytes(source, p, dtype) for p, dtype in _outputs(path, job)))


def open_sinks(path: Path, source: Source, job: Job, *, resume: bool, overwrite: bool) -> tuple[Sink, Sink | None]:
    """The sinks of a job: of the result, and of the standard deviation if it is asked for.

    Args:
        path: of the result.
        source: the image.
        job: the settled job.
        resume: open what is there, and begin nothing.
        overwrite: replace what is there.

    Raises:
        JobError: if what is to be resumed is gone.
        ImageError: if they cannot be written.
    """
    for p, _ in _outputs(path, job):
        check_output(p, source)
        if not resume:
            check_replaceable(p)
        elif not has_begun(p):
            raise JobError(f"{p} has lost the work that its journal tells of; start again with --overwrite")
    with ExitStack() as undo:
        sinks = []
        for p, dtype in _outputs(path, job):
            sinks.append(
                create_sink(
                    p,
                    source,
                    chunk=chunk_side(job.tile),
                    resume=resume,
                    overwrite=overwrite and not resume,
                    attributes=provenance(job),
                    dtype=dtype,
                    ome_zarr=job.ome_zarr,
                    shard=job.shard,
                )
            )
            undo.callback(sinks[-1].close if resume else partial(discard, p))
        undo.pop_all()
    return sinks[0], sinks[1] if job.std else None


def _outputs(path: Path, job: Job) -> list[tuple[Path, Any]]:
    """Where results go, and their dtype if it is not the image's."""
    return [(path, job.result_dtype if job.output_dtype != "same" else None), (std_path(path), np.dtype(np.float32))][
        : 1 + job.std
    ]


def std_path(output: Path) -> Path:
    """Where the standard deviation goes: `clean.ome.zarr` -> `clean_std.ome.zarr`."""
    stem, dot, suffixes = output.name.partition(".")
    return output.with_name(f"{stem}_std{dot}{suffixes}")


def provenance(job: Job) -> dict[str, Any]:
    """What an output says of its making: model, version, settings, their hash, and a checksum of some input pixels.

    No times and no paths: equal jobs write equal bytes.
    """
    with_absolute_paths = replace(job, input="", output="", model_from="", stamp=(0, 0, 0))
    return {
        "model": job.model,
        "model_digest": job.model_digest,
        "version": job.version,
        "job": with_absolute_paths.digest,
        "settings": job.settings(),
        "input": f"{job.stamp[2]:08x}",
    }
