"""File dialogs of the docks."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from masked_denoiser.images.suffixes import FILE_SUFFIXES, last_parts

_FILTER = f"Images ({' '.join(f'*{suffix}' for suffix in last_parts(FILE_SUFFIXES))});;All files (*)"


def choose_report(parent: QWidget, name: str) -> Path | None:
    """Ask where to write a report, and whether to replace an existing one; return None if the user cancels."""
    path, _ = QFileDialog.getSaveFileName(parent, "Write the report to", name, "HTML page (*.html)")
    return (Path(path) if path.lower().endswith((".html", ".htm")) else Path(f"{path}.html")) if path else None


def choose_folder(parent: QWidget, title: str) -> str:
    """Ask for a folder; return "" if the user cancels."""
    return str(QFileDialog.getExistingDirectory(parent, title))


def choose_files(parent: QWidget) -> list[str]:
    """Ask for image files; return [] if the user cancels."""
    paths, _ = QFileDialog.getOpenFileNames(parent, "Choose images", "", _FILTER)
    return list(paths)
