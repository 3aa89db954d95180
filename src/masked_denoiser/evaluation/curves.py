"""Curves of figures 10 and 12 of Chen et al., CVPR 2023: PSNR over noise levels and over training steps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Any

from masked_denoiser.errors import LogError, PlotError
from masked_denoiser.evaluation.plot import COLOURS, new_figure, save_figure
from masked_denoiser.noise.synthetic.families import FAMILIES
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import Step

#: Mean scores, PSNR first, by (denoiser, noise).
Means = Mapping[tuple[str, str], tuple[float, ...]]
#: Points of a curve: level or step, and PSNR in dB.
Line = list[tuple[float, float]]


def level_curves(means: Means) -> dict[str, dict[str, Line]]:
    """Return (level, PSNR) in order of level, by panel and denoiser.

    A panel has the noises that differ in one parameter of their family, the level. Others are left out.
    """
    panels: dict[str, dict[str, Line]] = {}
    for (denoiser, noise), (psnr, *_) in means.items():
        for panel, level in _levels(noise):
            panels.setdefault(panel, {}).setdefault(denoiser, []).append((level, psnr))
    return {
        panel: {name: sorted(line) for name, line in lines.items()}
        for panel, lines in panels.items()
        if len({level for line in lines.values() for level, _ in line}) > 1
    }


def _levels(noise: str) -> Iterator[tuple[str, float]]:
    """Yield the panel of a noise for each of its parameters, and its level there.

    The title names the family, the parameter, and the values of the others that are not their defaults. Noise of
    several steps and noise that is drawn have no level.
    """
    step, *others = parse_noise(noise).steps
    if others or not isinstance(step, Step) or any(value.low != value.high for value in step.values):
        return
    levels = list(zip(FAMILIES[step.family].parameters, step.values, strict=True))
    for parameter, value in levels:
        fixed = ", ".join(f"{p.name}={v}" for p, v in levels if p is not parameter and v.low != p.default)
        yield f"{step.family}, {parameter.name}" + (f" ({fixed})" if fixed else ""), value.low


def check_levels(noises: Iterable[str]) -> None:
    """Check before the work that the scores of some noises can be plotted.

    Raises:
        PlotError: if no two of them differ in the level of one family.
    """
    if not level_curves({("", noise): (0.0,) for noise in noises}):
        raise PlotError("there are no curves to plot; give noises of one family at two levels or more")


def plot_curves(means: Means, path: Path) -> None:
    """Plot PSNR against the level, with a panel for each noise family and a line for each denoiser.

    Raises:
        PlotError: if there are no curves, matplotlib is missing, or the file cannot be written.
    """
    check_levels(noise for _, noise in means)
    _plot_panels({panel: ("level", lines) for panel, lines in level_curves(means).items()}, path)


def training_curves(folders: Iterable[Path]) -> dict[str, dict[str, Line]]:
    """Return (step, PSNR) by validation noise and training, read from the training logs.

    Args:
        folders: folders `NAME.training`, as written by `train` and `fine-tune`.

    Raises:
        LogError: if a folder has no log, or the log has no validation or a damaged one.
    """
    noises: dict[str, dict[str, Line]] = {}
    for name, folder in _by_name(folders).items():
        validations = [_validation(row, folder) for row in _read_log(folder) if row.get("psnr")]
        if not validations:
            raise LogError(f"the log of {folder} has no validation yet; plot it after the first one")
        trained = next(iter(validations[0][1]))
        for step, scores in validations:
            for noise, psnr in scores.items():
                panel = "trained noise" if noise == trained else noise
                steps = dict(noises.setdefault(panel, {}).setdefault(name, []))
                # A resumed training may have logged a step twice; the later line counts.
                noises[panel][name] = sorted((steps | {step: psnr}).items())
    return noises


def _validation(row: dict[str, Any], folder: Path) -> tuple[float, dict[str, float]]:
    """Return the step of a validation, and its PSNR by noise."""
    step, scores = row.get("step"), row["psnr"]
    numbers = [step, *scores.values()] if isinstance(scores, dict) else [None]
    if not all(isinstance(number, int | float) for number in numbers):
        raise LogError(
            f"the log of {folder} is damaged: 'step' is {step!r:.40} and 'psnr' {scores!r:.60}, where numbers are "
            "expected; give another .training folder"
        )
    return float(row["step"]), {noise: float(psnr) for noise, psnr in scores.items()}


def plot_training(folders: Iterable[Path], path: Path) -> None:
    """Plot validation PSNR against the step, with a panel for each noise and a line for each training.

    Raises:
        LogError: if a folder has no log, or the log has no validation.
        PlotError: if matplotlib is missing or the file cannot be written.
    """
    _plot_panels({noise: ("step", lines) for noise, lines in training_curves(folders).items()}, path)


def _plot_panels(panels: Mapping[str, tuple[str, Mapping[str, Line]]], path: Path) -> None:
    columns = min(3, len(panels))
    rows = ceil(len(panels) / columns)
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
