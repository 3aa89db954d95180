"""The Denoise dock and a viewer without a window."""

from __future__ import annotations

import pytest
from napari.components import ViewerModel

from masked_denoiser.plugin.denoise_dock import DenoiseDock
from tests.plugin.compare.waiting import wait


@pytest.fixture
def viewer(models):
    return ViewerModel()


@pytest.fixture
def open_dock(viewer, qtbot):
    opened = []

    def open_() -> DenoiseDock:
        dock = DenoiseDock(viewer)
        qtbot.addWidget(dock)
        opened.append(dock)
        dock.expert.fields["tile"].value = 64
        dock.expert.noise.setCurrentText("none")
        wait(dock, qtbot)
        return dock

    yield open_
    for dock in opened:
        dock.stop()
