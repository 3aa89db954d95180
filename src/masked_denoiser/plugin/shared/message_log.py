"""Where a dock writes what it has to say."""

from __future__ import annotations

from html import escape

from qtpy.QtWidgets import QTextEdit


class MessageLog(QTextEdit):
    """Lines of text, errors in red."""

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setMinimumHeight(90)

    def say(self, text: str) -> None:
        """Adds a line."""
        self.append(f"<span>{escape(text)}</span>")

    def fail(self, text: str) -> None:
        """Adds an error."""
        self.append(f'<span style="color:#ff6b6b"><b>Error:</b> {escape(text)}</span>')
