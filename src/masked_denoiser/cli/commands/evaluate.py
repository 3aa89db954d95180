"""`masked-denoiser evaluate`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from masked_denoiser.cli.commands.run_job import set_threads
from masked_denoiser.cli.commands.safety import print_safety
from masked_denoiser.cli.evaluated_images import list_images, list_pairs
from masked_denoiser.cli.progress import say
from masked_denoiser.errors import EvaluationError
from masked_denoiser.evaluation.curves import plot_curves, plot_training, training_curves
from masked_denoiser.evaluation.features import compare_features, plot_features
from masked_denoiser.evaluation.grid import GRID, Score, make_denoiser, means, noise_grid, picture_rows, real_pairs
from masked_denoiser.evaluation.metrics import make_lpips
from masked_denoiser.evaluation.pictures import picture_path, save_png, side_by_side
from masked_denoiser.inference.device import choose_device
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import AUTO, DEFAULT, load_model
from masked_denoiser.noise.synthetic.parse import parse_noise

#: The trained noise of the paper, and those it was tested on.
FEATURE_NOISES = (
    "gaussian(sigma=15)",
    "gaussian(sigma=50)",
    "poisson(alpha=3)",
    "speckle(variance=0.04)",
    "salt_and_pepper(density=0.02)",
    "mixture(level=4)",
)


def evaluate(arguments: Namespace) -> int:
    """Prints a table of PSNR and SSIM."""
    for picture in filter(None, (arguments.plot, arguments.pictures)):
        picture_path(picture)
    if arguments.threads is not None:
        set_threads(arguments.threads)
    if arguments.safety:
        return print_safety(arguments)
    if arguments.synthetic:
        raise EvaluationError("--synthetic adds images to --safety; give both")
    if arguments.training_curve:
        return _training_curve(arguments)
    if arguments.features:
        return _features(arguments)
    options = Options(passes=arguments.passes, seed=arguments.seed, noise=arguments.treat)
    names = [*(arguments.model or [AUTO]), *(arguments.baseline or [])]
    denoisers = {name: make_denoiser(name, arguments.device, options) for name in names}
    lpips = make_lpips() if arguments.lpips else None
    scores: list[Score] = []
    if arguments.noisy or arguments.clean:
        noisy, clean = _both(arguments)
        total, rows = len(noisy) * len(names), real_pairs(denoisers, noisy, clean, arguments.fit_gain, lpips)
    else:
        images = list_images(arguments.images)
        noises = tuple(arguments.noise or GRID)
        for noise in noises:  # before a bar is drawn
            parse_noise(noise)
        if arguments.pictures:
            pictures = picture_rows(denoisers, images[0], noises, arguments.seed, arguments.crop)
            save_png(Path(arguments.pictures), side_by_side(pictures))
            say(f"wrote {arguments.pictures}: noisy, {', '.join(names)}, clean; a row for each noise", arguments.json)
        total = len(images) * len(noises) * len(names)
        rows = noise_grid(denoisers, images, noises, arguments.seed, lpips, arguments.crop)
    for score in _shown(rows, total, arguments.quiet):
        scores.append(score)
    found = means(scores)
    if arguments.plot:
        plot_curves(found, Path(arguments.plot))
        say(f"wrote {arguments.plot}", arguments.json)
    if arguments.json:
        values = [
            {"denoiser": d, "noise": n} | dict(zip(("psnr", "ssim", "lpips"), measures, strict=False))
            for (d, n), measures in found.items()
        ]
        print(json.dumps({"means": values, "images": [asdict(score) for score in scores]}))
        return 0
    print(_table(names, list(dict.fromkeys(noise for _, noise in found)), found))
    return 0


def _training_curve(arguments: Namespace) -> int:
    """Draws the validations of trainings, and prints the last of each."""
    folders = [Path(folder) for folder in arguments.training_curve]
    curves = training_curves(folders)
    if arguments.plot:
        plot_training(folders, Path(arguments.plot))
        say(f"wrote {arguments.plot}", arguments.json)
    if arguments.json:
        print(json.dumps(curves))
        return 0
    for noise, lines in curves.items():
        for name, line in lines.items():
            best = max(psnr for _, psnr in line)
            print(f"{noise}: {name}: {line[-1][1]:.2f} dB at step {line[-1][0]:.0f}, best {best:.2f} dB")
    return 0


def _features(arguments: Namespace) -> int:
    """Compares features under the noises with those under the first."""
    images, noises = list_images(arguments.images), tuple(arguments.noise or FEATURE_NOISES)
    device, _ = choose_device(arguments.device)
    names = arguments.model or [DEFAULT]
    found = [compare_features(load_model(name), images, noises, device, arguments.seed) for name in names]
    if arguments.plot:
        plot_features(found, Path(arguments.plot))
        say(f"wrote {arguments.plot}", arguments.json)
    if arguments.json:
        print(json.dumps({likeness.model: likeness.cka for likeness in found}))
        return 0
    print(f"likeness (linear CKA) of deep features to those under {noises[0]}")
    print("\n".join(["| noise | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]))
    for noise in noises[1:]:
        print(f"| {noise} | " + " | ".join(f"{likeness.cka[noise]:.4f}" for likeness in found) + " |")
    return 0


def _shown(rows: Iterator[Score], total: int, quiet: bool) -> Iterator[Score]:
    yield from tqdm(rows, total=total, unit="image", desc="evaluating", disable=quiet)


def _both(arguments: Namespace) -> tuple[list[Path], list[Path]]:
    pairs = list_pairs(arguments.noisy, arguments.clean)
    if arguments.images:
        raise EvaluationError(f"{arguments.images[0]} is a clean image for the noise grid; leave it out with --noisy")
    return pairs


def _table(names: Sequence[str], noises: Sequence[str], found: dict[tuple[str, str], tuple[float, ...]]) -> str:
    """Markdown: a row each noise; PSNR, SSIM and perhaps LPIPS of each denoiser."""
    rows = ["| noise | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for noise in noises:
        cells = [found[name, noise] for name in names]
        rows.append(f"| {noise} | " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(rows)


def _cell(measures: tuple[float, ...]) -> str:
    psnr, *others = measures
    return " / ".join([f"{psnr:.2f}", *(f"{value:.3f}" for value in others)])
