"""File dialogs of the docks."""

from __future__ import annotations

from qtpy.QtWidgets import QFileDialog, QWidget

_FILTER = "Images (*.tif *.tiff *.btf *.svs *.png *.jpg *.jpeg);;All files (*)"


def choose_folder(parent: QWidget, title: str) -> str:
    """Ask for a folder; return "" if the user cancels."""
    return str(QFileDialog.getExistingDirectory(parent, title))


def choose_files(parent: QWidget) -> list[str]:
    """Ask for image files; return [] if the user cancels."""
    paths, _ = QFileDialog.getOpenFileNames(parent, "Choose images", "", _FILTER)
    return list(paths)
