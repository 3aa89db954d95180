"""Checks of a worker of a cluster: of its versions, its device, and the files of a job."""

from __future__ import annotations

import json
import os
import platform
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from masked_denoiser.errors import ImageError, JobError, MaskedDenoiserError
from masked_denoiser.images.locator import split_locator
from masked_denoiser.images.readers.damage import zero_fill_damage
from masked_denoiser.images.readers.plugins.choose import find_plugin
from masked_denoiser.images.selection import open_part
from masked_denoiser.images.source import Source
from masked_denoiser.images.validation.fingerprint import take_fingerprint
from masked_denoiser.inference.device import choose_device
from masked_denoiser.inference.tune_precision import is_bfloat16_fast
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.job_file import job_from_json
from masked_denoiser.version import program_version

REMEDY = "workers need the same files under the same paths, such as those of a shared file system"


@dataclass(frozen=True)
class Run:
    """Run of a job, which is sent once to each worker.

    Attributes:
        name: unique name, by which the run can be stopped.
        job: the job as JSON; its input and output must exist under the same paths.
        model: model card as JSON, and tensors as safetensors.
        device: argument of `choose_device`, which must return a device of the job's kind.
        torch: version of torch that all workers have.
        is_bfloat16_fast: whether bfloat16 is fast on all workers.
        threads: CPU threads to compute with; None for as many as the worker has.
    """

    name: str
    job: str
    model: tuple[str, bytes]
    device: str
    torch: str
    is_bfloat16_fast: bool = False
    threads: int | None = None


def find_problem(run: Run) -> MaskedDenoiserError | None:
    """Return why this worker cannot run a job, as far as that is known before the output exists; None if it can.

    Args:
        run: description of the run; its model is not looked at.
    """
    try:
        job = job_from_json(json.loads(run.job), "the cluster")
        check_worker(run, job)
        choose_worker_device(run, job)
        open_input(job).close()
    except MaskedDenoiserError as error:
        return error
    except OSError as error:
        return JobError(f"the worker on {platform.node()} cannot read the input ({error}); {REMEDY}")
    return None


def choose_worker_device(run: Run, job: Job) -> torch.device:
    """Return the device of this worker for a job.

    Raises:
        JobError: if it is of another kind than those of the other workers.
    """
    chosen, _ = choose_device(run.device)
    if chosen.type != job.device:
        raise JobError(f"the worker on {platform.node()} computes on {chosen.type}, but the job is for {job.device}")
    if job.precision == "bfloat16" and is_bfloat16_fast(chosen) != run.is_bfloat16_fast:
        raise JobError(
            f"the worker on {platform.node()} differs from the others in its instructions for bfloat16, so its pixels "
            "would differ; use equal workers, or --precision float32 for a new job"
        )
    return chosen


def open_input(job: Job) -> Source:
    """Open the input of a job.

    Raises:
        JobError: if it is not the image of the job.
    """
    with ExitStack() as undo:
        source = open_part(
            job.input, axes=job.requested_axes, level=job.level, selection=job.selection, reader=job.reader
        )
        undo.callback(source.close)
        source = zero_fill_damage(source) if job.on_error == "skip" else source
        if source.shape != job.shape or take_fingerprint(source, job.planes) != job.fingerprint:
            raise JobError(f"the worker on {platform.node()} finds another image in {job.input}; {REMEDY}")
        undo.pop_all()
    return source


def check_worker(run: Run, job: Job) -> None:
    """Raise a JobError if versions differ, which could change the pixels, or files or the reader are missing."""
    versions = {"version": (program_version(), job.version), "torch": (torch.__version__, run.torch)}
    for name, (own, expected) in versions.items():
        if own != expected:
            raise JobError(f"the worker on {platform.node()} has {name} {own}, not {expected}; update one of them")
    for path in (split_locator(job.input)[0], str(Path(job.output).parent)):
        if "://" not in path and not Path(path).exists():
            raise JobError(f"the worker on {platform.node()} does not find {path}; {REMEDY}")
    folder = Path(job.output).parent
    if not os.access(folder, os.W_OK):
        raise JobError(f"the worker on {platform.node()} may not write to {folder}; change the permissions")
    if job.reader:
        try:
            find_plugin(job.reader)
        except ImageError as error:
            raise JobError(f"the worker on {platform.node()}: {error}; install it on all workers") from error
