"""Files tab of the Denoise dock: a list of images and an output folder. Its logic is in `presenter`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from masked_denoiser.jobs.batch.outputs import AUTO_ENDING
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.files.presenter import FilesPresenter
from masked_denoiser.plugin.files.table import FilesTable
from masked_denoiser.plugin.files.view import FilesForm, FileStatus
from masked_denoiser.plugin.shared.file_dialogs import choose_files, choose_folder
from masked_denoiser.plugin.shared.task_dock import TaskWidget
from masked_denoiser.plugin.shared.widgets.form_widgets import combo, connect_buttons, form_layout, row, set_tooltips

#: Suffix of the outputs by name of the format.
_SUFFIXES = {"as the image": AUTO_ENDING, "OME-Zarr": ".ome.zarr", "OME-TIFF": ".ome.tif", "NIfTI": ".nii.gz"}


class FilesTab(TaskWidget):
    """Tab that denoises a list of files.

    Args:
        viewer: viewer in which results are opened.
        form: returns the dock's settings.
        ask: asks the user a question.
        changed: called when a list is started or ends.
    """

    presenter: FilesPresenter

    def __init__(
        self, viewer: Any, form: Callable[[], Form], ask: Callable[..., str], changed: Callable[[], None]
    ) -> None:
        super().__init__()
        self.running, self._blocked, self._changed = False, False, changed
        self._make_fields()
        self._lay_out()
        self.presenter = FilesPresenter(viewer, self, form, ask)
        self._connect()
        self._enable()

    def may_close(self) -> bool:
        """Ask whether to close the dock, if a list is running; return the answer."""
        return self.presenter.may_close()

    def fields(self) -> FilesForm:
        """Return the values of the fields."""
        return FilesForm(self.folder.text(), _SUFFIXES[self.format.currentText()], self.axes.text())

    def suggest_folder(self, folder: str) -> None:
        """Fill in an output folder if the field is empty."""
        if not self.folder.text().strip():
            self._set_folder(folder)

    def show_files(self, files: Sequence[FileStatus]) -> None:
        """Show the whole list."""
        self.table.show_files(files)
        self._enable()

    def show_file(self, number: int, file: FileStatus) -> None:
        """Update a row of the list."""
        self.table.show_file(number, file)

    def set_running(self, running: bool) -> None:
        """Disable everything but Cancel while the list is denoised."""
        self.running = running
        self._enable()
        self._changed()

    def set_blocked(self, blocked: bool) -> None:
        """Disable Start while the dock denoises a layer."""
        self._blocked = blocked
        self._enable()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Accept files and folders."""
        if event is not None and not self.running and _paths(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Add the dropped files and folders."""
        if event is not None and (paths := _paths(event)):
            event.acceptProposedAction()
            self.presenter.add(paths)

    def _enable(self) -> None:
        selected = self._selected_rows()
        self.start_button.setEnabled(not self.running and not self._blocked and self.table.rowCount() > 0)
        self.cancel_button.setEnabled(self.running)
        self.remove_button.setEnabled(not self.running and bool(selected))
        self.open_button.setEnabled(bool(selected))
        for widget in (self.files_button, self.folder_button, self.folder_row, self.format, self.axes):
            widget.setEnabled(not self.running)

    def _selected_rows(self) -> list[int]:
        return sorted({index.row() for index in self.table.selectedIndexes()})

    def _make_fields(self) -> None:
        self.table = FilesTable()
        self.files_button, self.folder_button = QPushButton("Add files..."), QPushButton("Add a folder...")
        self.remove_button, self.open_button = QPushButton("Remove"), QPushButton("Open")
        self.folder, self.axes, self.format = QLineEdit(), QLineEdit(), combo(list(_SUFFIXES))
        self._browse_button = QPushButton("...")
        self._browse_button.setMaximumWidth(32)
        self.folder_row = row(self.folder, self._browse_button)
        self.start_button, self.cancel_button = QPushButton("Start"), QPushButton("Cancel")
        self.messages.setMinimumHeight(60)
        self.axes.setPlaceholderText("from each file")
        self.setAcceptDrops(True)
        tooltips: dict[QWidget, str] = {
            self.folder_button: "Add the images in a folder, without its subfolders; a zarr folder is one image",
            self.remove_button: "Remove the selected images from the list; the files are not changed",
            self.open_button: "Open the selected results in the viewer; so does a double click",
            self.folder: "Folder of the results, which are named after their images; created if it does not exist",
            self.axes: "One letter per dimension, such as ZYX, for files that do not name their axes",
            self.start_button: "Denoise the list with the model and settings above; failed files do not stop it",
            self.cancel_button: "Cancel after the current tile; finished tiles and images are kept",
        }
        set_tooltips(tooltips)

    def _lay_out(self) -> None:
        rows = form_layout()
        rows.addRow("folder", self.folder_row)
        rows.addRow("format", self.format)
        rows.addRow("axes", self.axes)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table, 3)
        layout.addWidget(row(self.files_button, self.folder_button, self.remove_button, self.open_button))
        layout.addLayout(rows)
        layout.addWidget(row(self.start_button, self.cancel_button))
        layout.addWidget(self.progress_bar)
        layout.addWidget(self.progress_label)
        layout.addWidget(self.messages, 1)

    def _connect(self) -> None:
        actions = {
            self.files_button: self._add_files,
            self.folder_button: self._add_folder,
            self.remove_button: self._remove,
            self.open_button: self._open,
            self._browse_button: self._choose_folder,
            self.start_button: self.presenter.start,
            self.cancel_button: self.presenter.cancel,
        }
        connect_buttons(actions)
        self.table.cellDoubleClicked.connect(self._open_row)
        self.table.itemSelectionChanged.connect(self._enable)

    def _add_files(self) -> None:
        self.presenter.add(choose_files(self))

    def _add_folder(self) -> None:
        if folder := choose_folder(self, "Denoise the images of a folder"):
            self.presenter.add([folder])

    def _choose_folder(self) -> None:
        if folder := choose_folder(self, "Write the results to"):
            self._set_folder(folder)

    def _set_folder(self, folder: str) -> None:
        self.folder.setText(str(Path(folder)))

    def _remove(self) -> None:
        self.presenter.remove(self._selected_rows())

    def _open(self) -> None:
        for number in self._selected_rows():
            self.presenter.open(number)

    def _open_row(self, number: int, _column: int) -> None:
        self.presenter.open(number)


def _paths(event: QDropEvent) -> list[str]:
    """Return the local files and folders of a drop event."""
    mime = event.mimeData()
    return [url.toLocalFile() for url in mime.urls() if url.isLocalFile()] if mime is not None else []
