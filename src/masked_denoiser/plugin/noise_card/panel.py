"""Section of the Denoise dock with the noise of the chosen layer."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import Qt, QTimer
from qtpy.QtCore import Signal as QtSignal  # type: ignore[attr-defined]
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.noise_card.presenter import NoiseCardPresenter
from masked_denoiser.plugin.noise_card.task import NoiseFigures, TreatmentPlan
from masked_denoiser.plugin.shared.widgets.form_widgets import CollapsibleSection, row

#: Milliseconds between two looks at layer, settings and task.
_POLL_INTERVAL_MS = 200

#: Steps of the slider for each unit of strength, and its ends.
_STEPS_PER_UNIT, _WEAKEST, _STRONGEST = 10, 0.5, 2.0

#: Largest number of channels in the table, which must fit into a narrow dock, and of letters of their names.
_MAX_COLUMNS, _MAX_NAME = 3, 10

#: Colours of channels: red, green and blue; others from the palette of Okabe and Ito.
_RGB = {"red": "#ff5c4d", "green": "#3fb950", "blue": "#58a6ff"}
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00")


class NoiseCard(CollapsibleSection):
    """Section with the noise of a layer, a plot of its variance, its treatment, and the strength.

    Args:
        layer: returns the chosen layer, or None.
        form: returns the fields of the dock.
    """

    strength_changed = QtSignal(float)
    denoise_anyway = QtSignal()

    def __init__(self, layer: Callable[[], Any], form: Callable[[], Form]) -> None:
        super().__init__("Noise")
        self._form = form
        self.state, self.verdict, self.figures, self.plan = QLabel(), QLabel(), QLabel(), QLabel()
        for label in (self.state, self.verdict, self.plan):
            label.setWordWrap(True)
        self.plot, self.anyway_button = _make_plot(), QPushButton("Denoise anyway")
        self.anyway_button.setToolTip("Denoise without measuring the noise: the model alone decides what noise is")
        self.anyway_button.clicked.connect(self.denoise_anyway)
        self.slider, self.strength_label = _make_slider(), QLabel("1.0")
        self.slider.valueChanged.connect(self._slider_moved)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 0)
        strength = row(QLabel("strength"), self.slider, self.strength_label)
        for widget in (self.verdict, self.figures, self.plot, self.plan, self.state, self.anyway_button, strength):
            layout.addWidget(widget)
        self.setContent(content)
        self.collapse(animate=False)
        self.presenter = NoiseCardPresenter(self, layer)
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL_INTERVAL_MS)
        self._timer.timeout.connect(self._poll)
        self.toggled.connect(self._show)
        self.show_figures(None)
        self.show_plan(None)

    def form(self) -> Form:
        """Return the values of the fields; raise FormError if one is invalid."""
        return self._form()

    def show_strength(self, strength: float) -> None:
        """Set the slider without a signal."""
        self.slider.blockSignals(True)
        self.slider.setValue(round(strength * _STEPS_PER_UNIT))
        self.slider.blockSignals(False)
        self.strength_label.setText(f"{strength:.1f}")

    def show_state(self, text: str) -> None:
        """Show what the card does, or why it shows nothing."""
        self.state.setText(text)
        self.state.setVisible(bool(text))

    def show_figures(self, figures: NoiseFigures | None) -> None:
        """Show the measured noise, or nothing."""
        for widget in (self.verdict, self.figures):
            widget.setVisible(figures is not None)
        self.plot.clear()
        self.plot.setVisible(figures is not None and bool(figures.curves))
        if figures is not None:
            self.verdict.setText(f"{figures.verdict[0].upper()}{figures.verdict[1:]}.")
            self.figures.setText(_table(figures))
            self.figures.setMinimumHeight(self.figures.sizeHint().height())
            self._draw(figures)
        self._fit_height()

    def show_plan(self, plan: TreatmentPlan | None) -> None:
        """Show what will be done, or nothing."""
        self.plan.setVisible(plan is not None)
        self.anyway_button.setVisible(plan is not None and not plan.changes)
        if plan is not None:
            self.plan.setText("\n".join(f"Each pixel is {line}." for line in plan.lines))
        self._fit_height()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Give the content the height that its texts need at the new width."""
        super().resizeEvent(event)
        self._fit_height()

    def _fit_height(self) -> None:
        """Reserve the height of wrapped texts, which the layouts around the content do not ask for."""
        content = self.content()
        layout = content.layout()
        if layout is not None and layout.hasHeightForWidth():
            content.setMinimumHeight(layout.totalHeightForWidth(content.width()))

    def stop(self) -> None:
        """Stop, because the window closes."""
        self._timer.stop()
        self.presenter.stop()

    def _show(self, shown: bool) -> None:
        if shown:
            self._timer.start()
        self.presenter.show(shown)

    def _poll(self) -> None:
        self.presenter.process_events()
        if not self.isExpanded() and not self.presenter.busy:
            self._timer.stop()

    def _slider_moved(self, value: int) -> None:
        strength = value / _STEPS_PER_UNIT
        self.strength_label.setText(f"{strength:.1f}")
        self.strength_changed.emit(strength)

    def _draw(self, figures: NoiseFigures) -> None:
        for number, curve in enumerate(figures.curves):
            colour = _colour(curve.name, number)
            dots = {"symbol": "o", "symbolSize": 5, "symbolBrush": colour, "symbolPen": None}
            self.plot.plot(curve.intensities, curve.variances, pen=None, **dots)
            self.plot.plot(*curve.fit, pen=pg.mkPen(colour, width=2))
        self.plot.setYRange(0, 1.1 * max((float(c.variances.max()) for c in figures.curves), default=1.0))


def _make_plot() -> Any:
    plot = pg.PlotWidget()
    plot.setBackground(None)
    plot.setFixedHeight(130)
    plot.setMinimumWidth(60)
    for side, name in (("left", "variance"), ("bottom", "intensity")):
        plot.getAxis(side).enableAutoSIPrefix(False)
        plot.setLabel(side, name)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.setMenuEnabled(False)
    return plot


def _make_slider() -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(round(_WEAKEST * _STEPS_PER_UNIT), round(_STRONGEST * _STEPS_PER_UNIT))
    slider.setValue(_STEPS_PER_UNIT)
    slider.setToolTip("Factor on the measured noise: below 1 removes less, above 1 more")
    return slider


def _colour(name: str, number: int) -> str:
    return _RGB.get(name, _COLOURS[number % len(_COLOURS)])


def _table(figures: NoiseFigures) -> str:
    """Return the figures as HTML, with a column for each of the first channels."""
    names = [
        f'<td style="color:{_colour(name, number)}">{escape(name[:_MAX_NAME])}&nbsp;</td>'
        for number, name in enumerate(figures.channels[:_MAX_COLUMNS])
    ]
    rows = [f"<tr><td></td>{''.join(names)}</tr>"] if len(names) > 1 else []
    for name, values in figures.rows.items():
        cells = "".join(f"<td>{escape(value)}&nbsp;</td>" for value in values[:_MAX_COLUMNS])
        rows.append(f"<tr><td>{escape(name)}&nbsp;</td>{cells}</tr>")
    if (more := len(figures.channels) - _MAX_COLUMNS) > 0:
        rows.append(f"<tr><td>and {more} more, in the plot</td></tr>")
    return f"<table>{''.join(rows)}</table>"
