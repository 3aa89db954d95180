"""Actions of the Denoise dock that fill in its form or copy it; without Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from masked_denoiser.errors import FormError
from masked_denoiser.plugin.denoise.request import RequestBuilder
from masked_denoiser.plugin.denoise.view import DenoiseView
from masked_denoiser.plugin.layers.settings_record import settings_of
from masked_denoiser.plugin.layers.source import RECORD_KEY
from masked_denoiser.plugin.shared.task_view import errors_shown
from masked_denoiser.plugin.shared.wording import describe_error


class FormActions:
    """Actions on the form of the dock.

    Args:
        viewer: the viewer.
        view: the dock.
        requests: builds requests and command lines from the form.
        chosen_layer: returns the chosen layer; raises MaskedDenoiserError if there is none.
    """

    def __init__(
        self, viewer: Any, view: DenoiseView, requests: RequestBuilder, chosen_layer: Callable[[], Any]
    ) -> None:
        self._viewer, self._view, self._requests, self._chosen_layer = viewer, view, requests, chosen_layer

    def repeat_settings(self) -> None:
        """Fill in the settings with which the selected result layer was made."""
        active = self._viewer.layers.selection.active
        record = active.metadata.get(RECORD_KEY) if active is not None else None
        try:
            model, device, options = settings_of(record)
        except FormError as error:
            self._view.show_error(describe_error(error))
            return
        self._view.show_settings(model, device, options)
        self._view.show_message(f"settings of layer '{active.name}'")

    def copy_command(self) -> None:
        """Copy the equivalent command line to the clipboard."""
        with errors_shown(self._view):
            text = self._requests.command(self._chosen_layer(), self._view.form())
            self._view.copy(text)
            self._view.show_message(f"copied: {text}")

    def fill_current_slice(self) -> None:
        """Fill in the displayed slice."""
        with errors_shown(self._view):
            self._view.show_slice(self._requests.current_slice(self._chosen_layer(), self._view.form()))
