"""Table of the Files tab."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from masked_denoiser.images.discovery import name_of
from masked_denoiser.plugin.files.view import FileStatus
from masked_denoiser.plugin.shared.widgets.message_log import ERROR_COLOUR


class FilesTable(QTableWidget):
    """Table of images and their states, with a hint while it is empty."""

    def __init__(self) -> None:
        super().__init__(0, 2)
        self.setHorizontalHeaderLabels(["image", "state"])
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setMinimumHeight(110)
        if (rows := self.verticalHeader()) is not None:
            rows.hide()
        if (columns := self.horizontalHeader()) is not None:
            columns.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
            columns.resizeSection(0, 150)

    def show_files(self, files: Sequence[FileStatus]) -> None:
        """Show the whole list."""
        self.setRowCount(len(files))
        for number, file in enumerate(files):
            self.show_file(number, file)

    def show_file(self, number: int, file: FileStatus) -> None:
        """Update a row."""
        for column, text in enumerate((name_of(file.image), file.state)):
            item = self.item(number, column)
            if item is None:
                item = QTableWidgetItem()
                self.setItem(number, column, item)
            item.setText(text)
            item.setToolTip("\n".join((file.image, file.state, *file.notes)))
            # Without a colour of its own, a row follows the theme.
            item.setData(Qt.ItemDataRole.ForegroundRole, QColor(ERROR_COLOUR) if file.failed and column else None)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 (Qt's name)
        """Draw the table, or the hint while it is empty."""
        super().paintEvent(event)
        viewport = self.viewport()
        if self.rowCount() or viewport is None:
            return
        painter = QPainter(viewport)
        painter.setPen(self.palette().text().color())
        painter.drawText(viewport.rect(), Qt.AlignmentFlag.AlignCenter, "Drop images or folders here")
        painter.end()
