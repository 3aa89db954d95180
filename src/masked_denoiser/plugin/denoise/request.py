"""From the dock's fields and the chosen layer to what the worker is asked to do, or to its command line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from masked_denoiser.errors import FormError
from masked_denoiser.plugin.denoise.command_line import command_text, file_source
from masked_denoiser.plugin.denoise.form import Form, Request, make_request, memory_warning
from masked_denoiser.plugin.denoise.layer_part import LayerPart, choose_part
from masked_denoiser.plugin.layers.source import layer_axes, layer_path, layer_source
from masked_denoiser.plugin.layers.view_region import slider_position


class RequestView(Protocol):
    """What is needed of the window here."""

    def say(self, text: str) -> None:
        """Adds a line to the notes."""

    def ask(self, question: str, *choices: str) -> str:
        """Asks, and returns one of the choices."""


class RequestBuilder:
    """Reads fields against layers. Its methods raise a MaskedDenoiserError for what does not fit."""

    def __init__(self, viewer: Any, view: RequestView) -> None:
        self._viewer, self._view = viewer, view

    def denoise(self, layer: Any, form: Form) -> Request | None:
        """The whole job; None if the user thought better of it."""
        part, path = self._part(layer, form), layer_path(layer)
        if part.description:
            self._view.say(part.description)
        if form.output != "memory":
            source, start = part.cut()
            made = make_request(form, source, input=path, start=start)
            return replace(made, file=file_source(layer, path, source)) if form.scheduler else made
        if form.scheduler:
            raise FormError("a cluster writes to disk: choose OME-Zarr or OME-TIFF as output")
        made = make_request(form, part.slices, input=path, region=part.region(), start=part.start)
        return made if self._fits_memory(made, form) else None

    def preview(self, layer: Any, form: Form) -> Request:
        """A look at what is in view."""
        form = replace(form, std=False, region="whole")
        part = self._part(layer, form)
        region, said = part.in_view(self._viewer, layer, form.tile)
        self._view.say(said)
        return make_request(form, part.slices, input=layer_path(layer), region=region, preview=True, start=part.start)

    def command(self, layer: Any, form: Form) -> str:
        """The command line that does the same as `denoise`, on disk."""
        return command_text(form, layer, layer_path(layer), self._part(layer, form).cut()[0])

    def slice_shown(self, layer: Any, form: Form) -> dict[str, int]:
        """Where the sliders stand, by axis letter."""
        return slider_position(layer, self._viewer.dims.point, form.axes or layer_axes(layer).letters)

    def _part(self, layer: Any, form: Form) -> LayerPart:
        return choose_part(self._viewer, layer, layer_source(layer, form.axes), form)

    def _fits_memory(self, request: Request, form: Form) -> bool:
        import psutil

        warning = memory_warning(request.source, form.std, psutil.virtual_memory().available, request.region)
        return not warning or self._view.ask(warning, "Denoise anyway", "Stop") == "Denoise anyway"
