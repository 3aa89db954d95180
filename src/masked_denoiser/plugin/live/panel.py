"""Widgets of the live view: a switch, what it does, and its progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QProgressBar, QWidget

from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.presenter import DenoisePresenter
from masked_denoiser.plugin.live.controller import CACHE_BYTES, LiveView
from masked_denoiser.plugin.shared.task_dock import main_window
from masked_denoiser.plugin.shared.wording import with_fields

#: Milliseconds between two looks at the view.
_POLL_INTERVAL_MS = 50

#: Height and width of a canvas that is not found.
_DEFAULT_CANVAS = (800, 1000)

_TOOLTIP = (
    "Denoise what the canvas shows, at the resolution at which it is shown, while you pan, zoom and move the sliders. "
    f"Up to {CACHE_BYTES // 2**20} MB of denoised pixels are kept in memory, or as much as the preferences say."
)


class LivePanel(QWidget):
    """Switch of the live view of the layer that the dock has chosen.

    Args:
        viewer: the viewer.
        presenter: returns the presenter of the dock, which knows the chosen layer and its results.
        form: returns the fields of the dock.
    """

    def __init__(self, viewer: Any, presenter: Callable[[], DenoisePresenter], form: Callable[[], Form]) -> None:
        super().__init__()
        self._presenter, self._form = presenter, form
        self._was_on = self._follows = False
        self.switch, self.status, self.progress_bar = QCheckBox("live view"), QLabel(), QProgressBar()
        self.switch.setToolTip(_TOOLTIP)
        self.status.setWordWrap(True)
        self.progress_bar.setMaximumWidth(80)
        self.progress_bar.setTextVisible(False)
        self.progress_bar.hide()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget, stretch in ((self.switch, 0), (self.status, 1), (self.progress_bar, 0)):
            layout.addWidget(widget, stretch)
        self.live = LiveView(viewer, self, lambda: presenter().results)
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL_INTERVAL_MS)
        self._timer.timeout.connect(self._poll)
        self.switch.toggled.connect(self._switch)

    def form(self) -> Form:
        """Return the values of the fields; raise FormError if one is invalid."""
        return self._form()

    def canvas_size(self) -> tuple[int, int]:
        """Return height and width of the canvas."""
        window = main_window(self)
        centre = window.centralWidget() if window is not None else None
        widgets = centre.findChildren(QWidget) if centre is not None else []
        canvas = next((widget for widget in widgets if widget.inherits("QOpenGLWidget")), None)
        return (canvas.height(), canvas.width()) if canvas is not None else _DEFAULT_CANVAS

    def show_live(self, on: bool, text: str, share: float | None) -> None:
        """Show whether the live view is on, what it does, and the share of the view that is denoised."""
        self.switch.blockSignals(True)
        self.switch.setChecked(on)
        self.switch.blockSignals(False)
        self.status.setText(with_fields(text))
        self.progress_bar.setVisible(on and share != 1.0)
        self.progress_bar.setRange(0, 0 if share is None else 100)
        self.progress_bar.setValue(0 if share is None else round(100 * share))
        self._timer.start() if on else self._timer.stop()
        if on != self._was_on:
            self._was_on = on
            self._presenter().update_comparison()

    def update_comparison(self) -> None:
        """Show what is visible after layers have changed."""
        self._presenter().update_comparison()

    def follow_layer(self) -> None:
        """Show the chosen layer live instead of another one, if the live view is on."""
        self._follows = True  # at the next tick: layers must not be removed while napari removes others

    def stop(self) -> None:
        """Stop the live view, because the window closes."""
        self._timer.stop()
        self.live.stop()

    def _poll(self) -> None:
        self.live.process_events()  # which switches off if layers were removed
        follows, self._follows = self._follows, False
        layer = self._presenter().layer
        if follows and self.live.on and layer is not None:
            self.live.switch_on(layer)
        elif follows and self.live.on:
            self.live.switch_off()

    def _switch(self, on: bool) -> None:
        if not on:
            self.live.switch_off()
        elif (layer := self._presenter().layer) is None:
            self.show_live(False, "open an image first", None)
        else:
            self.live.switch_on(layer)
