"""Output of a job on disk: checks before writing, its sinks and its journal."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.errors import AlreadyCompleteError, JobError, OutputError
from masked_denoiser.images.source import Source
from masked_denoiser.images.suffixes import OUTPUT_SUFFIXES
from masked_denoiser.images.validation.completeness import incompleteness
from masked_denoiser.images.validation.fingerprint import Fingerprint, file_times
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress, subrange
from masked_denoiser.images.writers.create import check_sink, create_sink
from masked_denoiser.images.writers.output_path import (
    check_disk_space,
    check_output,
    discard_output,
    estimate_bytes,
    output_exists,
)
from masked_denoiser.images.writers.provenance import read_attributes
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.treatments import describe_treatments
from masked_denoiser.jobs.storage.check_finished import check_input, check_input_at_end, drop_damaged_groups
from masked_denoiser.jobs.storage.input_pixels import INPUT_PIXELS, pixels_of
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.jobs.storage.lock import OutputLock
from masked_denoiser.jobs.storage.own_output import check_own_output, how_to_replace
from masked_denoiser.tiling.plan import chunk_side


@dataclass(frozen=True)
class Output:
    """Sinks and journal of a job.

    Attributes:
        sink: sink of the result.
        std_sink: sink of the standard deviation, if the job has one.
        journal: journal of the finished groups of tiles.
    """

    sink: Sink
    std_sink: Sink | None
    journal: Journal

    def finish(self, progress: ProgressCallback = no_progress) -> None:
        """Complete the outputs and remove the journal; an exception of `progress` stops this, and it can be resumed.

        Raises:
            JobError: if the input has changed while the job ran.
        """
        sinks = self._sinks()
        self.journal.check_input(progress)
        damage = sorted(set(map(str, self.journal.damage)))
        noted = {INPUT_PIXELS: pixels_of(self.journal.done)} | ({"damage": damage} if damage else {})
        try:
            for sink in sinks:
                sink.note(noted)
            for number, sink in enumerate(sinks):
                progress(number / len(sinks))
                sink.finish(subrange(progress, number, len(sinks)))
            self.journal.remove()
        except OSError as error:
            raise OutputError(self.journal.output, error) from error

    def close(self) -> None:
        """Close the outputs without completing them, so that the job can be resumed."""
        for sink in self._sinks():
            sink.close()
        self.journal.close()

    def _sinks(self) -> list[Sink]:
        return [sink for sink in (self.sink, self.std_sink) if sink is not None]


def check_existing(path: Path, source: Source, job_has_std: bool, resume: bool, overwrite: bool) -> bool:
    """Return whether an interrupted job is to be continued.

    Raises:
        AlreadyCompleteError: if a complete output is to be resumed.
        JobError: if an output to be resumed is not known to be complete and has no journal, if both resuming and
            overwriting are requested, if the output exists and neither is, or if it was not written by this program.
        ImageError: if the output cannot be written, or would overwrite the input.
    """
    check_not_both(resume, overwrite)
    check_output(path, source)
    unfinished = Journal.path_for(path).exists()
    if overwrite:
        for output in (path, *([std_path(path)] if job_has_std else [])):
            check_own_output(output)
    if overwrite or (resume and unfinished):
        return resume
    if unfinished:
        raise JobError(f"{path} is unfinished; continue with --resume, or start again with --overwrite")
    if path.exists() and resume:
        for output in (path, *([std_path(path)] if job_has_std else [])):
            _check_marked_complete(output)
        raise AlreadyCompleteError(f"{path} is complete; use --overwrite to start again")
    _check_absent(path)
    if job_has_std:
        check_output(std_path(path), source)
        _check_absent(std_path(path))
    return False


def _check_marked_complete(path: Path) -> None:
    """Raise a JobError for an output without a journal that is of another program, or not known to be complete."""
    check_own_output(path)
    if reason := incompleteness(path, read_attributes(path)):
        raise JobError(
            f"{path} is of unknown completeness and has no journal, so it cannot be resumed: {reason}; write "
            f"elsewhere, or {how_to_replace(path)}"
        )


def check_not_both(resume: bool, overwrite: bool) -> None:
    """Check that not both resuming and overwriting are requested.

    Raises:
        JobError: if both are.
    """
    if resume and overwrite:
        raise JobError("--resume continues a job and --overwrite restarts it; give only one of them")


def _check_absent(path: Path) -> None:
    if path.exists():
        raise JobError(f"{path} exists; write elsewhere, or {how_to_replace(path)}")


def open_output(source: Source, job: Job, lock: OutputLock, *, resume: bool, overwrite: bool) -> Output:
    """Create or reopen the output of a job.

    Args:
        source: the image.
        job: the job, with the path of its output.
        lock: lock of that output; the journal takes it over, and it is released if this fails.
        resume: continue an existing output.
        overwrite: replace an existing output.

    Raises:
        JobError: if the journal is that of another job, or the output is missing.
        ImageError: if the output cannot be written.
    """
    path = Path(job.output)
    with ExitStack() as undo:
        undo.callback(lock.release)
        files = file_times(source)
        if not resume:  # an interrupted job must not lose its journal if this one is refused
            _check_new_outputs(source, job, path)
        # The journal is created before the output, since an output without a journal counts as complete.
        journal = Journal.resume(path, job, lock) if resume else Journal.start(path, job, lock, files=files)
        undo.callback(journal.close if resume else journal.remove)
        if resume:
            _check_own_outputs(job, path)
        started = bool(journal.done)
        if resume and not started:
            _check_new_outputs(source, job, path)
        sinks = open_sinks(path, source, job, resume=started, overwrite=overwrite or resume)
        if resume:
            check_input(job, source, journal, files)
            drop_damaged_groups(job, [sink for sink in sinks if sink is not None], journal)
            journal.begin_run(files)
        journal.check_input = partial(check_input_at_end, job, source, journal)
        undo.pop_all()
    return Output(*sinks, journal)


def _check_own_outputs(job: Job, path: Path) -> None:
    """Check that what lies at the paths of a job to be resumed was written by it, and not put there since.

    Raises:
        JobError: if something else would be replaced.
    """
    for p, _ in _outputs(path, job):
        if p.exists() and read_attributes(p).get("job") != provenance(job)["job"]:
            raise JobError(
                f"{p} was not written by the job that is to be resumed; move it elsewhere, or replace it with "
                "--overwrite, which starts again"
            )


def _check_new_outputs(source: Source, job: Job, path: Path) -> None:
    """Check that all outputs of a job can be created, and fit on the disk once those that they replace are removed.

    Raises:
        ImageError: if one cannot.
    """
    outputs = _outputs(path, job)
    for p, dtype in outputs:
        check_sink(p, source, chunk=chunk_side(job.tile), dtype=dtype, ome_zarr=job.ome_zarr, shard=job.shard)
    needed = sum(estimate_bytes(source, p, dtype) for p, dtype in outputs)
    check_disk_space(path, needed, [p for p, _ in outputs])


def open_sinks(path: Path, source: Source, job: Job, *, resume: bool, overwrite: bool) -> tuple[Sink, Sink | None]:
    """Open the sinks of a job: of the result, and of the standard deviation if requested.

    Args:
        path: path of the result.
        source: the image.
        job: the resolved job.
        resume: open existing outputs and create none.
        overwrite: replace existing outputs.

    Raises:
        JobError: if an output to be resumed is missing.
        ImageError: if they cannot be written.
    """
    for p, _ in _outputs(path, job):
        check_output(p, source)
        if resume and not output_exists(p):
            raise JobError(f"{p} is missing, although its journal lists finished tiles; start again with --overwrite")
    with ExitStack() as undo:
        sinks = []
        for p, dtype in _outputs(path, job):
            sinks.append(
                create_sink(
                    p,
                    source if p == path else _uncalibrated(source),
                    chunk=chunk_side(job.tile),
                    resume=resume,
                    overwrite=overwrite and not resume,
                    attributes=provenance(job),
                    dtype=dtype,
                    ome_zarr=job.ome_zarr,
                    shard=job.shard,
                    joint_colour=job.channels != "each",
                )
            )
            undo.callback(sinks[-1].close if resume else partial(discard_output, p))
        undo.pop_all()
    return sinks[0], sinks[1] if job.std else None


def _uncalibrated(source: Source) -> Source:
    """Return a source without what is known of its values, which is not true of their standard deviation."""
    return replace(source, value_calibration={}, fill_values=())


def _outputs(path: Path, job: Job) -> list[tuple[Path, Any]]:
    """Return the paths of the outputs, and their dtypes if they are not that of the image."""
    return [(path, job.result_dtype if job.output_dtype != "same" else None), (std_path(path), np.dtype(np.float32))][
        : 1 + job.std
    ]


def std_path(output: Path) -> Path:
    """Return the path of the standard deviation: `clean_std.ome.zarr` for `clean.ome.zarr`; NIfTI for DICOM."""
    name = output.name
    known = (suffix for suffixes in OUTPUT_SUFFIXES.values() for suffix in suffixes if name.lower().endswith(suffix))
    suffix = name[len(name) - max(map(len, known)) :]
    stored = ".nii.gz" if suffix.lower() in OUTPUT_SUFFIXES["DICOM"] else suffix
    return output.with_name(f"{name.removesuffix(suffix)}_std{stored}")


def provenance(job: Job) -> dict[str, Any]:
    """Return the provenance of an output: model, version, settings, their hash, and a checksum of some input pixels.

    It contains no times and no paths, so that equal jobs write equal bytes.
    """
    without_paths = replace(job, input="", output="", model_from="", fingerprint=Fingerprint(0, 0))
    return {
        "model": job.model,
        "model_digest": job.model_digest,
        "version": job.version,
        "job": without_paths.digest,
        "settings": job.settings(),
        "treatments": describe_treatments(job),
        "input": f"{job.fingerprint.pixels:08x}",
    }
