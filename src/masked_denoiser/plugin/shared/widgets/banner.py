"""Banner: a sentence that needs attention, with a button."""

from __future__ import annotations

from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton


class Banner(QFrame):
    """Framed text with a button, hidden while there is no text."""

    def __init__(self, button: str) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.label, self.button = QLabel(), QPushButton(button)
        self.label.setWordWrap(True)
        layout = QHBoxLayout(self)
        layout.addWidget(self.label, 1)
        layout.addWidget(self.button)
        self.hide()

    def show_text(self, text: str) -> None:
        """Show a text; hide the banner if it is empty."""
        self.label.setText(text)
        self.setVisible(bool(text))
