"""Choice of a model, with its description."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QMenu, QPushButton

from masked_denoiser.plugin.shared.widgets.form_widgets import combo


class ModelsButton(QPushButton):
    """Button with a menu of the other models, to compare one of them with the chosen one.

    Args:
        field: the list of models.
        compare: called with the name of the other model.
    """

    def __init__(self, field: ModelField, compare: Callable[[str], None]) -> None:
        super().__init__("Compare models")
        self._field, self._compare = field, compare
        self.setToolTip("Preview the view with the chosen model and with another one, next to each other")
        self.models = QMenu(self)
        self.models.aboutToShow.connect(self._fill)
        self.setMenu(self.models)

    def _fill(self) -> None:
        self.models.clear()
        chosen = self._field.combo.currentText()
        for name in (self._field.combo.itemText(number) for number in range(self._field.combo.count())):
            if name != chosen and (action := self.models.addAction(name)) is not None:
                action.triggered.connect(partial(self._chosen, name))

    def _chosen(self, name: str, _checked: bool = False) -> None:
        self._compare(name)


class ModelField:
    """List of models, and the description of the chosen one.

    Attributes:
        combo: the list.
        description: the description, hidden if there is none.
    """

    def __init__(self) -> None:
        self.combo, self.description = combo([]), QLabel()
        self._descriptions: dict[str, str] = {}
        self.description.setWordWrap(True)
        self.combo.currentIndexChanged.connect(self._show_description)

    def show_models(self, names: list[str], chosen: str) -> None:
        """Set the list of models, with the descriptions that are known; a `chosen` of "" keeps the choice."""
        chosen = chosen or self.combo.currentText()
        self.combo.clear()
        self.combo.addItems(names)
        self.combo.setCurrentText(chosen)
        self.describe(self._descriptions)

    def describe(self, descriptions: dict[str, str]) -> None:
        """Show descriptions of models, by name."""
        self._descriptions = descriptions
        for number in range(self.combo.count()):
            text = descriptions.get(self.combo.itemText(number), "")
            self.combo.setItemData(number, text, Qt.ItemDataRole.ToolTipRole)
        self._show_description()

    def _show_description(self, _index: int = 0) -> None:
        text = self.combo.itemData(self.combo.currentIndex(), Qt.ItemDataRole.ToolTipRole) or ""
        self.combo.setToolTip(text)
        self.description.setText(text)
        self.description.setVisible(bool(text))
