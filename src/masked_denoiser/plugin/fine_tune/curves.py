"""Plots of a training: loss, and PSNR on validation patches with trained and unseen noises."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from masked_denoiser.plugin.fine_tune.history import TrainingHistory

#: Colours of the noises, the trained one first: the palette of Okabe and Ito, which suits colour-blind readers.
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00")


class Curves(QWidget):
    """Plots of loss and PSNR, one above the other."""

    def __init__(self) -> None:
        super().__init__()
        self.loss, self.psnr = pg.PlotWidget(), pg.PlotWidget()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for plot, name in ((self.loss, "loss"), (self.psnr, "PSNR (dB)")):
            plot.setBackground(None)
            plot.setFixedHeight(140)
            plot.setMinimumWidth(60)
            plot.getAxis("left").enableAutoSIPrefix(False)
            plot.getAxis("bottom").enableAutoSIPrefix(False)
            plot.setLabel("left", name)
            plot.setMouseEnabled(x=False, y=False)
            plot.hideButtons()
            plot.setMenuEnabled(False)
            layout.addWidget(plot)
        self.psnr.setLabel("bottom", "step")
        # Below the plot, with line breaks: a legend inside it would hide the curves in a narrow dock.
        self.legend = QLabel()
        self.legend.setWordWrap(True)
        layout.addWidget(self.legend)
        self._psnr_curves: dict[str, Any] = {}
        self._loss_curve = self.loss.plot(pen=pg.mkPen(_COLOURS[0], width=1))

    def draw(self, history: TrainingHistory) -> None:
        """Draw the curves."""
        self._loss_curve.setData(history.steps, history.losses)
        if set(self._psnr_curves) - set(history.psnr):
            self.psnr.clear()
            self._psnr_curves = {}
        for number, (noise, scores) in enumerate(history.psnr.items()):
            if noise not in self._psnr_curves:
                self._psnr_curves[noise] = self._add_psnr_curve(noise, number)
            self._psnr_curves[noise].setData(list(scores), list(scores.values()))
        self.legend.setText(_legend(list(history.psnr)))

    def _add_psnr_curve(self, noise: str, number: int) -> Any:
        """Return a new curve: a solid line for the trained noise, dashed for unseen noises."""
        colour = _COLOURS[number % len(_COLOURS)]
        style = Qt.PenStyle.DashLine if number else Qt.PenStyle.SolidLine
        return self.psnr.plot(
            pen=pg.mkPen(colour, width=2, style=style),
            symbol="o",
            symbolSize=5,
            symbolBrush=colour,
            symbolPen=colour,
        )


def _legend(noises: list[str]) -> str:
    """Return the legend as HTML: each noise in the colour of its curve, all but the first marked as unseen."""
    entries = (
        f'<span style="color:{_COLOURS[number % len(_COLOURS)]}">&#9679;&nbsp;{escape(noise)}'
        f"{'&nbsp;(unseen)' if number else ''}</span>"
        for number, noise in enumerate(noises)
    )
    return f'<span style="font-size:8pt">{"&nbsp; ".join(entries)}</span>'


class PictureLabel(QLabel):
    """Label with a picture that is scaled to fit, with its aspect ratio."""

    def __init__(self, height: int) -> None:
        super().__init__()
        self._pixels: QPixmap | None = None
        self.setFixedHeight(height)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def show_pixels(self, picture: np.ndarray[Any, Any] | None) -> None:
        """Show pixels [height, width, 3] uint8, or nothing for None."""
        if picture is None:
            self._pixels = None
            self.clear()
            return
        pixels = np.ascontiguousarray(picture)
        height, width, _ = pixels.shape
        image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        self._pixels = QPixmap.fromImage(image)
        self._scale()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        """Scale the picture to the new size."""
        super().resizeEvent(event)
        self._scale()

    def _scale(self) -> None:
        if self._pixels is not None:
            keep, smooth = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
            self.setPixmap(self._pixels.scaled(self.size(), keep, smooth))
