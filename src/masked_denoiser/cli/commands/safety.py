"""Handler of `masked-denoiser evaluate --safety`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict

from tqdm import tqdm

from masked_denoiser.cli.evaluated_images import list_images, list_pairs
from masked_denoiser.errors import EvaluationError
from masked_denoiser.evaluation.safety.cases import cases_of_images, cases_of_pairs, cases_with_noise
from masked_denoiser.evaluation.safety.report import (
    SafetyCase,
    SafetyReport,
    assess_safety,
    make_default_denoise,
    worst_first,
)
from masked_denoiser.evaluation.safety.synthetic import synthetic_cases
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import AUTO

_COLUMNS = (
    "image",
    "PSNR before -> after",
    "gain (dB)",
    "noise before -> after",
    "removed",
    "structure share",
    "change of means",
    "confidence",
    "treatment",
    "measured noise",
)


def print_safety(arguments: Namespace) -> int:
    """Print what the default treatment does to each image, worst result first.

    Raises:
        MaskedDenoiserError: if the flags do not fit together, or an image cannot be read or denoised.
    """
    models = arguments.model or [AUTO]
    if len(models) > 1:
        raise EvaluationError(f"--safety reports on one model, not on {len(models)}; give --model once or not at all")
    options = Options(passes=arguments.passes, seed=arguments.seed, noise=arguments.treat)
    cases = _list_cases(arguments)
    denoise = make_default_denoise(options, arguments.device, models[0])
    bar = tqdm(cases, unit="image", desc="evaluating", disable=arguments.quiet)
    reports = worst_first([assess_safety(case, denoise, fit_gain=arguments.fit_gain) for case in bar])
    if arguments.json:
        print(json.dumps({"images": [asdict(report) | {"gain": report.gain} for report in reports]}))
    else:
        print(format_table(reports))
    return 0


def _list_cases(arguments: Namespace) -> list[SafetyCase]:
    """Return the requested images: files, pairs and synthetic ones."""
    cases: list[SafetyCase] = []
    if arguments.noise and not arguments.images:
        raise EvaluationError(f"--noise {arguments.noise[0]} is added to clean images; name some, or remove it")
    if arguments.fit_gain and not (arguments.noise or arguments.noisy or arguments.synthetic):
        raise EvaluationError("--fit-gain needs the truth of an image; give --noisy and --clean, or remove it")
    if arguments.crop and arguments.synthetic and not (arguments.images or arguments.noisy):
        raise EvaluationError(f"--crop {arguments.crop} is for files, not for --synthetic; name some, or remove it")
    if arguments.noisy or arguments.clean:
        cases += cases_of_pairs(*list_pairs(arguments.noisy, arguments.clean), arguments.crop)
    if arguments.images or not (cases or arguments.synthetic):
        images = list_images(arguments.images)
        if arguments.noise:
            cases += cases_with_noise(images, arguments.noise, arguments.seed, arguments.crop)
        else:
            cases += cases_of_images(images, arguments.crop)
    if arguments.synthetic:
        cases += synthetic_cases(arguments.seed)
    return cases


def format_table(reports: Sequence[SafetyReport]) -> str:
    """Return a Markdown table with a row for each report."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_cells, reports)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cells(report: SafetyReport) -> tuple[str, ...]:
    """Return the cells of a row, in the order of the columns; what is not known of an image is empty."""
    gain = report.gain
    return (
        report.name,
        "" if gain is None else f"{report.psnr_before:.2f} -> {report.psnr_after:.2f}",
        "" if gain is None else f"{gain:+.2f}",
        f"{report.noise_before:.3g} -> {report.noise_after:.3g}",
        f"{report.removed:.3g}",
        "" if report.structure is None else f"{report.structure:.0%}",
        "" if report.mean_change is None else f"{report.mean_change:.1f}",
        f"{report.confidence:.0%}",
        report.treatment,
        report.noise,
    )
