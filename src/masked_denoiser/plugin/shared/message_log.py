"""Message log of a dock."""

from __future__ import annotations

from html import escape

from qtpy.QtWidgets import QTextEdit


class MessageLog(QTextEdit):
    """Read-only lines of text, errors in red, scrolled to the last line."""

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setMinimumHeight(90)

    def add(self, text: str) -> None:
        """Append a line."""
        self._append(f"<span>{escape(text)}</span>")

    def add_error(self, text: str) -> None:
        """Append an error."""
        self._append(f'<span style="color:#ff6b6b"><b>Error:</b> {escape(text)}</span>')

    def _append(self, html: str) -> None:
        self.append(html)
        if (bar := self.verticalScrollBar()) is not None:
            bar.setValue(bar.maximum())
