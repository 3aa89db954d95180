"""Switch of the live view: its layer, its background task, and the view that it follows; without Qt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.results.result_layers import ResultLayers
from masked_denoiser.plugin.denoise.task import LayerUpdate
from masked_denoiser.plugin.layers.removal import remove_layer
from masked_denoiser.plugin.layers.source import SPATIAL_SETTINGS
from masked_denoiser.plugin.live.cell_cache import CellCache
from masked_denoiser.plugin.live.cells import View
from masked_denoiser.plugin.live.engine import LiveEngine, LiveImage, LiveStatus
from masked_denoiser.plugin.live.image import layer_levels, live_image
from masked_denoiser.plugin.live.visible import current_view
from masked_denoiser.plugin.live.volume import VolumeStandIn
from masked_denoiser.plugin.shared.background_task import TaskEnded, TaskRunner
from masked_denoiser.plugin.shared.refresh_pace import RefreshPace
from masked_denoiser.plugin.shared.wording import describe_error

_log = logging.getLogger(__name__)

#: Seconds for which settings must be unchanged before the live view starts again with them.
_SETTLING_SECONDS = 0.3

#: Most bytes of denoised pixels that a live view keeps.
CACHE_BYTES = 512 * 2**20


class LiveWidgets(Protocol):
    """Widgets of the live view, as its controller uses them."""

    def form(self) -> Form:
        """Return the values of the fields; raise FormError if one is invalid."""

    def canvas_size(self) -> tuple[int, int]:
        """Return height and width of the canvas."""

    def show_live(self, on: bool, text: str, share: float | None) -> None:
        """Show whether the live view is on, what it does, and the share of the view that is denoised."""

    def update_comparison(self) -> None:
        """Show what is visible after layers have changed."""


@dataclass(frozen=True)
class _Settings:
    """Settings with which the pixels of a live view are computed, and the version of the pixels of its layer."""

    model: str
    device: str
    axes: str
    options: Any
    version: int

    @classmethod
    def of(cls, form: Form, version: int) -> _Settings:
        return cls(form.model, form.device, form.axes, form.options, version)


class LiveView:
    """Live view of the chosen layer. All methods must be called from the GUI thread.

    While it is `on`, call `process_events` about twenty times a second.

    Args:
        viewer: the viewer.
        panel: its widgets.
        results: returns the result layers of the dock, one of which the live view is.

    Attributes:
        cache_bytes: most bytes of denoised pixels that it keeps when it is switched on.
    """

    def __init__(self, viewer: Any, panel: LiveWidgets, results: Callable[[], ResultLayers]) -> None:
        self._viewer, self._panel, self._results = viewer, panel, results
        self._runner, self._pace = TaskRunner(), RefreshPace()
        self._source: Any = None
        self._layer: Any = None
        self._settings: _Settings | None = None  # of the engine
        self._wanted: _Settings | None = None
        self._wanted_since = 0.0
        self._image: LiveImage | None = None
        self._engine: LiveEngine | None = None
        self._started = False  # since it was switched on
        self._status, self._note = LiveStatus(""), ""
        self._paused = self._changed = False
        self._stand_in = VolumeStandIn(viewer)
        self._ended: str | None = None
        self._version = 0
        self.cache_bytes = CACHE_BYTES
        viewer.layers.events.removed.connect(self._layer_removed)

    @property
    def on(self) -> bool:
        """Whether the live view is switched on."""
        return self._source is not None

    @property
    def cached_bytes(self) -> int:
        """Bytes of denoised pixels that are kept now."""
        return self._image.cache.nbytes if self._image is not None else 0

    def switch_on(self, layer: Any) -> None:
        """Show a layer denoised where it is visible; report an error if that is not possible."""
        if layer is self._source:
            return
        self.switch_off()
        self._source, self._ended, self._started, self._note = layer, None, False, ""
        for event in _watched(layer):
            event.connect(self._data_changed)
        self._show_status(LiveStatus("loading the model"))
        self._follow()

    def switch_off(self, text: str = "") -> None:
        """Remove the layer of the live view and show the original again.

        Args:
            text: why, if the user has not switched it off.
        """
        source, layer = self._source, self._layer
        self.stop()
        if source is not None:
            for event in _watched(source):
                event.disconnect(self._data_changed)
        if layer is not None:
            remove_layer(self._viewer, layer)
        self._panel.show_live(False, text, None)

    def pause(self, paused: bool) -> None:
        """Leave the processor to a job, or continue after it, unless its result is shown instead."""
        ended, self._paused = self._paused and not paused, paused
        if ended and self._engine is not None and self._shown() is None:
            self.switch_off("switched off, since a result is shown")

    def stop(self) -> None:
        """Stop without changing layers, because the window closes."""
        self._source = self._layer = self._settings = self._wanted = None
        self._stop_engine()

    def process_events(self) -> None:
        """Handle the events of the background task since the last call, and follow the view and the settings."""
        for event in self._runner.poll():
            if self._engine is None:
                continue  # of an engine that was replaced
            if isinstance(event, LiveStatus):
                self._changed = self._changed or event.changed
                self._show_status(event)
            elif isinstance(event, TaskEnded) and event.error is not None:
                self._failed(event.error)
        if self._source is not None and self._ended is not None:
            self.switch_off(self._ended)
        if self._source is None:
            return
        self._stand_in.update(self._source, self._layer)
        if not self._paused:
            self._follow()
        elif self._engine is not None:
            self._engine.look_at(None)
            if self._shown() is None:
                self.switch_off("switched off, since a result is shown")
            else:
                self._show_note("waits for the job")
        else:
            self._show_note("waits for the job")
        self._refresh()

    def _refresh(self) -> None:
        """Draw new pixels, if the last drawing was long enough ago."""
        shown = self._shown()
        if self._changed and shown is not None and self._pace.is_due():
            self._changed = False
            with self._pace.measure():
                shown.refresh(extent=False, thumbnail=False, highlight=False)

    def _shown(self) -> Any:
        """Return the layer that shows the live view: its own, or a split with the original; None if it is hidden."""
        if self._layer is None or self._layer.visible or self._stand_in.is_shown_for(self._layer):
            return self._layer
        return self._results().visible_split(self._source)

    def _follow(self) -> None:
        """Give the current view to the background task, or start another one when changed settings have settled."""
        try:
            settings = _Settings.of(self._panel.form(), self._version)
        except MaskedDenoiserError as error:
            self._show_note(describe_error(error))
            return
        if settings == self._settings and self._engine is not None:
            view = self._view()
            self._engine.look_at(view)
            self._show_note("" if view is not None else self._describe_hidden())
            return
        self._show_note("")
        now = time.monotonic()
        if settings != self._wanted:
            self._wanted, self._wanted_since = settings, now
            self._stop_engine()
        settled = not self._started or now - self._wanted_since >= _SETTLING_SECONDS
        # Measuring the noise cannot be interrupted: wait for it, so that threads do not pile up.
        if settled and not self._runner.running:
            self._start(settings)

    def _start(self, settings: _Settings) -> None:
        """Start with an empty cache."""
        self._settings, self._started = settings, True
        try:
            self._image = live_image(self._source, settings.axes or None, CellCache(self.cache_bytes))
        except MaskedDenoiserError as error:
            self.switch_off(describe_error(error))
            return
        split = self._results().visible_split(self._source)
        update = LayerUpdate("live", layer_levels(self._image))
        self._layer = None  # it is removed if it cannot show the new pixels, which must not end the live view
        self._layer = self._results().show_separately(self._source, update)
        self._engine = LiveEngine(self._image, settings.model, settings.device, settings.options)
        self._runner.start(self._engine.run)
        self._show_status(LiveStatus("loading the model"))
        if split is not None:
            self._panel.update_comparison()

    def _view(self) -> View | None:
        assert self._image is not None
        axes, levels = self._image.sources[0].axes, len(self._image.levels)
        shown = self._shown()
        return None if shown is None else current_view(self._viewer, shown, axes, levels, self._panel.canvas_size())

    def _show_status(self, status: LiveStatus) -> None:
        """Show what the background task does, unless a note says why it does nothing."""
        self._status = status
        if not self._note:
            self._panel.show_live(True, status.text, status.share)

    def _show_note(self, note: str) -> None:
        """Show why nothing is denoised, or, for an empty note, what the background task does."""
        if note == self._note:
            return
        self._note = note
        if note:
            self._panel.show_live(True, note, 1.0)
        else:
            self._show_status(self._status)

    def _describe_hidden(self) -> str:
        """Return why there is no view to denoise."""
        if self._viewer.dims.ndisplay != 2:
            return "the live view is shown in two dimensions; leave the 3D view"
        if self._shown() is None:
            return "the live view is hidden"
        axes = self._image.sources[0].axes if self._image is not None else ""
        hidden = [
            axis for axis in self._viewer.dims.not_displayed if axes[axis - self._viewer.dims.ndim :][:1] in ("Y", "X")
        ]
        return "the axes Y and X must be displayed" if hidden else "nothing of the layer is in view"

    def _stop_engine(self) -> None:
        self._runner.cancel()
        self._engine = self._image = self._settings = None
        self._changed = False

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, MaskedDenoiserError):
            _log.error("the live view failed", exc_info=error)
        self._ended = describe_error(error)

    def _data_changed(self, _event: Any = None) -> None:
        self._version += 1

    def _layer_removed(self, event: Any) -> None:
        """Switch off at the next call: layers must not be removed while napari removes others."""
        if self._source is None:
            return
        if event.value is self._layer:
            self._layer, self._ended = None, ""
        elif event.value is self._source:
            self._ended = f"layer '{event.value.name}' was removed"


def _watched(layer: Any) -> tuple[Any, ...]:
    """Return the events of a layer after which its live view begins anew: of its pixels, and of where they lie."""
    return layer.events.data, *(getattr(layer.events, name) for name in SPATIAL_SETTINGS)
