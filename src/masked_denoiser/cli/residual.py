"""Residual of a job on the command line."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from masked_denoiser.cli.progress import print_note
from masked_denoiser.errors import JobError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source


def check_residual_argument(arguments: Namespace, source: Source) -> None:
    """Check before a job that the requested residual can be written.

    Raises:
        JobError: if it exists and may not be replaced.
        ImageError: if it cannot be written.
    """
    if not arguments.residual:
        return
    from masked_denoiser.jobs.residual import check_residual

    path = Path(arguments.residual)
    check_residual(path, source, Path(arguments.output))
    if path.exists() and not (arguments.overwrite or arguments.resume):
        raise JobError(f"{path} exists; write the residual elsewhere, or replace it with --overwrite")


def write_residual_argument(arguments: Namespace, source: Source) -> None:
    """Write the requested residual of a finished job, and print a sentence about it."""
    if not arguments.residual:
        return
    from masked_denoiser.evaluation.residual import judge_residual
    from masked_denoiser.jobs.residual import write_residual

    with open_image(arguments.output) as result:
        write_residual(Path(arguments.residual), source, result, overwrite=True)
        print_note(f"wrote {arguments.residual}: {judge_residual(source, result)}", arguments.quiet)
