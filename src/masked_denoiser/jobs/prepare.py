"""Preparation of pipelines: everything that can fail before the work begins fails here."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, Self

import numpy as np

from masked_denoiser.errors import AlreadyCompleteError, JobError
from masked_denoiser.images.readers.damage import zero_fill_damage
from masked_denoiser.images.source import Source
from masked_denoiser.images.validation.fingerprint import take_fingerprint
from masked_denoiser.images.writers.memory import MemorySink
from masked_denoiser.images.writers.output_path import check_output
from masked_denoiser.jobs.executor import Executor, LocalExecutor, PipelineT
from masked_denoiser.jobs.job_precision import continued_precision_message
from masked_denoiser.jobs.messages import axis_order_messages, job_messages, old_std_messages
from masked_denoiser.jobs.pipeline.pipeline import Pipeline
from masked_denoiser.jobs.pipeline.region_sink import RegionSink
from masked_denoiser.jobs.resolve_job import readable_source, resolve_job
from masked_denoiser.jobs.runner_factory import Report, create_runner
from masked_denoiser.jobs.spec.job import Job, describe_difference
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.jobs.spec.resolve import planes_of
from masked_denoiser.jobs.spec.resolved_job import ResolvedJob
from masked_denoiser.jobs.storage.complete_output import check_same_job, recorded_tile
from masked_denoiser.jobs.storage.input_pixels import check_same_pixels
from masked_denoiser.jobs.storage.journal import Journal, lock_output
from masked_denoiser.jobs.storage.lock import OutputLock
from masked_denoiser.jobs.storage.output import check_existing, open_output, std_path
from masked_denoiser.models.catalogue import AUTO, load_model
from masked_denoiser.models.file import Model
from masked_denoiser.version import program_version

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared(Generic[PipelineT]):
    """A pipeline that is ready to run, and messages for the user.

    Leaving a `with` block closes the output and releases its lock, even if the pipeline never ran: a generator that was
    not started runs no cleanup of its own.
    """

    pipeline: PipelineT
    messages: tuple[str, ...]

    @property
    def job(self) -> Job:
        """The resolved job."""
        return self.pipeline.job

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pipeline.close()


def prepare_file(
    source: Source,
    output: str | Path,
    *,
    model: Model | str | Path = AUTO,
    options: Options | None = None,
    device: str = "auto",
    executor: Executor[Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Report = _LOG.info,
) -> Prepared[Any]:
    """Resolve a job that writes to disk, and create or reopen its output.

    Args:
        source: the image; it stays open afterwards.
        output: `.ome.zarr` or `.ome.tif`.
        model, options, device: see `resolve_job`.
        executor: where the job runs; this process by default.
        resume: continue an interrupted job, or start it if there is none.
        overwrite: replace an existing output.
        report: receives messages on what takes time before the job begins.

    Raises:
        MaskedDenoiserError: before anything is written, if anything does not fit.
    """
    path, options = Path(output).expanduser(), options or Options()
    executor = executor or LocalExecutor(report, cpu_fallback=options.cpu_as_last_resort)
    check_output(path, source)
    source = readable_source(source, options)
    resolve = partial(resolve_job, source, path, model=model, device=device, executor=executor, report=report)
    chosen = options.precision == "auto"
    with ExitStack() as undo:
        lock = lock_output(path, *([std_path(path)] if options.std else []))
        undo.callback(lock.release)
        try:
            continued = check_existing(path, source, options.std, resume, overwrite)
        except AlreadyCompleteError:
            job = resolve(options=recorded_tile(path, options)).job
            check_same_job(path, job, chosen_precision=chosen)
            check_same_pixels(path, source, job)
            raise
        resolved = resolve(options=Journal.restore_tile(path, options) if continued else options)
        if continued:
            job = Journal.restore_measurements(path, resolved.job, chosen_precision=chosen)
            resolved = _continued(resolved, job, executor)
        prepared = _open_pipeline(executor, resolved, lock, continued=continued, overwrite=overwrite)
        undo.pop_all()
    return prepared


def _continued(resolved: ResolvedJob, job: Job, executor: Executor[Any]) -> ResolvedJob:
    """Return a resolved job as it was recorded, with a message on its precision unless it is the plain one."""
    is_fast = executor.is_bfloat16_fast(resolved.device)
    is_plain = job.precision == "float32" and not is_fast
    message = "" if is_plain else continued_precision_message(job.precision, is_fast)
    return replace(resolved, job=job, precision_message=message)


def _open_pipeline(
    executor: Executor[Any], resolved: ResolvedJob, lock: OutputLock, *, continued: bool, overwrite: bool
) -> Prepared[Any]:
    """Create or reopen the output of a job, which is locked, and return its pipeline."""
    job, source = resolved.job, resolved.source
    open_locked = partial(open_output, source, job, lock, resume=continued, overwrite=overwrite)
    limits = Journal.recorded_limits(Path(job.output)) if continued else None
    messages = (*_describe(resolved), *resolved.choices)  # reads pixels, and may fail: before the output is opened
    pipeline = executor.pipeline(resolved, open_locked, limits)
    return Prepared(pipeline, (*messages, *_resumed(pipeline.journal)))


def _describe(resolved: ResolvedJob) -> tuple[str, ...]:
    """Return messages on the image and the job."""
    job, source = resolved.job, resolved.source
    written = (*axis_order_messages(source, Path(job.output)), *old_std_messages(job)) if job.output else ()
    return (*source.notes, *job_messages(source, resolved.model, job), *written)


def prepare_job(
    executor: Executor[PipelineT],
    job: Job,
    source: Source,
    *,
    device: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Prepared[PipelineT]:
    """Prepare a resolved job, such as one from a job file, on its own image.

    Args:
        executor: where the job runs.
        job: the resolved job.
        source: its input, opened with its axes, level and selection; it stays open afterwards.
        device: "cuda:N" for one of several GPUs; by default any device of the job's kind.
        resume, overwrite: see `prepare_file`.

    Raises:
        JobError: if input, model or version are not those of the job, naming what differs.
    """
    path = Path(job.output)
    check_output(path, source)
    model = load_model(job.model_from or job.model)
    source = zero_fill_damage(source) if job.on_error == "skip" else source
    _check_same(job, source, model)
    chosen, message = executor.choose_device(device or job.device)
    if chosen.type != job.device:
        raise JobError(f"this job is for {job.device}; {chosen} rounds differently, so choose another device")
    with ExitStack() as undo:
        lock = lock_output(path, *([std_path(path)] if job.std else []))
        undo.callback(lock.release)
        try:
            continued = check_existing(path, source, job.std, resume, overwrite)
        except AlreadyCompleteError:
            check_same_job(path, job)
            check_same_pixels(path, source, job)
            raise
        resolved = _continued(ResolvedJob(job, source, model, chosen, (message,)), job, executor)
        prepared = _open_pipeline(executor, resolved, lock, continued=continued, overwrite=overwrite)
        undo.pop_all()
    return prepared


def _check_same(job: Job, source: Source, model: Model) -> None:
    """Raise a JobError unless input, model and version are those of the job."""
    same_shape = source.shape == job.shape
    fingerprint = take_fingerprint(source, planes_of(source, job.channels)) if same_shape else job.fingerprint
    now = replace(
        job,
        fingerprint=fingerprint,
        shape=source.shape,
        axes=source.axes,
        dtype=str(source.dtype),
        rgb=source.rgb,
        model=model.card.name,
        model_digest=model.digest,
        version=program_version(),
    )
    then, today = job.identity(), now.identity()
    differing = [describe_difference(key, then[key], today[key]) for key in then if then[key] != today[key]]
    if differing:
        raise JobError(f"{job.input} or the model is not that of the job: {'; '.join(differing[:3])}")


def prepare_array(
    source: Source,
    *,
    model: Model | str | Path = AUTO,
    options: Options | None = None,
    device: str = "auto",
    sink: Any = None,
    region: Region | None = None,
    report: Report = _LOG.info,
) -> Prepared[Pipeline]:
    """Resolve a job whose result stays in memory, as `pipeline.sink.array`.

    Args:
        source: the image; it stays open afterwards.
        model, options, device: see `resolve_job`.
        sink: where the result goes; an array by default.
        region: only this part of the job; the result is then of its size, grown to whole tiles.
        report: receives messages on what takes time before the job begins.

    Raises:
        MaskedDenoiserError: before any work, if anything does not fit.
    """
    options = options or Options()
    resolved = resolve_job(source, model=model, options=options, device=device, report=report)
    job, source = resolved.job, resolved.source
    part = region.expanded_to_tiles(job.tile, source.size_yx) if region else None
    pipeline = Pipeline(
        job,
        source,
        create_runner(resolved.model, resolved.device, job, report=report, cpu_fallback=options.cpu_as_last_resort),
        sink or _memory(source, job, part),
        _memory(source, job, part, np.dtype(np.float32)) if options.std else None,
        region=part,
    )
    return Prepared(pipeline, (*_describe(resolved), *resolved.choices))


def _memory(source: Source, job: Job, region: Region | None, dtype: Any = None) -> MemorySink | RegionSink:
    dtype = dtype or (job.result_dtype if job.output_dtype != "same" else None)
    return RegionSink(source, region, job.planes, dtype) if region else MemorySink(source, dtype)


def _resumed(journal: Journal | None) -> list[str]:
    """Return messages on the work that was done before an interruption."""
    if journal is None or not (journal.done or journal.damaged_groups):
        return []
    messages = [f"resuming: {len(journal.done)} groups of tiles are already finished"]
    if journal.damaged_groups:
        messages.append(f"{journal.damaged_groups} finished groups are missing or damaged on disk: computed again")
    return messages + ([f"{len(journal.damage)} unreadable regions were copied earlier"] if journal.damage else [])
