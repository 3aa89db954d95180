"""File dialogs of both docks."""

from __future__ import annotations

from qtpy.QtWidgets import QFileDialog, QWidget

_FILTER = "Images (*.tif *.tiff *.btf *.svs *.png *.jpg *.jpeg);;All files (*)"


def choose_folder(parent: QWidget, title: str) -> str:
    """Asks for a folder; empty if the user chose none."""
    return str(QFileDialog.getExistingDirectory(parent, title))


def choose_files(parent: QWidget) -> list[str]:
    """Asks for image files."""
    paths, _ = QFileDialog.getOpenFileNames(parent, "Choose images", "", _FILTER)
    return list(paths)
