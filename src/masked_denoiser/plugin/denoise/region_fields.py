"""The dock's fields for a part of the image: the region, and slices of T, Z and C."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QLineEdit, QPushButton, QWidget

from masked_denoiser.plugin.denoise.form import RegionKind

_KINDS: dict[str, RegionKind] = {"whole image": "whole", "current view": "view"}
_SHAPES = "shapes layer "


class RegionField(QComboBox):
    """Whole image, current view, or a Shapes layer."""

    def __init__(self) -> None:
        super().__init__()
        self.addItems(list(_KINDS))
        self.setToolTip("Which rectangle is denoised. Of a Shapes layer the selected shape is taken, else the last one")

    @property
    def kind(self) -> RegionKind:
        """What was chosen."""
        return _KINDS.get(self.currentText(), "shapes")

    @property
    def shapes(self) -> str:
        """The name of the chosen Shapes layer; empty for none."""
        return self.currentText().removeprefix(_SHAPES) if self.kind == "shapes" else ""

    def show_shapes(self, names: list[str]) -> None:
        """Offers these Shapes layers, and keeps the choice where it can; a renamed one stays chosen."""
        texts = [*_KINDS, *(f"{_SHAPES}{name}" for name in names)]
        before, number = self.currentText(), self.currentIndex()
        renamed = before not in texts and len(texts) == self.count()
        self.clear()
        self.addItems(texts)
        self.setCurrentIndex(number if renamed else max(0, self.findText(before)))


class SlicesField(QWidget):
    """Ranges of T, Z and C, for the axes that the layer has."""

    def __init__(self) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.ranges: dict[str, QLineEdit] = {}
        self._labels: dict[str, QLabel] = {}
        for letter in "TZC":
            self._labels[letter], self.ranges[letter] = QLabel(letter), QLineEdit()
            self.ranges[letter].setPlaceholderText("all")
            self.ranges[letter].setToolTip(f"Positions along {letter} to denoise, from 0: 3, or 0:5 for 0 to 4")
            layout.addWidget(self._labels[letter])
            layout.addWidget(self.ranges[letter])
        self.this = QPushButton("this slice")
        self.this.setToolTip("Takes the slice that is shown now; press again for all")
        layout.addWidget(self.this)
        self.show_axes("")

    def text(self) -> str:
        """The ranges as a selection; empty for all."""
        asked = {letter: field.text().strip() for letter, field in self.ranges.items() if not field.isHidden()}
        return ",".join(f"{letter}={text}" for letter, text in asked.items() if text)

    def show_axes(self, letters: str) -> None:
        """Shows the fields of these axes. Those of other axes are emptied."""
        for letter, field in self.ranges.items():
            for widget in (field, self._labels[letter]):
                widget.setVisible(letter in letters.upper())
            if letter not in letters.upper():
                field.clear()
        self.this.setVisible(bool(set(self.ranges) & set(letters.upper())))

    def clear(self) -> None:
        """Takes all slices again, for another layer."""
        for field in self.ranges.values():
            field.clear()

    def show_slice(self, position: Mapping[str, int]) -> None:
        """Fills in one position; empties the fields where it stands there already."""
        shown = {letter: str(at) for letter, at in position.items() if letter in self.ranges}
        again = all(self.ranges[letter].text() == text for letter, text in shown.items())
        for letter, text in shown.items():
            self.ranges[letter].setText("" if again else text)
