"""Presenter of the noise card: when it is measured, and what it shows; without Qt."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol
from weakref import ref

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.layers.source import layer_source
from masked_denoiser.plugin.noise_card.task import NoiseFigures, TreatmentPlan, measure_card
from masked_denoiser.plugin.shared.background_task import TaskEnded, TaskRunner
from masked_denoiser.plugin.shared.wording import describe_error

_log = logging.getLogger(__name__)


class NoiseCardView(Protocol):
    """Widgets of the card, as its presenter uses them."""

    def form(self) -> Form:
        """Return the values of the fields; raise FormError if one is invalid."""

    def show_state(self, text: str) -> None:
        """Show what the card does, or why it shows nothing."""

    def show_figures(self, figures: NoiseFigures | None) -> None:
        """Show the measured noise, or nothing."""

    def show_plan(self, plan: TreatmentPlan | None) -> None:
        """Show what will be done, or nothing."""


class NoiseCardPresenter:
    """Presenter of the noise card. While it is `busy` or shown, call `process_events` a few times a second.

    Args:
        view: its widgets.
        layer: returns the chosen layer, or None.
    """

    def __init__(self, view: NoiseCardView, layer: Callable[[], Any]) -> None:
        self._view, self._layer, self._runner = view, layer, TaskRunner()
        self._watched: Callable[[], Any] = lambda: None  # reference to the layer whose pixels are measured
        self._version = 0  # of its pixels
        self._measured: tuple[Any, ...] = ()
        self._wanted = self._outdated = False

    @property
    def busy(self) -> bool:
        """Whether the noise is being measured."""
        return self._runner.running

    def show(self, shown: bool) -> None:
        """Measure the noise of the chosen layer as long as the card is shown."""
        self._wanted = shown
        self.process_events()

    def stop(self) -> None:
        """Stop, because the window closes."""
        self._wanted = False
        self._watch(None)
        self._runner.stop()

    def process_events(self) -> None:
        """Handle events since the last call, and measure again if layer or settings have changed."""
        if self._wanted:
            self._cancel_if_changed()
        for event in self._runner.poll():
            if self._outdated:
                if isinstance(event, TaskEnded):  # settings that are the same again were not measured to the end
                    self._outdated, self._measured = False, ()
            elif isinstance(event, NoiseFigures):
                self._view.show_figures(event)
                self._view.show_state("trying treatments on a sample ...")
            elif isinstance(event, TreatmentPlan):
                self._view.show_plan(event)
                self._view.show_state("")
            elif isinstance(event, TaskEnded) and event.error is not None:
                self._failed(event.error)
        if self._wanted and not self._runner.running:
            self._measure_if_changed()

    def _key(self, form: Form) -> tuple[Any, ...]:
        """Return what the figures depend on."""
        self._watch(self._layer())
        return (self._version, form.model, form.device, form.axes, form.options)

    def _watch(self, layer: Any) -> None:
        """Notice when the pixels of this layer are replaced."""
        before = self._watched()
        if layer is before and layer is not None:
            return
        if before is not None:
            before.events.data.disconnect(self._data_changed)
        if layer is not None:
            layer.events.data.connect(self._data_changed)
        self._watched = ref(layer) if layer is not None else lambda: None
        self._version += 1

    def _data_changed(self, _event: Any = None) -> None:
        self._version += 1

    def _cancel_if_changed(self) -> None:
        """Cancel a measurement of another layer, or with other settings."""
        if not self._runner.running or self._outdated:
            return
        try:
            self._outdated = self._key(self._view.form()) != self._measured
        except MaskedDenoiserError:
            self._outdated = True
        if self._outdated:
            self._runner.cancel()

    def _measure_if_changed(self) -> None:
        layer = self._layer()
        try:
            form = self._view.form()
            key = self._key(form)
            if key == self._measured:
                return
            self._measured = key
            self._view.show_figures(None)
            self._view.show_plan(None)
            if layer is None:
                self._view.show_state("open an image to see its noise")
                return
            source = layer_source(layer, form.axes or None)
        except MaskedDenoiserError as error:
            self._view.show_state(describe_error(error))
            return
        self._view.show_state("measuring the noise ...")
        self._runner.start(partial(measure_card, source, form))

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, MaskedDenoiserError):
            _log.error("the noise could not be measured", exc_info=error)
        self._view.show_state(describe_error(error))
