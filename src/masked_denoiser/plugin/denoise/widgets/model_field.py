"""Choice of a model, with its description."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from masked_denoiser.plugin.shared.widgets.form_widgets import combo


class ModelField:
    """List of models, and the description of the chosen one.

    Attributes:
        combo: the list.
        description: the description, hidden if there is none.
    """

    def __init__(self) -> None:
        self.combo, self.description = combo([]), QLabel()
        self.description.setWordWrap(True)
        self.combo.currentIndexChanged.connect(self._show_description)

    def show_models(self, names: list[str], chosen: str) -> None:
        """Set the list of models."""
        self.combo.clear()
        self.combo.addItems(names)
        self.combo.setCurrentText(chosen)

    def describe(self, descriptions: dict[str, str]) -> None:
        """Show descriptions of models, by name."""
        for number in range(self.combo.count()):
            text = descriptions.get(self.combo.itemText(number), "")
            self.combo.setItemData(number, text, Qt.ItemDataRole.ToolTipRole)
        self._show_description()

    def _show_description(self, _index: int = 0) -> None:
        text = self.combo.itemData(self.combo.currentIndex(), Qt.ItemDataRole.ToolTipRole) or ""
        self.combo.setToolTip(text)
        self.description.setText(text)
        self.description.setVisible(bool(text))
