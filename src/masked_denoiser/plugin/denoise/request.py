"""Builder of requests and command lines from the dock's form and the chosen layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from masked_denoiser.errors import FormError
from masked_denoiser.plugin.denoise.command_line import command_text, file_source
from masked_denoiser.plugin.denoise.form import Form, Request, make_request, memory_warning
from masked_denoiser.plugin.denoise.layer_part import LayerPart, choose_part
from masked_denoiser.plugin.layers.orientation import ROTATED_NOTE, flip_source, layer_geometry
from masked_denoiser.plugin.layers.source import layer_axes, layer_path, layer_source
from masked_denoiser.plugin.layers.view_region import slider_position
from masked_denoiser.plugin.shared.task_view import AskingView


class RequestBuilder:
    """Builder of requests. Its methods raise MaskedDenoiserError if form and layer do not fit together."""

    def __init__(self, viewer: Any, view: AskingView) -> None:
        self._viewer, self._view = viewer, view

    def denoise(self, layer: Any, form: Form) -> Request | None:
        """Return the request of a job; None if the user cancels."""
        part, path, many = self._part(layer, form), layer_path(layer), bool(layer.multiscale)
        if part.description:
            self._view.show_message(part.description)
        if form.output != "memory":
            return self._to_disk(layer, form, part)
        if form.scheduler:
            raise FormError("a cluster writes to disk only: choose OME-Zarr or OME-TIFF as output")
        request = make_request(form, part.slices, input=path, region=part.region(), start=part.start, multiscale=many)
        request = self._with_levels(request, layer)
        return request if self._fits_memory(request, form) else None

    def _to_disk(self, layer: Any, form: Form, part: LayerPart) -> Request:
        """Return the request of a job that writes a file, in the orientation of the world."""
        (source, start), path, geometry = part.cut(), layer_path(layer), layer_geometry(layer)
        if geometry.rotated:
            self._view.show_message(f"layer '{layer.name}' {ROTATED_NOTE}")
        flipped = "" if form.scheduler else "".join(source.axes[at] for at in geometry.flipped)
        source = flip_source(source, flipped, start)
        request = make_request(form, source, input=path, start=start, multiscale=bool(layer.multiscale))
        if form.scheduler:
            return replace(request, file=file_source(layer, path, source))
        return self._with_levels(replace(request, flipped=flipped), layer)

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
        return slider_position(self._viewer, layer, form.axes or layer_axes(layer).letters)

    def _with_levels(self, request: Request, layer: Any) -> Request:
        """Return a request with the levels of a pyramid that is denoised as a whole, and say that the result is one."""
        if request.pyramid:
            self._view.show_message(
                "the result is a multiscale layer: its data is a list of levels, and data[0] is the full resolution"
            )
        whole = layer.multiscale and not request.flipped and request.source.shape == tuple(layer.data[0].shape)
        return replace(request, levels=tuple(layer.data)) if whole else request

    def _part(self, layer: Any, form: Form) -> LayerPart:
        return choose_part(self._viewer, layer, layer_source(layer, form.axes), form)

    def _fits_memory(self, request: Request, form: Form) -> bool:
        import psutil

        warning = memory_warning(request.source, form.options.std, psutil.virtual_memory().available, request.region)
        return not warning or self._view.ask(warning, "Denoise anyway", "Stop") == "Denoise anyway"
