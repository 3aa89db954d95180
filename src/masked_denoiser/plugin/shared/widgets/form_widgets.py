"""Building blocks of forms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from weakref import WeakMethod

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

#: Least height of a scroll area in pixels, so that a dock fits on any screen.
_MIN_SCROLL_HEIGHT = 120


#: Qt's limit of heights.
_ANY_HEIGHT = 2**24 - 1


class CollapsibleSection(QCollapsible):
    """Section of a dock that is collapsed until its title is clicked."""

    def __init__(self, title: str) -> None:
        # superqt's arrow icons are invisible in a dark theme: these arrows are text.
        super().__init__(expandedIcon=QIcon(), collapsedIcon=QIcon())
        self._name = title
        self.toggled.connect(self._update_title)
        self.toggled.connect(self._release_height)
        self._update_title(False)
        self.setDuration(0)

    def eventFilter(self, _watched: QObject | None, _event: QEvent | None) -> bool:  # noqa: N802 (Qt's name)
        """Let the content have any height: superqt would fix that of the moment of the last change."""
        return False

    def _release_height(self, expanded: bool) -> None:
        if expanded:
            self.content().setMaximumHeight(_ANY_HEIGHT)

    def _update_title(self, expanded: bool) -> None:
        self.setText(f"{'▾' if expanded else '▸'}  {self._name}")


def button(text: str, tooltip: str) -> QPushButton:
    """Return a button."""
    widget = QPushButton(text)
    widget.setToolTip(tooltip)
    return widget


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


def column(*widgets: QWidget) -> QWidget:
    """Return a widget with these widgets in a column."""
    box = QWidget()
    layout = QVBoxLayout(box)
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


def show_page_height(tabs: QTabWidget) -> None:
    """Let a tab widget be as high as its current page needs, and not as the highest one."""
    ignored, preferred = QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred
    for number in range(tabs.count()):
        if (page := tabs.widget(number)) is not None:
            page.setSizePolicy(preferred, preferred if number == tabs.currentIndex() else ignored)
    tabs.updateGeometry()


def scroll_with_pinned(dock: QWidget, content: QWidget, pinned: QWidget) -> None:
    """Lay out a dock as a scroll area, and a part below it that is always visible."""
    outer = QVBoxLayout(dock)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(VerticalScrollArea(content), 1)
    outer.addWidget(pinned)


class WheelGuard(QObject):
    """Event filter that leaves the wheel to the scroll area while the mouse is over a field without the focus."""

    def guard(self, content: QWidget) -> None:
        """Guard all fields in a widget."""
        for kind in (QComboBox, QAbstractSpinBox, QSlider):
            for field in content.findChildren(kind):
                field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                field.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 (Qt's name)
        """Ignore the wheel over a field that has not the focus."""
        if event is None or event.type() != QEvent.Type.Wheel or not isinstance(watched, QWidget):
            return False
        focus = QApplication.focusWidget()
        if focus is not None and (focus is watched or watched.isAncestorOf(focus)):
            return False
        event.ignore()
        return True


class VerticalScrollArea(QScrollArea):
    """Scroll area that scrolls vertically only and is never narrower than its content."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(content)
        content.installEventFilter(self)
        self._wheel = WheelGuard(self)
        self._wheel.guard(content)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 (Qt's name)
        """Give the content the height that its wrapped lines need, which Qt's scroll areas do not ask for."""
        if event is not None and event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize):
            content, viewport = self.widget(), self.viewport()
            layout = content.layout() if content is not None else None
            if content is not None and viewport is not None and layout is not None and layout.hasHeightForWidth():
                content.setMinimumHeight(layout.totalHeightForWidth(viewport.width()))
            self.updateGeometry()  # the content may have become wider
        return bool(super().eventFilter(watched, event))

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Return the width of content and scroll bar, and a small height."""
        content, bar = self.widget(), self.verticalScrollBar()
        width = 0 if content is None else content.minimumSizeHint().width()
        width += 0 if bar is None else bar.sizeHint().width()
        return QSize(width, _MIN_SCROLL_HEIGHT)
