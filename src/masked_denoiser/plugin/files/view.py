"""Interface of the Files tab, as its presenter uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from masked_denoiser.plugin.shared.task_view import TaskView


@dataclass(frozen=True)
class FileStatus:
    """State of an image of the list.

    Attributes:
        image: path of the image.
        state: text such as "waiting", "43 %", "done in 8 s" or "failed: ...".
        notes: messages of its job.
        output: path of the result once it is complete.
        failed: whether its job failed.
    """

    image: str
    state: str = "waiting"
    notes: tuple[str, ...] = ()
    output: Path | None = None
    failed: bool = False


@dataclass(frozen=True)
class FilesForm:
    """Values of the tab's fields.

    Attributes:
        folder: output folder, as typed.
        suffix: suffix of the outputs, such as ".ome.zarr"; "auto" for the format of each image.
        axes: axes of images whose files do not name them, as typed.
    """

    folder: str
    suffix: str
    axes: str


class FilesView(TaskView, Protocol):
    """Files tab, as its presenter uses it."""

    def fields(self) -> FilesForm:
        """Return the values of the fields."""

    def suggest_folder(self, folder: str) -> None:
        """Fill in an output folder if the field is empty."""

    def show_files(self, files: Sequence[FileStatus]) -> None:
        """Show the whole list."""

    def show_file(self, number: int, file: FileStatus) -> None:
        """Update a row of the list."""

    def set_running(self, running: bool) -> None:
        """Disable everything but Cancel while the list is denoised."""
