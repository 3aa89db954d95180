"""Handler of `masked-denoiser evaluate`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from masked_denoiser.cli.commands.run_job import set_threads
from masked_denoiser.cli.commands.safety import print_safety
from masked_denoiser.cli.evaluated_images import list_images, list_pairs
from masked_denoiser.cli.progress import print_note
from masked_denoiser.errors import EvaluationError
from masked_denoiser.evaluation.curves import Means, check_levels, plot_curves, plot_training, training_curves
from masked_denoiser.evaluation.features import compare_features, plot_features
from masked_denoiser.evaluation.grid import (
    GRID_NOISES,
    Score,
    make_denoiser,
    mean_scores,
    picture_rows,
    score_noise_grid,
)
from masked_denoiser.evaluation.metrics import SMALLEST_SIDE, make_lpips
from masked_denoiser.evaluation.pairs import score_pairs
from masked_denoiser.evaluation.pictures import check_picture_path, save_png, side_by_side
from masked_denoiser.images.discovery import skipped_files
from masked_denoiser.inference.device import choose_device
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import AUTO, DEFAULT, load_model

#: Function that returns the scores that are requested of denoisers, with a perceptual distance, and their number.
_StartScoring = Callable[[Namespace, dict[str, Any], Any], tuple[Iterator[Score], int]]

#: Default noises for the comparison of features: the training noise of Chen et al., CVPR 2023, then its test noises.
_FEATURE_NOISES = (
    "gaussian(sigma=15)",
    "gaussian(sigma=50)",
    "poisson(alpha=3)",
    "speckle(variance=0.04)",
    "salt_and_pepper(density=0.02)",
    "mixture(level=4)",
)

#: Flags without effect in each mode, by their names in the arguments, and why. `--json`, `--quiet`, `--device` and
#: `--threads`, which do not change what is evaluated, are allowed in all modes.
_INAPPLICABLE = {
    "safety": (
        "baseline features training_curve plot pictures lpips",
        "is not part of --safety; remove one of the two",
    ),
    "training_curve": (
        "images model baseline noise noisy clean features pictures crop lpips fit_gain treat passes seed",
        "is not part of --training-curve; remove one of the two",
    ),
    "features": (
        "baseline noisy clean pictures crop lpips fit_gain treat passes",
        "is not part of --features; remove one of the two",
    ),
    "pairs": (
        "images noise crop pictures plot",
        "is for clean images to which noise is added; remove it, or --noisy and --clean",
    ),
    "noises": ("fit_gain", "is for pairs of images; remove it, or give --noisy and --clean"),
}

#: Defaults of the flags whose default is a value.
_DEFAULTS = {"treat": "auto", "passes": 1, "seed": 0, "crop": 0}


def evaluate(arguments: Namespace) -> int:
    """Print a table of PSNR and SSIM, or the report or comparison that is requested instead."""
    mode = _mode(arguments)
    _check_flags(arguments, mode)
    for picture in filter(None, (arguments.plot, arguments.pictures)):
        check_picture_path(picture)
    if arguments.threads is not None:
        set_threads(arguments.threads)
    for note in skipped_files([*arguments.images, arguments.noisy, arguments.clean]):
        print_note(note, arguments.json)
    if mode == "safety":
        return print_safety(arguments)
    if mode == "training_curve":
        return _print_training_curves(arguments)
    if mode == "features":
        return _print_similarity(arguments)
    return _print_scores(arguments, _score_pairs if mode == "pairs" else _score_noises)


def _mode(arguments: Namespace) -> str:
    """Return what is evaluated, a key of `_INAPPLICABLE`."""
    requested = next((mode for mode in ("safety", "training_curve", "features") if getattr(arguments, mode)), "")
    return requested or ("pairs" if arguments.noisy or arguments.clean else "noises")


def _check_flags(arguments: Namespace, mode: str) -> None:
    """Raise an error for the first flag that has no effect in a mode."""
    if arguments.synthetic and mode != "safety":
        raise EvaluationError("--synthetic adds images to --safety; give both")
    names, reason = _INAPPLICABLE[mode]
    for name in names.split():
        value = getattr(arguments, name)
        if value != _DEFAULTS[name] if name in _DEFAULTS else value:
            flag = str(value[0]) if name == "images" else f"--{name.replace('_', '-')}"
            raise EvaluationError(f"{flag} {reason}")


def _print_scores(arguments: Namespace, start_scoring: _StartScoring) -> int:
    """Print mean scores by noise and denoiser, as a table or as JSON."""
    options = Options(passes=arguments.passes, seed=arguments.seed, noise=arguments.treat)
    names = [*(arguments.model or [AUTO]), *(arguments.baseline or [])]
    denoisers = {name: make_denoiser(name, arguments.device, options) for name in names}
    lpips = make_lpips() if arguments.lpips else None
    rows, total = start_scoring(arguments, denoisers, lpips)
    scores = list(tqdm(rows, total=total, unit="image", desc="evaluating", disable=arguments.quiet))
    means = mean_scores(scores)
    if arguments.json:
        values = [
            {"denoiser": denoiser, "noise": noise} | dict(zip(("psnr", "ssim", "lpips"), measures, strict=False))
            for (denoiser, noise), measures in means.items()
        ]
        print(json.dumps({"means": values, "images": [asdict(score) for score in scores]}))
    else:
        print(_format_table(names, list(dict.fromkeys(noise for _, noise in means)), means))
    if arguments.plot:  # last, so that no failure of it loses the scores
        plot_curves(means, Path(arguments.plot))
        print_note(f"wrote {arguments.plot}", arguments.json)
    return 0


def _score_pairs(arguments: Namespace, denoisers: dict[str, Any], lpips: Any) -> tuple[Iterator[Score], int]:
    """Return the scores on real pairs, and their number."""
    noisy, clean = list_pairs(arguments.noisy, arguments.clean)
    return score_pairs(denoisers, noisy, clean, arguments.fit_gain, lpips), len(noisy) * len(denoisers)


def _score_noises(arguments: Namespace, denoisers: dict[str, Any], lpips: Any) -> tuple[Iterator[Score], int]:
    """Return the scores on clean images with added noise, and their number; save the pictures if requested."""
    images = list_images(arguments.images)
    if 0 < arguments.crop < SMALLEST_SIDE:
        raise EvaluationError(f"--crop {arguments.crop} is too small for SSIM; give {SMALLEST_SIDE} or more")
    noises = tuple(arguments.noise or GRID_NOISES)
    if arguments.plot:
        check_levels(noises)
    rows = score_noise_grid(denoisers, images, noises, arguments.seed, lpips, arguments.crop)
    if arguments.pictures:
        pictures = picture_rows(denoisers, images[0], noises, arguments.seed, arguments.crop)
        save_png(Path(arguments.pictures), side_by_side(pictures))
        columns = ", ".join(("noisy", *denoisers, "clean"))
        print_note(f"wrote {arguments.pictures}: {columns}; a row for each noise", arguments.json)
    return rows, len(images) * len(noises) * len(denoisers)


def _print_training_curves(arguments: Namespace) -> int:
    """Plot the validations of trainings, and print the last and the best one of each."""
    folders = [Path(folder) for folder in arguments.training_curve]
    curves = training_curves(folders)
    if arguments.plot:
        plot_training(folders, Path(arguments.plot))
        print_note(f"wrote {arguments.plot}", arguments.json)
    if arguments.json:
        print(json.dumps(curves))
        return 0
    for noise, lines in curves.items():
        for name, line in lines.items():
            best = max(psnr for _, psnr in line)
            print(f"{noise}: {name}: {line[-1][1]:.2f} dB at step {line[-1][0]:.0f}, best {best:.2f} dB")
    return 0


def _print_similarity(arguments: Namespace) -> int:
    """Print the similarity of features under each noise to those under the first noise."""
    images, noises = list_images(arguments.images), tuple(arguments.noise or _FEATURE_NOISES)
    device, _ = choose_device(arguments.device)
    names = arguments.model or [DEFAULT]
    similarities = [compare_features(load_model(name), images, noises, device, arguments.seed) for name in names]
    if arguments.plot:
        plot_features(similarities, Path(arguments.plot))
        print_note(f"wrote {arguments.plot}", arguments.json)
    if arguments.json:
        print(json.dumps({similarity.model: similarity.cka for similarity in similarities}))
        return 0
    print(f"similarity (linear CKA) of deep features to those under {noises[0]}")
    print("\n".join(["| noise | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]))
    for noise in noises[1:]:
        print(f"| {noise} | " + " | ".join(f"{similarity.cka[noise]:.4f}" for similarity in similarities) + " |")
    return 0


def _format_table(names: Sequence[str], noises: Sequence[str], means: Means) -> str:
    """Return a Markdown table: a row for each noise; PSNR, SSIM and, if measured, LPIPS of each denoiser."""
    rows = ["| noise | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for noise in noises:
        cells = [means[name, noise] for name in names]
        rows.append(f"| {noise} | " + " | ".join(map(_format_cell, cells)) + " |")
    return "\n".join(rows)


def _format_cell(measures: tuple[float, ...]) -> str:
    psnr, *others = measures
    return " / ".join([f"{psnr:.2f}", *(f"{value:.3f}" for value in others)])
