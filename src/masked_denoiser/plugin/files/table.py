"""The list of the Files tab."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from masked_denoiser.images.discovery import name_of
from masked_denoiser.plugin.files.view import Row


class FilesTable(QTableWidget):
    """Images and their states; says what to do while it is empty."""

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

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Shows the whole list."""
        self.setRowCount(len(rows))
        for number, one in enumerate(rows):
            self.show_row(number, one)

    def show_row(self, number: int, one: Row) -> None:
        """Shows one line anew."""
        for column, text in enumerate((name_of(one.image), one.state)):
            item = self.item(number, column)
            if item is None:
                item = QTableWidgetItem()
                self.setItem(number, column, item)
            item.setText(text)
            item.setToolTip("\n".join((one.image, one.state, *one.notes)))
            item.setForeground(QColor("#ff6b6b") if one.failed and column else self.palette().text())

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draws the table, or the hint."""
        super().paintEvent(event)
        viewport = self.viewport()
        if self.rowCount() or viewport is None:
            return
        painter = QPainter(viewport)
        painter.setPen(self.palette().text().color())
        painter.drawText(viewport.rect(), Qt.AlignmentFlag.AlignCenter, "Drop images or folders here")
        painter.end()
