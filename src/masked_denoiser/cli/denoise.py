"""`masked-denoiser denoise`."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from masked_denoiser.cli.progress import closing, say, show
from masked_denoiser.cli.reading import open_input
from masked_denoiser.denoising.events import Cancelled, Finished
from masked_denoiser.denoising.job import JobError, Options
from masked_denoiser.denoising.prepare import prepare_file
from masked_denoiser.models.catalogue import AUTO

_CANCELLED = 130


def denoise(arguments: Namespace) -> int:
    """Denoises a file to a file; 0 when done, 130 when cancelled."""
    if arguments.threads is not None:
        set_threads(arguments.threads)
    with open_input(arguments) as source:
        prepared = prepare_file(
            source,
            Path(arguments.output),
            model=arguments.model or AUTO,
            options=options_of(arguments),
            device=arguments.device,
            resume=arguments.resume,
            overwrite=arguments.overwrite,
        )
        for message in prepared.messages:
            say(message, arguments.quiet)
        end = show(prepared.pipeline, quiet=arguments.quiet)
    if arguments.json:
        summary: dict[str, Any] = {
            "output": arguments.output,
            "complete": not isinstance(end, Cancelled),
            "tiles": end.progress.done,
            "megapixels": end.progress.pixels / 1e6,
            "seconds": round(end.progress.seconds, 3),
            "job": prepared.job.digest,
            "noise": prepared.job.noise,
            "treatments": [list(treatment) for treatment in prepared.job.treatments],
        }
        if isinstance(end, Finished):
            summary["skipped"] = end.skipped
            summary["waits"] = {what: round(seconds, 3) for what, seconds in asdict(end.waits).items()}
        print(json.dumps(summary))
    elif not arguments.quiet:
        print(closing(end, arguments.output))
    return _CANCELLED if isinstance(end, Cancelled) else 0


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
    )


def set_threads(threads: int) -> None:
    """Limits torch to so many CPU threads.

    Raises:
        JobError: for less than one.
    """
    import torch

    if threads < 1:
        raise JobError(f"--threads is {threads}; give 1 or more")
    torch.set_num_threads(threads)
