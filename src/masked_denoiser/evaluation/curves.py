"""Curves of figures 10 and 12 of Chen et al., CVPR 2023: PSNR over noise levels and over training steps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

from masked_denoiser.errors import LogError, PlotError
from masked_denoiser.evaluation.plot import COLOURS, new_figure, save_figure

#: Recipe of a noise with a single level, such as `gaussian(sigma=15)`.
_NOISE_WITH_LEVEL = re.compile(r"(?P<family>\w+)\((?P<name>\w+)=(?P<level>[\d.]+)\)")

#: Mean scores, PSNR first, by (denoiser, noise).
Means = Mapping[tuple[str, str], tuple[float, ...]]
#: Points of a curve: level or step, and PSNR in dB.
Line = list[tuple[float, float]]


def level_curves(means: Means) -> dict[str, dict[str, Line]]:
    """Return (level, PSNR) in order of level, by noise family and denoiser; noises without a level are omitted."""
    families: dict[str, dict[str, Line]] = {}
    for (denoiser, noise), (psnr, *_) in means.items():
        if (match := _NOISE_WITH_LEVEL.fullmatch(noise)) is not None:
            family = f"{match['family']}, {match['name']}"
            families.setdefault(family, {}).setdefault(denoiser, []).append((float(match["level"]), psnr))
    return {family: {name: sorted(line) for name, line in lines.items()} for family, lines in families.items()}


def plot_curves(means: Means, path: Path) -> None:
    """Plot PSNR against the level, with a panel for each noise family and a line for each denoiser.

    Raises:
        PlotError: if matplotlib is missing or the file cannot be written.
    """
    panels = {
        family: ("level", lines) for family, lines in level_curves(means).items() if max(map(len, lines.values())) > 1
    }
    _plot_panels(panels, path)


def training_curves(folders: Iterable[Path]) -> dict[str, dict[str, Line]]:
    """Return (step, PSNR) by validation noise and training, read from the training logs.

    Args:
        folders: folders `NAME.training`, as written by `train` and `fine-tune`.

    Raises:
        LogError: if a folder has no log, or the log has no validation.
    """
    noises: dict[str, dict[str, Line]] = {}
    for name, folder in _by_name(folders).items():
        rows = [row for row in _read_log(folder) if "psnr" in row]
        if not rows:
            raise LogError(f"the log of {folder} has no validation yet; plot it after the first one")
        trained = next(iter(rows[0]["psnr"]))
        for row in rows:
            for noise, psnr in row["psnr"].items():
                panel = "trained noise" if noise == trained else noise
                steps = dict(noises.setdefault(panel, {}).setdefault(name, []))
                # A resumed training may have logged a step twice; the later line counts.
                noises[panel][name] = sorted((steps | {float(row["step"]): float(psnr)}).items())
    return noises


def plot_training(folders: Iterable[Path], path: Path) -> None:
    """Plot validation PSNR against the step, with a panel for each noise and a line for each training.

    Raises:
        LogError: if a folder has no log, or the log has no validation.
        PlotError: if matplotlib is missing or the file cannot be written.
    """
    _plot_panels({noise: ("step", lines) for noise, lines in training_curves(folders).items()}, path)


def _plot_panels(panels: Mapping[str, tuple[str, Mapping[str, Line]]], path: Path) -> None:
    if not panels:
        raise PlotError("there are no curves to plot; give noises of one family at two levels or more")
    columns = min(3, max(1, len(panels)))
    rows = ceil(max(1, len(panels)) / columns)
    figure = new_figure(4 * columns, 3 * rows)
    for number, (title, (x_label, lines)) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        for colour, (name, line) in zip(COLOURS * len(lines), lines.items(), strict=False):
            axes.plot(*zip(*line, strict=True), marker="o", ms=3, color=colour, label=name)
        axes.set(title=title, xlabel=x_label, ylabel="PSNR (dB)")
        axes.title.set_fontsize(9)
        axes.legend(fontsize=7)
    save_figure(figure, path)


def _by_name(folders: Iterable[Path]) -> dict[str, Path]:
    """Return folders by name, or by path where two share a name."""
    paths = list(folders)
    names = [path.stem for path in paths]
    return {name if names.count(name) == 1 else str(path): path for name, path in zip(names, paths, strict=True)}


def _read_log(folder: Path) -> list[dict[str, Any]]:
    try:
        lines = (folder / "log.jsonl").read_text().splitlines()
    except OSError as error:
        raise LogError(
            f"{folder} holds no log.jsonl ({error.strerror}); give the .training folder of a model"
        ) from error
    rows = [row for line in lines if (row := _parse_line(line)) is not None]
    if lines and not rows:
        raise LogError(f"{folder / 'log.jsonl'} is damaged: no line of it is JSON; give another .training folder")
    return rows


def _parse_line(line: str) -> dict[str, Any] | None:
    """Return the values of a line; None for one that is incomplete, as a training leaves it that was killed."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
