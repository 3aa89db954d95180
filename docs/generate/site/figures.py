"""Figures of the documentation: panels of images and plots, written as WebP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.evaluation.plot import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Image = NDArray[Any]

IMAGES = Path(__file__).parents[2] / "images"

#: Pixels per inch, and quality of WebP.
_DPI, _QUALITY = 120, 85


def panels(rows: int, columns: int, side: float = 2.6, height: float | None = None) -> tuple[Figure, list[Axes]]:
    """Return a figure and its axes, row by row; `side` and `height` of a panel in inches."""
    figure = new_figure(columns * side, rows * (height or side * 1.1))
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(rows * columns)]


def show(axes: Axes, image: Image, title: str, low: float = 0.0, high: float = 255.0) -> None:
    """Show an image [H, W] or [H, W, 3] between two intensities without a frame."""
    shown = np.clip((np.asarray(image, np.float64) - low) / (high - low), 0.0, 1.0)
    axes.imshow(shown, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def save(figure: Figure, name: str) -> None:
    """Write a figure to docs/images/NAME.webp and print its size."""
    path = IMAGES / f"{name}.webp"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI, pil_kwargs={"quality": _QUALITY, "method": 6})
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
