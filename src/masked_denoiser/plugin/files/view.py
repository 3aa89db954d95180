"""What the Files tab shows, and what its logic needs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Row:
    """A line of the list.

    Attributes:
        image: its path.
        state: "waiting", "43 %", "done in 8 s", "failed: ...".
        notes: what was said of it.
        output: its result, once that is complete.
        failed: whether it failed.
    """

    image: str
    state: str = "waiting"
    notes: tuple[str, ...] = ()
    output: Path | None = None
    failed: bool = False


@dataclass(frozen=True)
class Wishes:
    """The fields of the tab."""

    folder: str
    ending: str
    axes: str


class FilesView(Protocol):
    """What the presenter needs of the tab."""

    def wishes(self) -> Wishes:
        """The fields as they stand."""

    def suggest_folder(self, folder: str) -> None:
        """Fills in a folder for the outputs, if the user has given none."""

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Shows the whole list."""

    def show_row(self, number: int, row: Row) -> None:
        """Shows one line anew."""

    def show_progress(self, share: float | None, text: str) -> None:
        """Moves the bar; None while nobody knows how long it takes."""

    def say(self, text: str) -> None:
        """Adds a line to the notes."""

    def fail(self, text: str) -> None:
        """Adds an error to the notes."""

    def set_running(self, running: bool) -> None:
        """Leaves only Cancel to be pressed while a list is denoised."""

    def wake(self) -> None:
        """Begins to call `tick`."""
