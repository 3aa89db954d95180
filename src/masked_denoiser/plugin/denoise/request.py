"""Builder of requests and command lines from the dock's form and the chosen layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from masked_denoiser.errors import FormError
from masked_denoiser.plugin.denoise.command_line import command_text, file_source
from masked_denoiser.plugin.denoise.form import Form, Request, make_request, memory_warning
from masked_denoiser.plugin.denoise.layer_part import LayerPart, choose_part
from masked_denoiser.plugin.layers.source import layer_axes, layer_path, layer_source
from masked_denoiser.plugin.layers.view_region import slider_position
from masked_denoiser.plugin.shared.task_view import AskingView


class RequestBuilder:
    """Builder of requests. Its methods raise MaskedDenoiserError if form and layer do not fit together."""

    def __init__(self, viewer: Any, view: AskingView) -> None:
        self._viewer, self._view = viewer, view

    def denoise(self, layer: Any, form: Form) -> Request | None:
        """Return the request of a job; None if the user cancels."""
        part, path = self._part(layer, form), layer_path(layer)
        if part.description:
            self._view.show_message(part.description)
        if form.output != "memory":
            source, start = part.cut()
            request = make_request(form, source, input=path, start=start)
            return replace(request, file=file_source(layer, path, source)) if form.scheduler else request
        if form.scheduler:
            raise FormError("a cluster writes to disk only: choose OME-Zarr or OME-TIFF as output")
        request = make_request(form, part.slices, input=path, region=part.region(), start=part.start)
        return request if self._fits_memory(request, form) else None

    def preview(self, layer: Any, form: Form) -> Request:
        """Return the request of a preview of the visible part."""
        form = replace(form, options=replace(form.options, std=False), region="whole")
        part = self._part(layer, form)
        tile = form.options.tile
        assert isinstance(tile, int)  # the dock does not offer "auto"
        region, message = part.preview_region(self._viewer, layer, tile)
        self._view.show_message(message)
        return make_request(form, part.slices, input=layer_path(layer), region=region, preview=True, start=part.start)

    def command(self, layer: Any, form: Form) -> str:
        """Return the command line of the same job as `denoise`, with an output on disk."""
        return command_text(form, layer, layer_path(layer), self._part(layer, form).cut()[0])

    def current_slice(self, layer: Any, form: Form) -> dict[str, int]:
        """Return the displayed slice of the layer by axis letter."""
        return slider_position(layer, self._viewer.dims.point, form.axes or layer_axes(layer).letters)

    def _part(self, layer: Any, form: Form) -> LayerPart:
        return choose_part(self._viewer, layer, layer_source(layer, form.axes), form)

    def _fits_memory(self, request: Request, form: Form) -> bool:
        import psutil

        warning = memory_warning(request.source, form.options.std, psutil.virtual_memory().available, request.region)
        return not warning or self._view.ask(warning, "Denoise anyway", "Stop") == "Denoise anyway"
