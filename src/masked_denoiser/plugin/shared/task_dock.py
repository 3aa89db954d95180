"""Widgets of a background task: messages, a progress bar, and a timer that polls for events."""

from __future__ import annotations

from typing import Any, Protocol

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeyEvent, QMouseEvent, QShowEvent
from qtpy.QtWidgets import (
    QApplication,
    QDockWidget,
    QLabel,
    QMainWindow,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QWidget,
)

from masked_denoiser.plugin.shared.activity import ActivityProgress, notify
from masked_denoiser.plugin.shared.widgets.message_log import MessageLog

#: Milliseconds between two polls of a background task.
_POLL_INTERVAL_MS = 50

#: Name of the button in the title bar of napari's docks that closes them.
_CLOSE_BUTTON = "QTitleBarCloseButton"

#: Resolution of a progress bar.
_PROGRESS_STEPS = 1000


def unwrap_viewer(viewer: Any) -> Any:
    """Return the viewer in the proxy that napari gives to plugins.

    The proxy wraps each layer anew whenever it is accessed, so that layers cannot be compared by identity, nor be
    keys of weak dictionaries.
    """
    return getattr(viewer, "__wrapped__", viewer)


class TaskPresenter(Protocol):
    """Interface of a presenter, as its widget uses it."""

    @property
    def busy(self) -> bool:
        """Whether a task is running or has unprocessed events."""

    def process_events(self) -> None:
        """Handle the events since the last call."""

    def stop(self) -> None:
        """Cancel all tasks, because the window closes."""


class DockPresenter(TaskPresenter, Protocol):
    """Interface of the presenter of a dock."""

    def may_close(self) -> bool:
        """Ask whether to close the dock, if a task is running; return the answer."""


class TaskWidget(QWidget):
    """Widget with messages and a progress bar; implements `TaskView` for its presenter."""

    presenter: TaskPresenter
    _polling = False

    def __init__(self) -> None:
        super().__init__()
        self.progress_bar, self.progress_label, self.messages = QProgressBar(), QLabel(), MessageLog()
        self.progress_label.setWordWrap(True)
        self.progress_label.hide()
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL_INTERVAL_MS)
        self._timer.timeout.connect(self._poll)

    def show_message(self, text: str) -> None:
        """Append a message."""
        self.messages.add(text)

    def show_error(self, text: str) -> None:
        """Append an error."""
        self.messages.add_error(text)

    def show_progress(self, share: float | None, text: str) -> None:
        """Show progress from 0 to 1, with a text below; None shows an indeterminate bar."""
        self.progress_bar.setRange(0, 0 if share is None else _PROGRESS_STEPS)
        self.progress_bar.setValue(0 if share is None else round(_PROGRESS_STEPS * share))
        self.progress_label.setText(text)
        self.progress_label.setVisible(bool(text))

    def start_polling(self) -> None:
        """Start to poll the background task until it ends."""
        self._timer.start()

    def stop(self) -> None:
        """Cancel all tasks, because the window closes."""
        self._timer.stop()
        self.presenter.stop()

    def _after_events(self) -> None:
        """Continue after the events were handled."""

    def _poll(self) -> None:
        if self._polling:  # napari's activity dock processes events, among them those of this timer
            return
        self._polling = True
        try:
            self.presenter.process_events()
            self._after_events()
        finally:
            self._polling = False
        if not self.presenter.busy:
            self._timer.stop()


def main_window(widget: QWidget) -> QMainWindow | None:
    """Return the main window of a widget, also if its dock floats; None outside of a main window."""
    ancestor: QWidget | None = widget
    while ancestor is not None and not isinstance(ancestor, QMainWindow):
        ancestor = ancestor.parentWidget()
    return ancestor


def _is_click(button: QPushButton, event: QEvent | None) -> bool:
    """Return whether an event clicks a button: the left mouse button is released on it, or a key is pressed."""
    if isinstance(event, QKeyEvent):
        return event.type() == QEvent.Type.KeyPress and event.key() in (
            Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter,
        )  # fmt: skip
    if not isinstance(event, QMouseEvent) or event.type() != QEvent.Type.MouseButtonRelease:
        return False
    return event.button() == Qt.MouseButton.LeftButton and button.rect().contains(event.pos())


