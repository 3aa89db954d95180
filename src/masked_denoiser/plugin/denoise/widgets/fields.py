"""Fields of the Denoise dock: the region, slices of T, Z and C, and the output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from masked_denoiser.plugin.denoise.form import Output, RegionKind, default_path
from masked_denoiser.plugin.shared.widgets.form_widgets import combo, row

#: Kinds of region by their label.
_KINDS: dict[str, RegionKind] = {"whole image": "whole", "current view": "view"}

#: Label of a Shapes layer, before its name.
_SHAPES_PREFIX = "shapes layer "


#: Kinds of output by their label.
_OUTPUTS: dict[str, Output] = {
    "New layer": "memory",
    "OME-Zarr on disk": "zarr",
    "OME-TIFF on disk": "tiff",
    "NIfTI on disk": "nifti",
}
#: Filters of the file dialog.
_FILTERS: dict[Output, str] = {
    "zarr": "OME-Zarr (*.ome.zarr *.zarr)",
    "tiff": "OME-TIFF (*.ome.tif *.ome.tiff *.tif)",
    "nifti": "NIfTI (*.nii.gz *.nii)",
}


class RegionField(QComboBox):
    """Choice of the whole image, the current view, or a Shapes layer."""

    def __init__(self) -> None:
        super().__init__()
        self._names: list[str] = []
        self.addItems(list(_KINDS))
        self.setToolTip("Rectangle to denoise. A Shapes layer gives its selected shape, or else its last one")

    @property
    def kind(self) -> RegionKind:
        """Kind of the chosen region."""
        return _KINDS.get(self.currentText(), "shapes")

    @property
    def shapes(self) -> str:
        """Name of the chosen Shapes layer; "" for another region."""
        return self.currentText().removeprefix(_SHAPES_PREFIX) if self.kind == "shapes" else ""

    def show_shapes(self, names: list[str]) -> None:
        """Set the list of Shapes layers, and keep the choice, even of a layer that was renamed or removed.

        A removed layer stays in the list as long as it is chosen: the whole image instead would not be what was asked.
        """
        texts = [*_KINDS, *(f"{_SHAPES_PREFIX}{name}" for name in names)]
        before, number = self.currentText(), self.currentIndex()
        if before not in texts and self.shapes in self._names and len(names) == len(self._names):
            before = texts[number]
        self._names = list(names)
        self.clear()
        self.addItems(texts if before in texts else [*texts, before])
        self.setCurrentText(before)


class SlicesField(QWidget):
    """Fields for ranges of those axes among T, Z and C that the layer has."""

    def __init__(self) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.ranges: dict[str, QLineEdit] = {}
        self._labels: dict[str, QLabel] = {}
        for letter in "TZC":
            self._labels[letter], self.ranges[letter] = QLabel(letter), QLineEdit()
            self.ranges[letter].setPlaceholderText("all")
            self.ranges[letter].setToolTip(
                f"Positions along {letter} to denoise, from 0: 3, 0:5 for 0 to 4, -1 for the last"
            )
            layout.addWidget(self._labels[letter])
            layout.addWidget(self.ranges[letter])
        self.current_button = QPushButton("current slice")
        self.current_button.setToolTip("Select the displayed slice; press again to select all slices")
        layout.addWidget(self.current_button)
        self.show_axes("")

    def text(self) -> str:
        """Return the ranges as a selection; "" for all slices."""
        texts = {letter: field.text().strip() for letter, field in self.ranges.items() if not field.isHidden()}
        return ",".join(f"{letter}={text}" for letter, text in texts.items() if text)

    def show_text(self, text: str) -> None:
        """Fill in ranges that `text` returned, and clear the others."""
        self.clear()
        for part in filter(None, re.split(r",(?=[TZC]=)", text)):
            letter, _, positions = part.partition("=")
            self.ranges[letter].setText(positions)

    def show_axes(self, letters: str) -> None:
        """Show the fields of these axes; hide and clear the others."""
        for letter, field in self.ranges.items():
            for widget in (field, self._labels[letter]):
                widget.setVisible(letter in letters.upper())
            if letter not in letters.upper():
                field.clear()
        self.current_button.setVisible(bool(set(self.ranges) & set(letters.upper())))

    def clear(self) -> None:
        """Select all slices."""
        for field in self.ranges.values():
            field.clear()

    def show_slice(self, position: Mapping[str, int]) -> None:
        """Select the slice at this position by axis letter; if it is selected already, select all slices."""
        shown = {letter: str(at) for letter, at in position.items() if letter in self.ranges}
        selected = all(self.ranges[letter].text() == text for letter, text in shown.items())
        for letter, text in shown.items():
            self.ranges[letter].setText("" if selected else text)


class OutputChoice(QWidget):
    """Choice of a new layer, or of a file or folder. Whether it may be overwritten is asked when the job starts."""

    def __init__(self) -> None:
        super().__init__()
        self.kind, self.path = combo(list(_OUTPUTS)), QLineEdit()
        self.kind.setToolTip("A new layer is in memory. An output on disk has any size, and its job can be resumed.")
        self._browse_button = QPushButton("...")
        self._browse_button.setMaximumWidth(32)
        self._browse_button.setToolTip("Choose the file")
        self._path_row = row(self.path, self._browse_button)
        self._name = "image"
        self._input: Path | None = None
        self._folder: Path | None = None
        self._suggested = ""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.kind)
        layout.addWidget(self._path_row)
        self.kind.currentIndexChanged.connect(self._kind_changed)
        self._browse_button.clicked.connect(self._choose)
        self._kind_changed()

    @property
    def output(self) -> Output:
        """Where the result is written."""
        return _OUTPUTS[self.kind.currentText()]

    def use_preferences(self, output: Output, folder: Path | None) -> None:
        """Choose a kind of output, and suggest paths in a folder; None for that of the input."""
        self._folder = folder
        self.kind.setCurrentText(next(label for label, kind in _OUTPUTS.items() if kind == output))
        self._kind_changed()

    def suggest(self, name: str, input: Path | None) -> None:
        """Suggest a path for a layer of this name and file, in the folder that the user has chosen before."""
        self._name, self._input = name, input
        if self.path.text() != self._suggested:
            self._folder = Path(self.path.text()).parent
        self._kind_changed()

    def rename(self, name: str) -> None:
        """Suggest a path for the new name of the layer; a path that was typed is kept."""
        self._name = name
        if self.path.text() == self._suggested:
            self._kind_changed()

    def _kind_changed(self, _index: int = 0) -> None:
        self._path_row.setVisible(self.output != "memory")
        self._suggested = default_path(self.output, self._name, self._folder, self._input, Path.home())
        self.path.setText(self._suggested)
        self.path.setToolTip(self._suggested)

    def _choose(self, _checked: bool = False) -> None:
        chosen, _ = QFileDialog.getSaveFileName(
            self,
            "Write the result to",
            self.path.text(),
            _FILTERS[self.output],
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if chosen:
            self.path.setText(chosen)
            self.path.setToolTip(chosen)
