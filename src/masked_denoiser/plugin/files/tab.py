"""The Files tab of the Denoise dock: a list, and a folder for the results. What it does is in `presenter`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QFormLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.files.presenter import FilesPresenter
from masked_denoiser.plugin.files.table import FilesTable
from masked_denoiser.plugin.files.view import Row, Wishes
from masked_denoiser.plugin.shared.file_dialogs import choose_files, choose_folder
from masked_denoiser.plugin.shared.form_widgets import combo, row
from masked_denoiser.plugin.shared.message_log import MessageLog

_ENDINGS = {"OME-Zarr": ".ome.zarr", "OME-TIFF": ".ome.tif"}

#: Milliseconds between two looks at what the worker has said.
_TICK = 50


class FilesTab(QWidget):
    """Denoises files one after the other: drop them, press Start.

    Args:
        viewer: where results are opened.
        form: gives the dock's settings.
        ask: asks the user.
        changed: called when a list begins or ends.
    """

    def __init__(
        self, viewer: Any, form: Callable[[], Form], ask: Callable[..., str], changed: Callable[[], None]
    ) -> None:
        super().__init__()
        self.running, self._blocked, self._changed = False, False, changed
        self._make_fields()
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK)
        self._timer.timeout.connect(self._tick)
        self.presenter = FilesPresenter(viewer, self, form, ask)
        self._connect()
        self._enable()

    def wishes(self) -> Wishes:
        """The fields as they stand."""
        return Wishes(self.folder.text(), _ENDINGS[self.ending.currentText()], self.axes.text())

    def suggest_folder(self, folder: str) -> None:
        """Fills in a folder for the outputs, if the user has given none."""
        if not self.folder.text().strip():
            self._set_folder(folder)

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Shows the whole list."""
        self.table.show_rows(rows)
        self._enable()

    def show_row(self, number: int, one: Row) -> None:
        """Shows one line anew."""
        self.table.show_row(number, one)

    def show_progress(self, share: float | None, text: str) -> None:
        """Moves the bar; None while nobody knows how long it takes."""
        self.bar.setRange(0, 0 if share is None else 1000)
        self.bar.setValue(0 if share is None else round(1000 * share))
        self.progress.setText(text)

    def say(self, text: str) -> None:
        """Adds a line to the notes."""
        self.notes.say(text)

    def fail(self, text: str) -> None:
        """Adds an error to the notes."""
        self.notes.fail(text)

    def set_running(self, running: bool) -> None:
        """Leaves only Cancel to be pressed while a list is denoised."""
        self.running = running
        self._enable()
        self._changed()

    def set_blocked(self, blocked: bool) -> None:
        """Nothing can be started while the dock does something else."""
        self._blocked = blocked
        self._enable()

    def wake(self) -> None:
        """Begins to look at what the worker says."""
        self._timer.start()

    def stop(self) -> None:
        """The dock closes."""
        self._timer.stop()
        self.presenter.stop()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802 - Qt's name
        """Takes files and folders."""
        if event is not None and not self.running and _paths(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802 - Qt's name
        """Adds them."""
        if event is not None and (paths := _paths(event)):
            event.acceptProposedAction()
            self.presenter.add(paths)

    def _tick(self) -> None:
        self.presenter.tick()
        if not self.presenter.busy:
            self._timer.stop()

    def _enable(self) -> None:
        chosen = self._chosen()
        self.start_button.setEnabled(not self.running and not self._blocked and self.table.rowCount() > 0)
        self.cancel_button.setEnabled(self.running)
        self.remove_button.setEnabled(not self.running and bool(chosen))
        self.open_button.setEnabled(bool(chosen))
        for widget in (self.files_button, self.folder_button, self.where, self.ending, self.axes):
            widget.setEnabled(not self.running)

    def _chosen(self) -> list[int]:
        return sorted({index.row() for index in self.table.selectedIndexes()})

    def _make_fields(self) -> None:
        self.table = FilesTable()
        self.files_button, self.folder_button = QPushButton("Add files..."), QPushButton("Add a folder...")
        self.remove_button, self.open_button = QPushButton("Remove"), QPushButton("Open")
        self.folder, self.axes, self.ending = QLineEdit(), QLineEdit(), combo(list(_ENDINGS))
        self._browse = QPushButton("...")
        self._browse.setMaximumWidth(32)
        self.where = row(self.folder, self._browse)
        self.start_button, self.cancel_button = QPushButton("Start"), QPushButton("Cancel")
        self.bar, self.progress, self.notes = QProgressBar(), QLabel(), MessageLog()
        self.notes.setMinimumHeight(60)
        self.progress.setWordWrap(True)
        self.axes.setPlaceholderText("as each file says")
        self.setAcceptDrops(True)
        tips: dict[QWidget, str] = {
            self.folder_button: "Adds the images right in a folder; a zarr folder is one image",
            self.remove_button: "Takes the chosen lines out of the list; no file is touched",
            self.open_button: "Opens the chosen results in the viewer; so does a double click",
            self.folder: "Each result goes here under the name of its image. It is made if it is not there.",
            self.axes: "One letter a dimension, such as ZYX, for files that do not name their axes",
            self.start_button: "Denoises the list with the model and settings above; a bad file does not stop the rest",
            self.cancel_button: "Ends the list after the tile in work; what is done is kept",
        }
        for widget, tip in tips.items():
            widget.setToolTip(tip)

    def _lay_out(self) -> None:
        rows = QFormLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("folder", self.where)
        rows.addRow("format", self.ending)
        rows.addRow("axes", self.axes)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table, 3)
        layout.addWidget(row(self.files_button, self.folder_button, self.remove_button, self.open_button))
        layout.addLayout(rows)
        layout.addWidget(row(self.start_button, self.cancel_button))
        layout.addWidget(self.bar)
        layout.addWidget(self.progress)
        layout.addWidget(self.notes, 1)

    def _connect(self) -> None:
        self.files_button.clicked.connect(self._add_files)
        self.folder_button.clicked.connect(self._add_folder)
        self.remove_button.clicked.connect(self._remove)
        self.open_button.clicked.connect(self._open)
        self._browse.clicked.connect(self._choose_folder)
        self.start_button.clicked.connect(self._start)
        self.cancel_button.clicked.connect(self._cancel)
        self.table.cellDoubleClicked.connect(self._open_row)
        self.table.itemSelectionChanged.connect(self._enable)

    def _add_files(self, _checked: bool = False) -> None:
        self.presenter.add(choose_files(self))

    def _add_folder(self, _checked: bool = False) -> None:
        if folder := choose_folder(self, "Denoise the images of a folder"):
            self.presenter.add([folder])

    def _choose_folder(self, _checked: bool = False) -> None:
        if folder := choose_folder(self, "Write the results to"):
            self._set_folder(folder)

    def _set_folder(self, folder: str) -> None:
        self.folder.setText(str(Path(folder)))

    def _remove(self, _checked: bool = False) -> None:
        self.presenter.remove(self._chosen())

    def _open(self, _checked: bool = False) -> None:
        for number in self._chosen():
            self.presenter.open(number)

    def _open_row(self, number: int, _column: int) -> None:
        self.presenter.open(number)

    def _start(self, _checked: bool = False) -> None:
        self.presenter.start()

    def _cancel(self, _checked: bool = False) -> None:
        self.presenter.cancel()


def _paths(event: QDropEvent) -> list[str]:
    """The files and folders that are dropped."""
    mime = event.mimeData()
    return [url.toLocalFile() for url in mime.urls() if url.isLocalFile()] if mime is not None else []
