"""From what a user asked for to a pipeline that is ready to run: everything that can fail early fails here."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, Self

import numpy as np
import torch

from masked_denoiser.errors import AlreadyCompleteError, JobError
from masked_denoiser.images.readers.damage import zero_fill_damage
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.memory import MemorySink
from masked_denoiser.images.writers.output_path import check_output
from masked_denoiser.inference.tune_precision import resolve_precision
from masked_denoiser.jobs.executor import Executor, LocalExecutor, P
from masked_denoiser.jobs.messages import about, axes_of_output, beside
from masked_denoiser.jobs.pipeline.pipeline import Pipeline
from masked_denoiser.jobs.pipeline.region_sink import RegionSink
from masked_denoiser.jobs.runner_factory import Say, create_runner
from masked_denoiser.jobs.spec.job import Job, describe_difference
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.jobs.spec.resolve import fingerprint, make_job, planes_of, resolve_channels
from masked_denoiser.jobs.spec.tile_size import resolve_tile
from masked_denoiser.jobs.storage.journal import Journal, lock_output
from masked_denoiser.jobs.storage.output import check_existing, check_made_alike, open_output, std_path
from masked_denoiser.models.catalogue import AUTO, load_model, suited
from masked_denoiser.models.file import Model
from masked_denoiser.version import program_version

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared(Generic[P]):
    """A pipeline, and what the user should know before it runs.

    After `with` the output is closed, and its lock given back, even if the pipeline never ran: a generator that was not
    started has no end.
    """

    pipeline: P
    messages: tuple[str, ...]

    @property
    def job(self) -> Job:
        """The settled job."""
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
    resume: bool = False,
    overwrite: bool = False,
    say: Say = _LOG.info,
) -> Prepared[Pipeline]:
    """As `prepare_file_on`, for this process."""
    here = LocalExecutor(say, or_cpu=options is not None and options.cpu_as_last_resort)
    again = {"resume": resume, "overwrite": overwrite}
    return prepare_file_on(here, source, output, model=model, options=options, device=device, say=say, **again)


def prepare_file_on(
    engine: Executor[P],
    source: Source,
    output: str | Path,
    *,
    model: Model | str | Path = AUTO,
    options: Options | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    say: Say = _LOG.info,
) -> Prepared[P]:
    """Settles a job that writes to disk, and creates or reopens its output.

    Args:
        engine: this process, or a cluster.
        source: the image; left open.
        output: `.ome.zarr` or `.ome.tif`.
        model: a model, its name or its path; "auto" takes general-rgb or general-gray, as suits the image.
        options: how to denoise.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        resume: go on with an interrupted job, or start if there is nothing to go on with.
        overwrite: replace an existing output.
        say: is told at once what takes its time before the job begins.

    Raises:
        MaskedDenoiserError: before anything is written, if anything does not fit.
    """
    path, options = Path(output), options or Options()
    check_output(path, source)
    source = _as_asked(source, options)
    with ExitStack() as undo:
        lock = lock_output(path, *([std_path(path)] if options.std else []))
        undo.callback(lock.release)
        settle = partial(resolve_job, engine, source, output, model=model, device=device, say=say)
        measured = options.precision == "auto"
        try:
            continuing = check_existing(path, source, options.std, resume, overwrite)
        except AlreadyCompleteError:
            check_made_alike(path, settle(options=options).job, measured_precision=measured)
            raise
        if continuing:
            options = Journal.tile_as_begun(path, options)
        settled = settle(options=options)
        job = settled.job
        if continuing:
            job = Journal.as_begun(path, job, measured_precision=measured)
        opened = partial(open_output, source, job, lock, resume=continuing, overwrite=overwrite)
        limits = Journal.limits_as_begun(path) if continuing else None
        pipeline = engine.pipeline(job, source, settled.model, settled.device, opened, limits)
        undo.pop_all()
    messages = (*_before(source, settled.model, job), *settled.messages, *_resumed(pipeline.journal))
    return Prepared(pipeline, messages)


@dataclass(frozen=True)
class ResolvedJob:
    """A job, with its model on hand, and what there is to say of the device."""

    job: Job
    model: Model
    device: torch.device
    messages: tuple[str, ...]


def resolve_job(
    engine: Executor[Any],
    source: Source,
    output: str | Path,
    *,
    model: Model | str | Path = AUTO,
    options: Options | None = None,
    device: str = "auto",
    say: Say = _LOG.info,
) -> ResolvedJob:
    """Settles a job and touches nothing: arguments and errors are those of `prepare_file_on`."""
    options = options or Options()
    source = _as_asked(source, options)
    options = resolve_channels(source, model, options)
    loaded, name, chosen, said = _settle(engine, model, device, source, options)
    if "auto" in (options.precision, options.tile) and not engine.measures:
        raise JobError("precision and tile 'auto' are measured on one device; name them for a cluster")
    precision, measured = resolve_precision(options.precision, loaded, chosen)
    options = resolve_tile(options, loaded, chosen, precision, say)
    job = make_job(source, loaded, options, chosen.type, str(output), precision, name)
    return ResolvedJob(job, loaded, chosen, tuple(filter(None, (said, measured))))


def _before(source: Source, model: Model, job: Job) -> tuple[str, ...]:
    """What there is to say of image and job."""
    return (*source.notes, *about(source, model, job), *axes_of_output(source, Path(job.output)), *beside(job))


def prepare_job(
    engine: Executor[P],
    job: Job,
    source: Source,
    *,
    device: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Prepared[P]:
    """A settled job, such as one from a job file, on its own image.

    Args:
        engine: this process, or a cluster.
        job: what to do.
        source: its input, opened as the job says; left open.
        device: "cuda:N" for one of several; by default any of the job's kind.
        resume, overwrite: as for `prepare_file_on`.

    Raises:
        JobError: if input, model or version are not those of the job, naming what differs.
    """
    path = Path(job.output)
    check_output(path, source)
    loaded = load_model(job.model_from or job.model)
    source = zero_fill_damage(source) if job.on_error == "skip" else source
    _check_same(job, source, loaded)
    chosen, said = engine.choose_device(device or job.device)
    if chosen.type != job.device:
        raise JobError(f"this job is for {job.device} and not for {chosen}; other devices round otherwise")
    with ExitStack() as undo:
        lock = lock_output(path, *([std_path(path)] if job.std else []))
        undo.callback(lock.release)
        try:
            continuing = check_existing(path, source, job.std, resume, overwrite)
        except AlreadyCompleteError:
            check_made_alike(path, job)
            raise
        opened = partial(open_output, source, job, lock, resume=continuing, overwrite=overwrite)
        limits = Journal.limits_as_begun(path) if continuing else None
        pipeline = engine.pipeline(job, source, loaded, chosen, opened, limits)
        undo.pop_all()
    return Prepared(pipeline, (*_before(source, loaded, job), said, *_resumed(pipeline.journal)))


def _check_same(job: Job, source: Source, model: Model) -> None:
    """Refuses an input, a model or a version that is not that of the job."""
    seen = job.stamp if source.shape != job.shape else fingerprint(source, planes_of(source, job.channels))
    now = replace(
        job,
        stamp=(seen[0], job.stamp[1], seen[2]),  # a copy of the file will do
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
        raise JobError(f"{job.input} or the model is not what the job was made for: {'; '.join(differing[:3])}")


def prepare_array(
    source: Source,
    *,
    model: Model | str | Path = AUTO,
    options: Options | None = None,
    device: str = "auto",
    sink: Any = None,
    region: Region | None = None,
    say: Say = _LOG.info,
) -> Prepared[Pipeline]:
    """Settles a job whose result stays in memory, as `pipeline.sink.array`.

    Args:
        source: the image; left open.
        model: a model, its name or its path; "auto" takes general-rgb or general-gray, as suits the image.
        options: how to denoise.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        sink: where the result goes; in memory by default.
        region: only this part of the job; the result is then of its size, grown to whole tiles.
        say: is told at once what takes its time before the job begins.

    Raises:
        MaskedDenoiserError: before any work, if anything does not fit.
    """
    options = options or Options()
    source = _as_asked(source, options)
    options = resolve_channels(source, model, options)
    loaded, _, chosen, said = _settle(LocalExecutor(), model, device, source, options)
    precision, measured = resolve_precision(options.precision, loaded, chosen)
    options = resolve_tile(options, loaded, chosen, precision, say)
    job = make_job(source, loaded, options, chosen.type, precision=precision)
    part = region.snapped(job.tile, source.size_yx) if region else None
    pipeline = Pipeline(
        job,
        source,
        create_runner(loaded, chosen, job, say=say, or_cpu=options.cpu_as_last_resort),
        sink or _memory(source, job, part),
        _memory(source, job, part, np.dtype(np.float32)) if options.std else None,
        region=part,
    )
    messages = (*source.notes, *about(source, loaded, job), said, measured)
    return Prepared(pipeline, tuple(filter(None, messages)))


def _memory(source: Source, job: Job, region: Region | None, dtype: Any = None) -> MemorySink | RegionSink:
    dtype = dtype or (job.result_dtype if job.output_dtype != "same" else None)
    return RegionSink(source, region, job.planes, dtype) if region else MemorySink(source, dtype)


def _as_asked(source: Source, options: Options) -> Source:
    """The source as the whole job reads it."""
    return zero_fill_damage(source) if options.on_error == "skip" else source


def name_of_model(model: str | Path, source: Source, options: Options) -> str | Path:
    """Which model an image gets: the one that is named, or the default for what its planes are."""
    return suited(model, source.rgb if options.channels == "auto" else options.channels == "rgb")


def _settle(
    engine: Executor[Any], model: Model | str | Path, device: str, source: Source, options: Options
) -> tuple[Model, str, torch.device, str]:
    """The model and what it was asked for by, the device, and a sentence about it."""
    chosen, said = engine.choose_device(device)
    if isinstance(model, Model):
        return model, "", chosen, said
    name = name_of_model(model, source, options)
    return load_model(name), str(name), chosen, said


def _resumed(journal: Journal | None) -> list[str]:
    if journal is None or not journal.done:
        return []
    said = [f"resuming: {len(journal.done)} pieces of work are done already"]
    return said + ([f"{len(journal.damage)} damaged places were passed through before"] if journal.damage else [])
