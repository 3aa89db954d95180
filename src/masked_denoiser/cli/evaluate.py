"""`masked-denoiser evaluate`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from masked_denoiser.cli.denoise import set_threads
from masked_denoiser.denoising.job import Options
from masked_denoiser.evaluation.grid import GRID, EvaluationError, Score, make_denoiser, means, noise_grid, real_pairs
from masked_denoiser.models.catalogue import AUTO

_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")


def evaluate(arguments: Namespace) -> int:
    """Prints a table of PSNR and SSIM."""
    if arguments.threads is not None:
        set_threads(arguments.threads)
    options = Options(passes=arguments.passes, seed=arguments.seed, noise=arguments.treat)
    names = [*(arguments.model or [AUTO]), *(arguments.baseline or [])]
    denoisers = {name: make_denoiser(name, arguments.device, options) for name in names}
    scores: list[Score] = []
    if arguments.noisy or arguments.clean:
        noisy, clean = _both(arguments)
        total, rows = len(noisy) * len(names), real_pairs(denoisers, noisy, clean, arguments.fit_gain)
    else:
        images = _images(arguments.images)
        noises = tuple(arguments.noise or GRID)
        total, rows = len(images) * len(noises) * len(names), noise_grid(denoisers, images, noises, arguments.seed)
    for score in _shown(rows, total, arguments.quiet):
        scores.append(score)
    found = means(scores)
    if arguments.json:
        values = [{"denoiser": d, "noise": n, "psnr": p, "ssim": s} for (d, n), (p, s) in found.items()]
        print(json.dumps({"means": values, "images": [asdict(score) for score in scores]}))
        return 0
    print(_table(names, list(dict.fromkeys(noise for _, noise in found)), found))
    return 0


def _shown(rows: Iterator[Score], total: int, quiet: bool) -> Iterator[Score]:
    yield from tqdm(rows, total=total, unit="image", desc="evaluating", disable=quiet)


def _both(arguments: Namespace) -> tuple[list[Path], list[Path]]:
    if not (arguments.noisy and arguments.clean):
        raise EvaluationError("pairs need both folders: --noisy FOLDER --clean FOLDER")
    if arguments.images:
        raise EvaluationError(f"{arguments.images[0]} is a clean image for the noise grid; leave it out with --noisy")
    return _images([arguments.noisy]), _images([arguments.clean])


def _images(given: Sequence[str]) -> list[Path]:
    """Files as they are, and the images of folders in the order of their names."""
    if not given:
        raise EvaluationError("no images; name a folder of clean images, or --noisy and --clean")
    found: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            found += sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
        elif path.exists():
            found.append(path)
        else:
            raise EvaluationError(f"{path} does not exist; check the path")
    if not found:
        raise EvaluationError(f"{', '.join(given)}: no images there ({', '.join(_SUFFIXES)})")
    return found


def _table(names: Sequence[str], noises: Sequence[str], found: dict[tuple[str, str], tuple[float, float]]) -> str:
    """Markdown: a row each noise, PSNR and SSIM of each denoiser."""
    rows = ["| noise | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for noise in noises:
        cells = [found[name, noise] for name in names]
        rows.append(f"| {noise} | " + " | ".join(f"{p:.2f} / {s:.3f}" for p, s in cells) + " |")
    return "\n".join(rows)
