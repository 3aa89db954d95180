"""Plot of noise variance against intensity, measured and fitted."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.noise_measurement import NoiseMeasurement
from masked_denoiser.evaluation.plot import COLOURS, new_figure, save_figure
from masked_denoiser.noise.variance_model import clipped_variance

#: Largest number of characters of a line of the title; at its size, they are as wide as the axes.
_TITLE_WIDTH = 85

_RGB = {"red": "#d55e00", "green": "#009e73", "blue": "#0072b2"}


@dataclass(frozen=True, eq=False)
class VarianceCurve:
    """Measured and fitted variance of the noise of a channel, in units of the image.

    Attributes:
        name: name of the channel.
        intensities, variances: of groups of flat blocks of similar intensity.
        fit: intensities, and the fitted variance there after clipping.
    """

    name: str
    intensities: NDArray[np.float64]
    variances: NDArray[np.float64]
    fit: tuple[NDArray[np.float64], NDArray[np.float64]]


def variance_curves(measured: NoiseMeasurement) -> list[VarianceCurve]:
    """Return the curve of each channel whose variance could be measured."""
    estimate, curves = measured.estimate, []
    rows = zip(measured.channel_names, estimate.channels, estimate.ranges, measured.variance_bins, strict=True)
    for name, noise, (black, white), groups in rows:
        if len(groups.mean):
            span = white - black
            line = np.linspace(groups.mean.min(), groups.mean.max(), 100)
            fit = clipped_variance(noise.variance, line, noise.clipped)
            points = groups.mean * span + black, groups.variance * span**2
            curves.append(VarianceCurve(name, *points, (line * span + black, fit * span**2)))
    return curves


def plot_noise(measured: NoiseMeasurement, path: Path) -> None:
    """Plot a point for each group of flat blocks, and the fitted variance after clipping.

    Raises:
        PlotError: if matplotlib is missing or the file cannot be written.
    """
    figure = new_figure(6, 4)
    axes = figure.add_subplot()
    for number, curve in enumerate(variance_curves(measured)):
        colour = _RGB.get(curve.name, COLOURS[number % len(COLOURS)])
        axes.plot(curve.intensities, curve.variances, "o", color=colour, ms=4)
        axes.plot(*curve.fit, color=colour, label=curve.name)
    axes.set(xlabel="intensity", ylabel="variance", title=textwrap.fill(measured.estimate.verdict, _TITLE_WIDTH))
    axes.title.set_fontsize(8)
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[1]:
        axes.legend()
    save_figure(figure, path)
