"""`masked-denoiser denoise`, and `run` for job files."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path

from masked_denoiser.cli.commands.denoise_batch import denoise_list
from masked_denoiser.cli.commands.run_job import executor_of, run_job, say_complete
from masked_denoiser.cli.input_image import open_input
from masked_denoiser.cli.progress import say
from masked_denoiser.errors import AlreadyCompleteError
from masked_denoiser.images.selection import open_part
from masked_denoiser.jobs.batch.outputs import is_list
from masked_denoiser.jobs.prepare import prepare_file_on, prepare_job, resolve_job
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.job_file import read_job_file, write_job_file
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import AUTO


def denoise(arguments: Namespace) -> int:
    """Denoises a file to a file, or several into a folder; 0 when done, 1 when one failed, 130 when cancelled."""
    if is_list(arguments.input, arguments.output):
        return denoise_list(arguments, options_of(arguments))
    arguments.input = arguments.input[0]
    try:
        return _denoise_one(arguments)
    except AlreadyCompleteError:
        return say_complete(arguments.output, arguments)


def _denoise_one(arguments: Namespace) -> int:
    with open_input(arguments) as source:
        asked = {"model": arguments.model or AUTO, "options": options_of(arguments), "device": arguments.device}
        told = partial(say, quiet=arguments.quiet)
        with executor_of(arguments) as engine:
            if arguments.save_job:
                settled = resolve_job(engine, source, Path(arguments.output), **asked, say=told)
                write_job_file(Path(arguments.save_job), settled.job)
                say(
                    f"wrote {arguments.save_job}; do it with: masked-denoiser run {arguments.save_job}", arguments.quiet
                )
                return 0
            again = {"resume": arguments.resume, "overwrite": arguments.overwrite}
            prepared = prepare_file_on(engine, source, Path(arguments.output), **asked, **again, say=told)
            return run_job(prepared, arguments)


def run(arguments: Namespace) -> int:
    """Does what a job file says; 0 when done, 130 when cancelled."""
    job = read_job_file(Path(arguments.job))
    try:
        return _run(job, arguments)
    except AlreadyCompleteError:
        return say_complete(job.output, arguments)


def _run(job: Job, arguments: Namespace) -> int:
    opened = open_part(job.input, axes=job.asked_axes, level=job.level, selection=job.selection)
    with opened as source, executor_of(arguments) as engine:
        prepared = prepare_job(
            engine, job, source, device=arguments.device, resume=arguments.resume, overwrite=arguments.overwrite
        )
        return run_job(prepared, arguments)


def options_of(arguments: Namespace) -> Options:
    """What the command line asks for."""
    return Options(
        tile=arguments.tile,
        halo=arguments.halo,
        batch=arguments.batch,
        passes=arguments.passes,
        std=arguments.std,
        seed=arguments.seed,
        channels=arguments.channels,
        intensity=tuple(arguments.range) if arguments.range else None,
        noise=arguments.noise,
        precision=arguments.precision,
        skip_background=arguments.skip_background,
        ome_zarr=arguments.ome_zarr,
        on_error=arguments.on_error,
        strength=arguments.strength,
        dtype=arguments.dtype,
        compiled=arguments.compile,
        cpu_as_last_resort=arguments.cpu_as_last_resort,
    )
