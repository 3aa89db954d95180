"""Modes of the comparison of a layer with its result; without Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from masked_denoiser.errors import FormError
from masked_denoiser.plugin.compare.side_by_side import SideBySide
from masked_denoiser.plugin.compare.split import Split
from masked_denoiser.plugin.denoise.results.result_layers import ResultLayers

#: Ways to compare a layer with its result.
Mode = Literal["result", "original", "split", "side by side"]

MODES: tuple[Mode, ...] = ("result", "original", "split", "side by side")


class Comparison:
    """Comparison of a layer with its results. All methods must be called from the GUI thread.

    Args:
        viewer: the viewer.
        results: returns the result layers of the dock.
    """

    def __init__(self, viewer: Any, results: Callable[[], ResultLayers]) -> None:
        self._viewer, self._results = viewer, results
        self._mode: Mode = "result"
        self._source: Any = None
        self.split, self._side_by_side = Split(viewer, results), SideBySide(viewer)

    def mode(self, layer: Any) -> Mode:
        """Return how a layer is compared with its results."""
        if self._mode in ("split", "side by side") and layer is self._source:
            return self._mode
        return "original" if self._results().shows_original(layer) else "result"

    def choose(self, layer: Any, mode: Mode, axes: str | None = None) -> None:
        """Compare a layer with its latest result in this mode.

        Args:
            layer: the input.
            mode: how to compare.
            axes: axes of the layer; None for those that it names.

        Raises:
            FormError: if there is no result, or it does not lie on the pixels of the layer.
        """
        self.leave()
        result = self._results().latest_result(layer, live=True)
        if result is None:
            raise FormError("there is no result yet; press Preview or Denoise, or switch on the live view")
        if mode == "split":
            self.split.show(layer, result, axes)
        elif mode == "side by side":
            self._side_by_side.show(layer, result)
        else:
            self._results().show_original(layer, mode == "original")
        self._source, self._mode = layer, mode

    def show_pair(self, source: Any, left: Any, right: Any) -> None:
        """Show two results of an input layer next to each other."""
        self.leave()
        self._side_by_side.show(left, right)
        self._source, self._mode = source, "side by side"

    def leave(self) -> None:
        """Leave a split or the side-by-side view, and show the result that was compared, or a newer one."""
        mode, self._mode, source = self._mode, "result", self._source
        if mode == "split":
            result = self.split.result
            self.split.leave()
            self._results().show_result(source, result)
        elif mode == "side by side":
            self._side_by_side.leave()
            self._results().show_result(source)

    def update(self) -> None:
        """Leave the split or the side-by-side view if its layers were changed, hidden or removed."""
        views = {"split": self.split.is_intact, "side by side": self._side_by_side.is_intact}
        if not views.get(self._mode, True):
            self.leave()
        elif self._mode == "split":
            try:
                self.split.update()
            except FormError:  # the result was moved, or computed from other pixels
                self.leave()

    def hold_original(self, layer: Any) -> Iterator[None]:
        """Show the original while a key is held, and the result when it is released."""
        if self._mode not in ("result", "original") or not self._results().has_results(layer):
            return
        before = self._results().shows_original(layer)
        self._results().show_original(layer, not before)
        yield
        self._results().show_original(layer, before)

    def disconnect(self) -> None:
        """Ignore the viewer from now on, because the window is closing."""
        self.split.disconnect()
