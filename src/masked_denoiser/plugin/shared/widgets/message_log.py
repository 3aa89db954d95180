"""Message log of a dock."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QTextEdit, QToolButton, QVBoxLayout, QWidget

from masked_denoiser.plugin.shared.wording import with_fields

#: Height in pixels of the unfolded log.
_LOG_HEIGHT = 150

#: Colour of the word that marks an error, visible on the backgrounds of napari's dark and light theme.
ERROR_COLOUR = "#e5484d"


class MessageLog(QWidget):
    """The last message and, unfolded, all of them: lines of text, with errors marked in red."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.log, self.toggle = QLabel(), QTextEdit(), QToolButton()
        self.last.setWordWrap(True)
        self.last.setTextFormat(Qt.TextFormat.RichText)
        self.last.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        # Long paths without spaces must not widen the dock.
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.last.setSizePolicy(policy)
        self.log.setReadOnly(True)
        self.log.setFixedHeight(_LOG_HEIGHT)
        self.toggle.setCheckable(True)
        self.toggle.setToolTip("Show all messages")
        self.toggle.toggled.connect(self._unfold)
        header = QHBoxLayout()
        header.addWidget(self.toggle, 0, Qt.AlignmentFlag.AlignTop)
        header.addWidget(self.last, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(header)
        layout.addWidget(self.log)
        self._unfold(False)

    def add(self, text: str) -> None:
        """Append a line, with names of fields in place of flags."""
        self._append(f"<span>{escape(with_fields(text))}</span>")

    def add_error(self, text: str) -> None:
        """Append an error, with names of fields in place of flags."""
        self._append(f'<span><b style="color:{ERROR_COLOUR}">Error:</b> {escape(with_fields(text))}</span>')

    def clear(self) -> None:
        """Remove all messages."""
        self.log.clear()
        self.last.clear()

    def toPlainText(self) -> str:  # noqa: N802 (Qt's name)
        """Return all messages."""
        return str(self.log.toPlainText())

    def _append(self, html: str) -> None:
        self.log.append(html)
        self.last.setText(html)
        if (bar := self.log.verticalScrollBar()) is not None:
            bar.setValue(bar.maximum())

    def _unfold(self, unfolded: bool) -> None:
        self.toggle.setText("▾" if unfolded else "▸")
        self.log.setVisible(unfolded)
