"""Several layers that are denoised one after the other; without Qt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.presenter import DenoisePresenter
from masked_denoiser.plugin.layers.source import layer_axes
from masked_denoiser.plugin.shared.wording import describe_error


class LayerJobs(Protocol):
    """Presenter of the dock, as the queue uses it."""

    @property
    def running(self) -> bool:
        """Whether a job is running."""

    @property
    def finished(self) -> bool:
        """Whether the last job has finished, and was neither cancelled nor refused."""

    def begin(self) -> None:
        """Keep the settings with which all layers are denoised."""

    def choose(self, layer: Any) -> None:
        """Choose a layer, and keep the selected slices if it has the same axes."""

    def has(self, layer: Any) -> bool:
        """Return whether a layer is in the viewer."""

    def denoise(self) -> None:
        """Start to denoise the chosen layer."""

    def announce(self, text: str) -> None:
        """Append a message."""

    def refuse(self, error: MaskedDenoiserError) -> None:
        """Append an error."""


class DockJobs:
    """Jobs of the presenter of a dock.

    Args:
        presenter: the presenter.
        viewer: the viewer.
    """

    def __init__(self, presenter: DenoisePresenter, viewer: Any) -> None:
        self._presenter, self._viewer = presenter, viewer
        self._form = Form()

    @property
    def running(self) -> bool:
        """Whether a job is running."""
        return self._presenter.running

    @property
    def finished(self) -> bool:
        """Whether the last job has finished, and was neither cancelled nor refused."""
        return self._presenter.finished

    def begin(self) -> None:
        """Keep the settings with which all layers are denoised, whatever is changed in the dock meanwhile."""
        self._form = self._presenter.view.form()

    def choose(self, layer: Any) -> None:
        """Choose a layer, and keep the selected slices if it has the same axes."""
        self._presenter.chooser.choose_layer(layer)
        self._presenter.view.show_part(self._form.axes, self._form.slices, layer_axes(layer).guessed)

    def has(self, layer: Any) -> bool:
        """Return whether a layer is in the viewer."""
        return layer in self._viewer.layers

    def denoise(self) -> None:
        """Start to denoise the chosen layer."""
        own = self._presenter.view.form()
        self._presenter.denoise(replace(self._form, path=own.path, axes=own.axes, slices=own.slices))

    def announce(self, text: str) -> None:
        """Append a message."""
        self._presenter.view.show_message(text)

    def refuse(self, error: MaskedDenoiserError) -> None:
        """Append an error."""
        self._presenter.view.show_error(describe_error(error))


class LayerQueue:
    """Queue of layers. Call `advance` a few times a second; a job that is cancelled or fails ends the queue.

    Args:
        jobs: denoises a layer at a time.
    """

    def __init__(self, jobs: LayerJobs) -> None:
        self._jobs = jobs
        self._layers: list[Any] = []
        self._total = 0

    def start(self, layers: list[Any]) -> None:
        """Denoise these layers with the same settings; a single one without further ado."""
        self._layers, self._total = list(layers), len(layers)
        try:
            self._jobs.begin()
            if self._total == 1:
                self._layers.clear()
                self._jobs.denoise()
        except MaskedDenoiserError as error:
            self._layers.clear()
            self._jobs.refuse(error)
        self._start_next()

    def cancel(self) -> None:
        """Do not start further layers."""
        self._layers.clear()

    def advance(self) -> None:
        """Start the next layer if the last job has finished."""
        if not self._layers or self._jobs.running:
            return
        if self._jobs.finished:
            self._start_next()
        else:
            self._jobs.announce(f"{len(self._layers)} more layers were not denoised")
            self._layers.clear()

    def _start_next(self) -> None:
        while self._layers:
            layer = self._layers.pop(0)
            title = f"layer {self._total - len(self._layers)} of {self._total}: '{layer.name}'"
            if self._jobs.has(layer):
                self._jobs.announce(title)
                try:
                    self._jobs.choose(layer)
                    self._jobs.denoise()
                except MaskedDenoiserError as error:
                    self._layers.clear()
                    self._jobs.refuse(error)
                    return
                if not self._jobs.running:  # it was refused
                    self.advance()
                return
            self._jobs.announce(f"{title} was removed")
