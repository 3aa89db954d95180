"""Several layers that are denoised one after the other; without Qt."""

from __future__ import annotations

from typing import Any, Protocol

from masked_denoiser.plugin.denoise.presenter import DenoisePresenter
from masked_denoiser.plugin.layers.source import layer_axes


class LayerJobs(Protocol):
    """Presenter of the dock, as the queue uses it."""

    @property
    def running(self) -> bool:
        """Whether a job is running."""

    @property
    def finished(self) -> bool:
        """Whether the last job has finished, and was neither cancelled nor refused."""

    def choose(self, layer: Any) -> None:
        """Choose a layer, and keep the selected slices if it has the same axes."""

    def has(self, layer: Any) -> bool:
        """Return whether a layer is in the viewer."""

    def denoise(self) -> None:
        """Start to denoise the chosen layer."""

    def announce(self, text: str) -> None:
        """Append a message."""


class DockJobs:
    """Jobs of the presenter of a dock.

    Args:
        presenter: the presenter.
        viewer: the viewer.
    """

    def __init__(self, presenter: DenoisePresenter, viewer: Any) -> None:
        self._presenter, self._viewer = presenter, viewer

    @property
    def running(self) -> bool:
        """Whether a job is running."""
        return self._presenter.running

    @property
    def finished(self) -> bool:
        """Whether the last job has finished, and was neither cancelled nor refused."""
        return self._presenter.finished

    def choose(self, layer: Any) -> None:
        """Choose a layer, and keep the selected slices if it has the same axes."""
        form = self._presenter.view.form()
        self._presenter.chooser.choose_layer(layer)
        self._presenter.view.show_part(form.axes, form.slices, layer_axes(layer).guessed)

    def has(self, layer: Any) -> bool:
        """Return whether a layer is in the viewer."""
        return layer in self._viewer.layers

    def denoise(self) -> None:
        """Start to denoise the chosen layer."""
        self._presenter.denoise()

    def announce(self, text: str) -> None:
        """Append a message."""
        self._presenter.view.show_message(text)


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
        if self._total == 1:
            self._layers.clear()
            self._jobs.denoise()
        else:
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
                self._jobs.choose(layer)
                self._jobs.denoise()
                if not self._jobs.running:  # it was refused
                    self.advance()
                return
            self._jobs.announce(f"{title} was removed")
