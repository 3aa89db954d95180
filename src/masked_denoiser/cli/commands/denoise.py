"""Handlers of `masked-denoiser denoise`, and of `run` for job files."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from masked_denoiser.cli.commands.denoise_batch import denoise_batch
from masked_denoiser.cli.commands.run_job import executor_of, report_complete, run_job
from masked_denoiser.cli.further_outputs import check_further_outputs, write_further_outputs
from masked_denoiser.cli.input_image import open_input
from masked_denoiser.cli.options import options_of
from masked_denoiser.cli.progress import print_note
from masked_denoiser.errors import AlreadyCompleteError, JobError
from masked_denoiser.images.selection import open_part
from masked_denoiser.images.source import Source
from masked_denoiser.jobs.batch.outputs import is_batch
from masked_denoiser.jobs.prepare import prepare_file, prepare_job
from masked_denoiser.jobs.resolve_job import readable_source, resolve_job
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.job_file import read_job_file, write_job_file
from masked_denoiser.models.catalogue import AUTO


def denoise(arguments: Namespace) -> int:
    """Denoise a file to a file, or several into a folder; return 0 if done, 1 if one failed, 130 if cancelled."""
    _expand_home(arguments)
    if is_batch(arguments.input, arguments.output, arguments.reader):
        if arguments.residual or arguments.report:
            raise JobError("--residual and --report are files of one image; denoise the images one by one")
        return denoise_batch(arguments, options_of(arguments))
    _check_one(arguments)
    arguments.input = arguments.input[0]
    with open_input(arguments) as source, executor_of(arguments) as executor:
        request: dict[str, Any] = {
            "model": arguments.model or AUTO,
            "options": options_of(arguments),
            "device": arguments.device,
            "executor": executor,
            "report": partial(print_note, quiet=arguments.quiet),
        }
        check_further_outputs(arguments, source)
        if arguments.save_job:
            return _save_job(resolve_job(source, arguments.output, **request).job, arguments)
        return _run_one(source, request, arguments)


def _expand_home(arguments: Namespace) -> None:
    """Replace `~` in the paths of outputs, which a shell leaves in quoted ones."""
    for name in ("output", "residual", "report", "save_job"):
        if path := getattr(arguments, name):
            setattr(arguments, name, os.path.expanduser(path))  # noqa: PTH111 - keeps a slash, and unknown names


def _check_one(arguments: Namespace) -> None:
    """Refuse the options that a job with this single output would ignore."""
    if arguments.ending != "auto":
        raise JobError(
            f"--ending {arguments.ending} is for outputs in a folder, and {arguments.output} is one output: leave it "
            "out, or give an existing folder, or several images"
        )
    if arguments.save_job and (arguments.residual or arguments.report):
        raise JobError("--save-job stores no --residual and no --report: leave them out, or run the job now")


def _save_job(job: Job, arguments: Namespace) -> int:
    """Write a job file, print how to run it, and return 0."""
    write_job_file(Path(arguments.save_job), job)
    print_note(f"wrote {arguments.save_job}; run it with: masked-denoiser run {arguments.save_job}", arguments.quiet)
    if arguments.json:
        print(json.dumps({"job": arguments.save_job}))
    return 0


def _run_one(source: Source, request: dict[str, Any], arguments: Namespace) -> int:
    """Run a job, and write its residual and report even if it was already complete; return 0, or 130 if cancelled."""
    mode = {"resume": arguments.resume, "overwrite": arguments.overwrite}
    try:
        prepared = prepare_file(source, arguments.output, **request, **mode)
    except AlreadyCompleteError:
        code = report_complete(arguments.output, arguments)
    else:
        code = run_job(prepared, arguments)
    if not code:
        write_further_outputs(arguments, readable_source(source, request["options"]))
    return code


def run(arguments: Namespace) -> int:
    """Run a job file; return 0 if done, 130 if cancelled."""
    job = read_job_file(Path(arguments.job))
    try:
        return _run(job, arguments)
    except AlreadyCompleteError:
        return report_complete(job.output, arguments)


def _run(job: Job, arguments: Namespace) -> int:
    opened_source = open_part(
        job.input, axes=job.requested_axes, level=job.level, selection=job.selection, reader=job.reader
    )
    with opened_source as source, executor_of(arguments) as executor:
        prepared = prepare_job(
            executor, job, source, device=arguments.device, resume=arguments.resume, overwrite=arguments.overwrite
        )
        return run_job(prepared, arguments)
