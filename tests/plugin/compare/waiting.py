"""Waiting for the dock, and what a viewer shows."""

from __future__ import annotations

TIMEOUT = 120_000


def wait(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.presenter.busy, timeout=TIMEOUT)


def visible(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers if layer.visible]
