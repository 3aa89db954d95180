"""Residual and report of a job on the command line."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from masked_denoiser.cli.progress import print_note
from masked_denoiser.errors import JobError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source


def check_further_outputs(arguments: Namespace, source: Source) -> None:
    """Check before a job that the requested residual and report can be written.

    Raises:
        JobError: if one of them exists and may not be replaced.
        MaskedDenoiserError: if one of them cannot be written.
    """
    if arguments.residual:
        from masked_denoiser.jobs.residual import check_residual
        from masked_denoiser.jobs.storage.output import std_path

        path, output = Path(arguments.residual), Path(arguments.output)
        outputs = [output, *([std_path(output)] if arguments.std else [])]
        check_residual(path, source, outputs, overwrite=arguments.overwrite)
        _check_absent(path, "residual", arguments)
    if arguments.report:
        from masked_denoiser.evaluation.report.write import check_report_path

        written = [Path(path) for path in (arguments.output, arguments.residual) if path]
        check_report_path(Path(arguments.report), [*source.inputs, *written])
        _check_absent(Path(arguments.report), "report", arguments)


def _check_absent(path: Path, what: str, arguments: Namespace) -> None:
    """Raise an error if a file exists and may not be replaced."""
    if path.exists() and not arguments.overwrite:
        # A resumed job keeps its result, so that --overwrite, which would replace that, too, is no remedy.
        remedy = "remove it" if arguments.resume else "replace it with --overwrite"
        raise JobError(f"{path} exists; write the {what} elsewhere, or {remedy}")


def write_further_outputs(arguments: Namespace, source: Source) -> None:
    """Write the requested residual and report of a finished job, and print a sentence about what was removed."""
    if not (arguments.residual or arguments.report):
        return
    from masked_denoiser.denoising.noise_measurement import measure_noise
    from masked_denoiser.evaluation.report.write import write_report
    from masked_denoiser.evaluation.residual import judge_residual
    from masked_denoiser.images.writers.provenance import read_attributes
    from masked_denoiser.jobs.residual import write_residual

    with open_image(arguments.output) as result:
        if arguments.residual:
            write_residual(
                Path(arguments.residual),
                source,
                result,
                overwrite=arguments.overwrite,
                anonymize=arguments.anonymize,
            )
            measured = measure_noise(source, modality=arguments.modality)
            print_note(f"wrote {arguments.residual}: {judge_residual(source, result, measured)}", arguments.quiet)
        if arguments.report:
            write_report(Path(arguments.report), source, result, read_attributes(Path(arguments.output)))
            print_note(f"wrote {arguments.report}", arguments.quiet)
