"""The curves of figures 10 and 12 of Chen et al., CVPR 2023: PSNR over noise levels, and over training steps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

from masked_denoiser.errors import LogError, PlotError
from masked_denoiser.evaluation.plot import COLOURS, new_figure, save_figure

#: A noise with one level, such as `gaussian(sigma=15)`.
_LEVEL = re.compile(r"(?P<family>\w+)\((?P<name>\w+)=(?P<level>[\d.]+)\)")

#: By (denoiser, noise): PSNR first.
Means = Mapping[tuple[str, str], tuple[float, ...]]
#: A line: levels or steps, and PSNR in dB.
Line = list[tuple[float, float]]


def curves_of(found: Means) -> dict[str, dict[str, Line]]:
    """Families of noise, denoisers, and (level, PSNR) by growing level; noises without a level are left out."""
    families: dict[str, dict[str, Line]] = {}
    for (denoiser, noise), (psnr, *_) in found.items():
        if (match := _LEVEL.fullmatch(noise)) is not None:
            family = f"{match['family']}, {match['name']}"
            families.setdefault(family, {}).setdefault(denoiser, []).append((float(match["level"]), psnr))
    return {family: {name: sorted(line) for name, line in lines.items()} for family, lines in families.items()}


def plot_curves(found: Means, path: Path) -> None:
    """Draws PSNR against the level: a panel for each family of noise, a line for each denoiser.

    Raises:
        PlotError: if matplotlib is missing or the file cannot be written.
    """
    panels = {
        family: ("level", lines) for family, lines in curves_of(found).items() if max(map(len, lines.values())) > 1
    }
    _plot(panels, path)


def training_curves(folders: Iterable[Path]) -> dict[str, dict[str, Line]]:
    """Noises of the validations, trainings, and (step, PSNR), from the logs of trainings.

    Args:
        folders: `NAME.training`, as `train` and `fine-tune` leave them.

    Raises:
        LogError: if a folder holds no log, or no validation.
    """
    noises: dict[str, dict[str, Line]] = {}
    for name, folder in _named(folders).items():
        rows = [row for row in _log(folder) if "psnr" in row]
        if not rows:
            raise LogError(f"{folder} has no validation in its log yet")
        trained = next(iter(rows[0]["psnr"]))
        for row in rows:
            for noise, psnr in row["psnr"].items():
                panel = "trained noise" if noise == trained else noise
                steps = dict(noises.setdefault(panel, {}).setdefault(name, []))
                # A training that went on may have logged a step twice: the later line counts.
                noises[panel][name] = sorted((steps | {float(row["step"]): float(psnr)}).items())
    return noises


def plot_training(folders: Iterable[Path], path: Path) -> None:
    """Draws the validations of trainings: a panel for each noise, a line for each training.

    Raises:
        LogError: if a folder holds no validation.
        PlotError: if matplotlib is missing or the file cannot be written.
    """
    _plot({noise: ("step", lines) for noise, lines in training_curves(folders).items()}, path)


def _plot(panels: Mapping[str, tuple[str, Mapping[str, Line]]], path: Path) -> None:
    if not panels:
        raise PlotError("there are no curves to draw: give noises of one kind at two levels or more")
    columns = min(3, max(1, len(panels)))
    rows = ceil(max(1, len(panels)) / columns)
    figure = new_figure(4 * columns, 3 * rows)
    for number, (title, (across, lines)) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        for colour, (name, line) in zip(COLOURS * len(lines), lines.items(), strict=False):
            axes.plot(*zip(*line, strict=True), marker="o", ms=3, color=colour, label=name)
        axes.set(title=title, xlabel=across, ylabel="PSNR (dB)")
        axes.title.set_fontsize(9)
        axes.legend(fontsize=7)
    save_figure(figure, path)


def _named(folders: Iterable[Path]) -> dict[str, Path]:
    """Folders by their names; by their paths where two have one name."""
    given = list(folders)
    names = [folder.stem for folder in given]
    return {stem if names.count(stem) == 1 else str(folder): folder for stem, folder in zip(names, given, strict=True)}


def _log(folder: Path) -> list[dict[str, Any]]:
    try:
        lines = (folder / "log.jsonl").read_text().splitlines()
    except OSError as error:
        raise LogError(
            f"{folder} holds no log.jsonl ({error.strerror}); name the .training folder of a model"
        ) from error
    return [json.loads(line) for line in lines]