class TaskDock(TaskWidget):
    """Dock widget that can ask questions, and cancels its tasks when it is closed."""

    presenter: DockPresenter
    _placed = False

    def __init__(self) -> None:
        super().__init__()
        self._activity = ActivityProgress()

    def show_progress(self, share: float | None, text: str) -> None:
        """Show progress from 0 to 1, also in napari's activity dock; an empty text ends it there."""
        super().show_progress(share, text)
        if not text:
            self._activity.close()
        elif main_window(self) is not None:
            self._activity.show(share, "Masked Denoiser")

    def show_end(self, text: str, notified: bool) -> None:
        """Append how a task ended, and show it as a notification if the user may have turned away."""
        self.show_message(text)
        if notified and main_window(self) is not None:
            notify(text)

    def ask(self, question: str, *choices: str) -> str:
        """Ask a question with a button for each choice; return the choice, the last one if the box is closed.

        The last choice changes nothing: it has the focus, so that Enter cannot destroy anything.
        """
        box = QMessageBox(QMessageBox.Icon.Question, "Masked Denoiser", question, parent=self)
        buttons = [box.addButton(choice, QMessageBox.ButtonRole.ActionRole) for choice in choices]
        box.setEscapeButton(buttons[-1])
        box.setDefaultButton(buttons[-1])
        box.exec()
        clicked = box.clickedButton()  # whose text may have got an accelerator from the desktop
        return choices[buttons.index(clicked)] if clicked in buttons else choices[-1]

    def event(self, event: QEvent | None) -> bool:
        """Cancel all tasks when napari removes the widget from its dock, as it does to close the dock."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.restore_viewer()
            self.stop()
        return bool(super().event(event))

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Put the dock into a tab with the other docks of this plugin when it is shown for the first time."""
        super().showEvent(event)
        if not self._placed:
            self._placed = True
            QTimer.singleShot(0, self._tabify)
            if isinstance(dock := self.parentWidget(), QDockWidget):
                # napari makes a new title bar after these signals.
                dock.topLevelChanged.connect(self._guard_later)
                dock.dockLocationChanged.connect(self._guard_later)

    def _tabify(self) -> None:
        window, dock = self.window(), self.parentWidget()
        if not (isinstance(window, QMainWindow) and isinstance(dock, QDockWidget)) or dock.isFloating():
            return
        for other in window.findChildren(QDockWidget):
            if other is not dock and isinstance(other.widget(), TaskDock) and not other.isFloating():
                window.tabifyDockWidget(other, dock)
                dock.raise_()
                return

    def restore_viewer(self) -> None:
        """Leave temporary views of the dock, because it closes while the viewer stays."""

    def stop(self) -> None:
        """Cancel all tasks, because the window closes."""
        self._activity.close()
        super().stop()

    def _guard_later(self, _change: object) -> None:
        QTimer.singleShot(0, self.guard_close_buttons)

    def guard_close_buttons(self) -> None:
        """Let `eventFilter` see clicks on the button that closes this dock; napari makes a new one for each place."""
        if (dock := self.parentWidget()) is not None:
            for button in dock.findChildren(QPushButton, _CLOSE_BUTTON):
                button.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 (Qt's name)
        """Ask before a click on the close button closes the dock while a task is running."""
        if isinstance(watched, QPushButton) and _is_click(watched, event) and not self.may_close():
            watched.setDown(False)
            return True
        return bool(super().eventFilter(watched, event))

    def may_close(self) -> bool:
        """Ask whether to close the dock, if a task is running; return the answer."""
        return self.presenter.may_close()

    def _stop_with_application(self) -> None:
        """Cancel all tasks when napari closes and destroys its docks."""
        # Qt disconnects bound methods of this widget when the widget is destroyed.
        self.destroyed.connect(self.presenter.stop)
        if (app := QApplication.instance()) is not None:
            app.aboutToQuit.connect(self.stop)
