"""The last job of the Denoise dock that left its layer unchanged; without Qt."""

from __future__ import annotations

from typing import Any

from masked_denoiser.plugin.denoise.form import Request
from masked_denoiser.plugin.denoise.results.result_layers import ResultLayers
from masked_denoiser.plugin.denoise.view import DenoiseView


class LeftUnchangedJob:
    """Why a layer was left unchanged, shown in the banner of the dock as long as this layer is chosen.

    Args:
        view: the dock.
        results: its result layers.
    """

    def __init__(self, view: DenoiseView, results: ResultLayers) -> None:
        self._view, self._results = view, results
        self._request: Request | None = None
        self._layer: Any = None
        self._reason = ""

    def remember(self, request: Request, layer: Any, reason: str, chosen: Any) -> None:
        """Show the reason: in the banner if the layer of the job is the chosen one, else as a message."""
        self._request, self._layer, self._reason = request, layer, reason
        if request.preview and self._results.has_results(layer):
            self._view.leave_comparison()
            self._results.show_original(layer, True)  # a preview of other settings would be taken for this one
        if layer is not chosen:
            self._view.show_message(f"layer '{layer.name}': {reason}")
        self.follow(chosen)

    def follow(self, chosen: Any) -> None:
        """Show the banner again if its layer is chosen."""
        if self._layer is not None and self._layer is chosen:
            self._view.show_banner(self._reason)

    def request_of(self, layer: Any) -> Request | None:
        """Return the request of the job if it was about this layer."""
        return self._request if self._layer is not None and self._layer is layer else None

    def forget(self) -> None:
        """Hide the banner, because another job begins or the layer was removed."""
        self._request = self._layer = None
        self._view.show_banner("")

    def layer_removed(self, layer: Any) -> None:
        """Release a removed layer."""
        if layer is self._layer:
            self.forget()
