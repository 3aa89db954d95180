"""Executor, run and summary of a job, shared by `denoise` and `run`."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from masked_denoiser.cli.progress import describe_damage, print_note, run_with_bar, summary_line
from masked_denoiser.errors import JobError
from masked_denoiser.images.writers.provenance import read_attributes
from masked_denoiser.jobs.executor import Executor, LocalExecutor, open_executor
from masked_denoiser.jobs.pipeline.events import Cancelled, Finished
from masked_denoiser.jobs.prepare import Prepared
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.storage.output import provenance

_CANCELLED = 130


@contextmanager
def executor_of(arguments: Namespace) -> Iterator[Executor[Any]]:
    """Open the requested executor: this process, the workers of a scheduler, or new worker processes.

    Raises:
        JobError: if two of them are requested, or one is not available.
    """
    if arguments.threads is not None:
        set_threads(arguments.threads)
    local = LocalExecutor(partial(print_note, quiet=arguments.quiet), cpu_fallback=arguments.cpu_as_last_resort)
    with open_executor(arguments.scheduler, arguments.workers, arguments.threads, local) as executor:
        yield executor


def run_job(prepared: Prepared[Any], arguments: Namespace) -> int:
    """Run a job with a progress bar and print how it ended; return 0 if done, 130 if cancelled."""
    with prepared:
        for message in prepared.messages:
            print_note(message, arguments.quiet)
        end = run_with_bar(prepared.pipeline, quiet=arguments.quiet)
    if arguments.json:
        print(json.dumps(_summary(prepared.job, end)))
    elif not arguments.quiet:
        print(summary_line(end, prepared.job.output))
    elif isinstance(end, Finished) and end.damage:  # lost pixels are reported even with --quiet
        print(describe_damage(end.damage), file=sys.stderr)
    return _CANCELLED if isinstance(end, Cancelled) else 0


def report_complete(output: str, arguments: Namespace) -> int:
    """Print that there was nothing to resume, and return 0: this is not a failure."""
    if arguments.json:
        print(json.dumps({"output": output, "complete": True, "already": True} | stated_job(Path(output))))
    elif not arguments.quiet:
        print(f"{output} is already complete; nothing to resume")
    return 0


def stated_job(output: Path) -> dict[str, Any]:
    """Return what a complete output states, None for what it does not: the hash of its job, and the measured noise."""
    attributes = read_attributes(output)
    settings = attributes.get("settings")  # missing in MRC, which has no room for them
    return {"job": attributes.get("job"), "noise": settings.get("noise") if isinstance(settings, dict) else None}


def _summary(job: Job, end: Finished | Cancelled) -> dict[str, Any]:
    """Return the summary of a job as plain JSON values."""
    summary: dict[str, Any] = {
        "output": job.output,
        "complete": not isinstance(end, Cancelled),
        "tiles": end.progress.done,
        "megapixels": end.progress.pixels / 1e6,
        "seconds": round(end.progress.seconds, 3),
        "job": provenance(job)["job"],  # as the output states it; the digest also depends on the file
        "noise": job.noise,
        "treatments": {key: asdict(treatment) for key, treatment in job.treatments},
    }
    if isinstance(end, Finished):
        summary["skipped"] = end.skipped
        summary["damage"] = list(end.damage)
        summary["waits"] = {stage: round(seconds, 3) for stage, seconds in asdict(end.timings).items()}
    return summary


def set_threads(threads: int) -> None:
    """Limit torch to a number of CPU threads.

    Raises:
        JobError: if the number is below 1.
    """
    import torch

    if threads < 1:
        raise JobError(f"--threads is {threads}; give 1 or more")
    torch.set_num_threads(threads)
