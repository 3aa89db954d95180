"""What `denoise` and `run` have in common: who computes, and telling how it went."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

from masked_denoiser.cli.progress import damage_of, say, show, summary_line
from masked_denoiser.errors import JobError
from masked_denoiser.jobs.executor import Executor, LocalExecutor, open_executor
from masked_denoiser.jobs.pipeline.events import Cancelled, Finished
from masked_denoiser.jobs.prepare import Prepared
from masked_denoiser.jobs.spec.job import Job

_CANCELLED = 130


@contextmanager
def executor_of(arguments: Namespace) -> Iterator[Executor[Any]]:
    """Who computes: this process, workers of a scheduler, or workers begun here.

    Raises:
        JobError: if two of them are asked for, or they cannot be had.
    """
    if arguments.threads is not None:
        set_threads(arguments.threads)
    here = LocalExecutor(partial(say, quiet=arguments.quiet), or_cpu=arguments.cpu_as_last_resort)
    with open_executor(arguments.scheduler, arguments.workers, arguments.threads, here) as computing:
        yield computing


def run_job(prepared: Prepared[Any], arguments: Namespace) -> int:
    """Runs a job behind a bar and says how it ended; 0 when done, 130 when cancelled."""
    with prepared:
        for message in prepared.messages:
            say(message, arguments.quiet)
        end = show(prepared.pipeline, quiet=arguments.quiet)
    if arguments.json:
        print(json.dumps(_summary(prepared.job, end)))
    elif not arguments.quiet:
        print(summary_line(end, prepared.job.output))
    elif isinstance(end, Finished) and end.damage:  # what was lost is said all the same
        print(damage_of(end.damage), file=sys.stderr)
    return _CANCELLED if isinstance(end, Cancelled) else 0


def say_complete(output: str, arguments: Namespace) -> int:
    """There was nothing to resume, which is no failure: 0."""
    if arguments.json:
        print(json.dumps({"output": output, "complete": True, "already": True}))
    elif not arguments.quiet:
        print(f"{output} is already complete; nothing to resume")
    return 0


def _summary(job: Job, end: Finished | Cancelled) -> dict[str, Any]:
    """How a job went, for a machine."""
    summary: dict[str, Any] = {
        "output": job.output,
        "complete": not isinstance(end, Cancelled),
        "tiles": end.progress.done,
        "megapixels": end.progress.pixels / 1e6,
        "seconds": round(end.progress.seconds, 3),
        "job": job.digest,
        "noise": job.noise,
        "treatments": {key: asdict(treatment) for key, treatment in job.treatments},
    }
    if isinstance(end, Finished):
        summary["skipped"] = end.skipped
        summary["damage"] = list(end.damage)
        summary["waits"] = {what: round(seconds, 3) for what, seconds in asdict(end.waits).items()}
    return summary


def set_threads(threads: int) -> None:
    """Limits torch to so many CPU threads.

    Raises:
        JobError: for less than one.
    """
    import torch

    if threads < 1:
        raise JobError(f"--threads is {threads}; give 1 or more")
    torch.set_num_threads(threads)
