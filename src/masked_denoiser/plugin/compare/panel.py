"""Choice of how an image is compared with its result, and keyboard shortcuts for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol
from weakref import WeakMethod

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.plugin.compare.comparison import MODES, Comparison, Mode
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.presenter import DenoisePresenter
from masked_denoiser.plugin.shared.wording import describe_error

#: Keyboard shortcuts of the canvas by what they choose; the first is to be held.
HOLD_KEY = "b"
KEYS: dict[str, Mode] = {"Shift-b": "split", "Alt-b": "side by side"}

#: Entries of the list by mode.
_LABELS: dict[Mode, str] = {
    "result": "show the result",
    "original": "show the original",
    "split": "split: original | result",
    "side by side": "side by side",
}

_TOOLTIP = (
    "Show the result, the original, or both. Drag the line of the split, or drag anywhere with Shift. "
    "Keys over the canvas: hold B to see the image before, Shift+B for the split, Alt+B for side by side."
)


class CompareDock(Protocol):
    """The dock, as this widget uses it."""

    presenter: DenoisePresenter

    def form(self) -> Form:
        """Return the values of the fields; raise FormError if one is invalid."""

    def show_error(self, text: str) -> None:
        """Append an error."""


class ComparePanel(QComboBox):
    """List of ways to compare the chosen layer with its result.

    Args:
        viewer: the viewer, which gets the shortcuts.
        dock: the dock, which knows the chosen layer.
    """

    def __init__(self, viewer: Any, dock: Callable[[], CompareDock]) -> None:
        super().__init__()
        self._viewer, self._dock = viewer, dock
        self.addItems([_LABELS[mode] for mode in MODES])
        self.setToolTip(_TOOLTIP)
        self.setEnabled(False)
        self.comparison = Comparison(viewer, lambda: dock().presenter.results)
        self.activated.connect(self._activated)
        # Layers must not be removed while napari removes others, as it tells of each of them.
        self._update_timer = QTimer(self)
        self._update_timer.setSingleShot(True)
        self._update_timer.timeout.connect(self._update)
        self._replaced: dict[str, Any] = {}  # bindings of the user, by key
        self._bound: dict[str, Any] = {}
        self._bind_keys()

    def show_state(self, possible: bool) -> None:
        """Enable the choice if there is a result, and select the current mode when layers have settled."""
        self._update_timer.start(0)
        self.setEnabled(possible)

    def choose(self, mode: Mode) -> None:
        """Compare in this mode, or report why that is not possible."""
        dock = self._dock()
        try:
            if dock.presenter.layer is not None:
                self.comparison.choose(dock.presenter.layer, mode, dock.form().axes or None)
        except MaskedDenoiserError as error:
            dock.show_error(describe_error(error))
        self._update()

    def show_pair(self, layer: Any, left: Any, right: Any) -> None:
        """Show two results of an image layer next to each other."""
        self.comparison.show_pair(layer, left, right)
        self._update()

    def stop(self) -> None:
        """Release the viewer and restore its keys, because the window closes."""
        self._update_timer.stop()
        for key, function in self._bound.items():
            removed = self._viewer.bind_key(key, None, overwrite=True)
            restored = self._replaced[key] if removed is function else removed
            if restored is not None:
                self._viewer.bind_key(key, restored, overwrite=True)
        self._bound, self._replaced = {}, {}
        self.comparison.disconnect()

    def _update(self) -> None:
        self.comparison.update()
        layer = self._dock().presenter.layer
        self.setEnabled(self._dock().presenter.results.has_results(layer))
        self.setCurrentIndex(MODES.index(self.comparison.mode(layer)) if layer is not None else 0)

    def _activated(self, index: int) -> None:
        self.choose(MODES[index])

    def _bind_keys(self) -> None:
        # The viewer must not keep the dock alive.
        hold, toggle = WeakMethod(self._hold), WeakMethod(self._toggle)
        self._bound = {HOLD_KEY: partial(_run_hold, hold)}
        self._bound |= {key: partial(_run_toggle, toggle, mode) for key, mode in KEYS.items()}
        for key, function in self._bound.items():
            self._replaced[key] = self._viewer.bind_key(key, None, overwrite=True)
            self._viewer.bind_key(key, function, overwrite=True)

    def _hold(self) -> Iterator[None]:
        layer = self._dock().presenter.layer
        return self.comparison.hold_original(layer) if layer is not None else iter(())

    def _toggle(self, mode: Mode) -> None:
        if self.isEnabled():
            self.choose("result" if self.comparison.mode(self._dock().presenter.layer) == mode else mode)


def _run_hold(hold: WeakMethod[Any], _viewer: Any) -> Iterator[None]:
    # napari runs what follows the yield when the key is released, of generator functions only.
    if (method := hold()) is not None:
        yield from method()


def _run_toggle(toggle: WeakMethod[Any], mode: Mode, _viewer: Any) -> None:
    if (method := toggle()) is not None:
        method(mode)
