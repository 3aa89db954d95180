"""Checkable list of training images: layers and files."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtCore import Signal as QtSignal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from masked_denoiser.plugin.shared.file_dialogs import choose_files, choose_folder
from masked_denoiser.plugin.shared.widgets.form_widgets import row

#: Roles of the data of an item: path of a file, number of a layer.
_PATH, _NUMBER = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1


class ImageList(QWidget):
    """List of image layers, followed by the added files and folders."""

    #: Emitted when an item was checked, unchecked, added or removed.
    changed = QtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.list = QListWidget()
        self.list.setMaximumHeight(90)
        self.list.setToolTip("Training images: tick layers, or add files and folders; large images are read in patches")
        files, folder = QPushButton("Add files..."), QPushButton("Add a folder...")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.list)
        layout.addWidget(row(files, folder))
        files.clicked.connect(self._choose_files)
        folder.clicked.connect(self._choose_folder)
        self.list.itemChanged.connect(self._item_changed)

    def checked(self) -> tuple[list[int], list[Path]]:
        """Return the numbers of the checked layers, and the checked files and folders."""
        items = [item for item in self._items() if item.checkState() == Qt.CheckState.Checked]
        numbers = [item.data(_NUMBER) for item in items if item.data(_PATH) is None]
        return numbers, [Path(item.data(_PATH)) for item in items if item.data(_PATH) is not None]

    def show_layers(self, names: list[str], active: int, before: list[int]) -> None:
        """Set the list of layers; those that were checked stay so, or else the active layer is checked.

        Args:
            names: of the layers.
            active: number of the active layer.
            before: number of each layer in the list until now; -1 for new layers.
        """
        checked, _ = self.checked()
        self.list.blockSignals(True)
        for item in [item for item in self._items() if item.data(_PATH) is None]:
            self.list.takeItem(self.list.row(item))
        for number, name in reversed(list(enumerate(names))):
            item = _item(name, before[number] in checked)
            item.setData(_NUMBER, number)
            self.list.insertItem(0, item)
        numbers, files = self.checked()
        if not numbers and not files and 0 <= active < len(names):
            self._items()[active].setCheckState(Qt.CheckState.Checked)
        self.list.blockSignals(False)
        self.changed.emit()

    def add_files(self, paths: list[str]) -> None:
        """Add files or folders, and check them."""
        for path in paths:
            item = _item(Path(path).name, True)
            item.setData(_PATH, path)
            item.setToolTip(path)
            self.list.addItem(item)
        self.changed.emit()

    def _items(self) -> list[QListWidgetItem]:
        items = (self.list.item(number) for number in range(self.list.count()))
        return [item for item in items if item is not None]

    def _item_changed(self, _item: QListWidgetItem) -> None:
        self.changed.emit()

    def _choose_files(self, _checked: bool = False) -> None:
        self.add_files(choose_files(self))

    def _choose_folder(self, _checked: bool = False) -> None:
        if folder := choose_folder(self, "Train on the images of a folder"):
            self.add_files([folder])


def _item(text: str, checked: bool) -> QListWidgetItem:
    item = QListWidgetItem(text)
    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
    item.setCheckState(Qt.CheckState.Checked if checked else Qt.CheckState.Unchecked)
    return item
