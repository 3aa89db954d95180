"""Matplotlib figures that need no display."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from masked_denoiser.errors import PlotError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Palette that is distinguishable with colour vision deficiency (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches.

    Raises:
        PlotError: if matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotError(
            "plots need the package matplotlib; install it with: pip install 'napari-masked-denoiser[evaluate]'"
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure at 150 dpi.

    Raises:
        PlotError: if the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise PlotError(f"{path} cannot be written: {error}; give a PNG file in a folder that exists") from error
