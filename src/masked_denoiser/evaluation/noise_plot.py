"""Plot of noise variance against intensity, measured and fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masked_denoiser.denoising.noise_measurement import NoiseMeasurement
from masked_denoiser.evaluation.plot import COLOURS, new_figure, save_figure
from masked_denoiser.noise.variance_model import clipped_variance

_RGB = {"red": "#d55e00", "green": "#009e73", "blue": "#0072b2"}


def plot_noise(measured: NoiseMeasurement, path: Path) -> None:
    """Plot a point for each group of flat blocks, and the fitted variance after clipping.

    Raises:
        PlotError: if matplotlib is missing or the file cannot be written.
    """
    figure = new_figure(6, 4)
    axes = figure.add_subplot()
    estimate = measured.estimate
    rows = zip(measured.channel_names, estimate.channels, estimate.ranges, measured.variance_bins, strict=True)
    for number, (name, noise, (black, white), groups) in enumerate(rows):
        if not len(groups.mean):
            continue
        span = white - black
        colour = _RGB.get(name, COLOURS[number % len(COLOURS)])
        axes.plot(groups.mean * span + black, groups.variance * span**2, "o", color=colour, ms=4)
        line = np.linspace(groups.mean.min(), groups.mean.max(), 100)
        fit = clipped_variance(noise.variance, line, noise.clipped)
        axes.plot(line * span + black, fit * span**2, color=colour, label=name)
    axes.set(xlabel="intensity", ylabel="variance", title=estimate.verdict)
    axes.title.set_fontsize(8)
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[1]:
        axes.legend()
    save_figure(figure, path)
