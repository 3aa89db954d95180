"""Questions of the docks, which may have a destructive answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QMessageBox

from masked_denoiser.plugin.denoise.task import OutputExists, ask_about
from masked_denoiser.plugin.shared.task_dock import TaskDock

CHOICES = ("Overwrite", "Stop")


class Dock(TaskDock):
    """A dock without a presenter."""

    def stop(self) -> None:
        """Do nothing."""


def answer(qtbot: Any, act: Any) -> str:
    """Return the answer that a user gives by acting on the message box."""
    dock = Dock()
    qtbot.addWidget(dock)

    def act_on_box() -> None:
        box = next(widget for widget in QApplication.topLevelWidgets() if isinstance(widget, QMessageBox))
        act(box)

    QTimer.singleShot(200, act_on_box)
    return dock.ask("a.ome.zarr exists.", *CHOICES)


def test_enter_changes_nothing(qtbot: Any) -> None:
    assert answer(qtbot, lambda box: qtbot.keyClick(box, Qt.Key.Key_Return)) == "Stop"


@pytest.mark.parametrize("number", [0, 1])
def test_accelerators_of_the_desktop_do_not_change_the_answer(number: int, qtbot: Any) -> None:
    def click(box: QMessageBox) -> None:
        for button in box.buttons():
            button.setText(f"&{button.text()}")
        box.buttons()[[b.text() for b in box.buttons()].index(f"&{CHOICES[number]}")].click()

    assert answer(qtbot, click) == CHOICES[number]


@pytest.mark.parametrize(
    ("text", "unfinished", "action"),
    [("Overwrite", False, "overwrite"), ("Start again", True, "overwrite"), ("Resume", True, "resume"),
     ("Stop", False, None), ("&Stop", False, None), ("", True, None)],
)  # fmt: skip
def test_unknown_answers_change_nothing(text: str, unfinished: bool, action: str | None) -> None:
    assert ask_about(OutputExists(Path("a.ome.zarr"), unfinished), lambda *_: text) == action
