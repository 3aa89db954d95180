"""Building blocks of forms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from weakref import WeakMethod

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QPushButton, QScrollArea, QSpinBox, QWidget
from superqt import QCollapsible


class CollapsibleSection(QCollapsible):
    """Section of a dock that is collapsed until its title is clicked."""

    def __init__(self, title: str) -> None:
        # superqt's arrow icons are invisible in a dark theme: these arrows are text.
        super().__init__(expandedIcon=QIcon(), collapsedIcon=QIcon())
        self._name = title
        self.toggled.connect(self._update_title)
        self._update_title(False)
        self.setDuration(0)

    def _update_title(self, expanded: bool) -> None:
        self.setText(f"{'▾' if expanded else '▸'}  {self._name}")


def combo(texts: list[str]) -> QComboBox:
    """Return a combo box whose width does not depend on its entries."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(12)
    box.addItems(texts)
    return box


def row(*widgets: QWidget) -> QWidget:
    """Return a widget with these widgets in a row."""
    box = QWidget()
    layout = QHBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return box


def spin(low: int, high: int, value: int, step: int = 1) -> QSpinBox:
    """Return a spin box for integers."""
    box = QSpinBox()
    box.setRange(low, high)
    box.setSingleStep(step)
    box.setValue(value)
    return box


def fill_combo(box: QComboBox, names: list[str], chosen: str | int) -> None:
    """Replace the entries of a combo box without signals, and select `chosen`: a name or an index."""
    box.blockSignals(True)
    box.clear()
    box.addItems(names)
    index = chosen if isinstance(chosen, int) else max(0, box.findText(chosen)) if names else -1
    box.setCurrentIndex(index)
    box.blockSignals(False)


def connect_buttons(actions: dict[QPushButton, Callable[[], None]]) -> None:
    """Call a bound method without arguments when its button is clicked."""
    for button, action in actions.items():
        # A connection must not keep the presenter alive: it would outlive its window, and still hear of saved models.
        button.clicked.connect(partial(_call, WeakMethod(action)))


def _call(reference: WeakMethod[Callable[[], None]], _checked: bool = False) -> None:
    action = reference()
    if action is not None:
        action()


def set_tooltips(tooltips: dict[QWidget, str]) -> None:
    """Set the tooltips of several widgets."""
    for widget, text in tooltips.items():
        widget.setToolTip(text)


def form_layout(parent: QWidget | None = None, margins: bool = True) -> QFormLayout:
    """Return a form layout whose fields widen with the dock."""
    rows = QFormLayout() if parent is None else QFormLayout(parent)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    if not margins:
        rows.setContentsMargins(0, 0, 0, 0)
    return rows


class VerticalScrollArea(QScrollArea):
    """Scroll area that scrolls vertically only and is never narrower than its content."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(content)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Return the width of content and scroll bar, and the default height."""
        content, bar = self.widget(), self.verticalScrollBar()
        width = 0 if content is None else content.minimumSizeHint().width()
        width += 0 if bar is None else bar.sizeHint().width()
        return QSize(width, super().minimumSizeHint().height())
