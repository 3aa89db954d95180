"""Small widgets that forms are made of."""

from __future__ import annotations

from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QSpinBox, QWidget
from superqt import QCollapsible


class Folded(QCollapsible):
    """A part of a dock that is folded away until its title is clicked."""

    def __init__(self, title: str) -> None:
        # superqt draws its arrows as pictures in one colour, which a dark theme hides: ours are text.
        super().__init__(expandedIcon=QIcon(), collapsedIcon=QIcon())
        self._name = title
        self.toggled.connect(self._title)
        self._title(False)
        self.setDuration(0)

    def _title(self, expanded: bool) -> None:
        self.setText(f"{'▾' if expanded else '▸'}  {self._name}")


def combo(texts: list[str]) -> QComboBox:
    """A combo box that long texts do not widen."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(12)
    box.addItems(texts)
    return box


def row(*widgets: QWidget) -> QWidget:
    """Widgets beside each other."""
    box = QWidget()
    layout = QHBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return box


def spin(low: int, high: int, value: int, step: int = 1) -> QSpinBox:
    """A box for whole numbers."""
    box = QSpinBox()
    box.setRange(low, high)
    box.setSingleStep(step)
    box.setValue(value)
    return box
