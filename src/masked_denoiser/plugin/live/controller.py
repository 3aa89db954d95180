"""Switch of the live view: its layer, its background task, and the view that it follows; without Qt."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.results.result_layers import ResultLayers
from masked_denoiser.plugin.denoise.task import LayerUpdate
from masked_denoiser.plugin.live.cell_cache import CellCache
from masked_denoiser.plugin.live.cells import View
from masked_denoiser.plugin.live.engine import LiveEngine, LiveImage, LiveStatus
from masked_denoiser.plugin.live.image import layer_levels, live_image
from masked_denoiser.plugin.live.visible import current_view
from masked_denoiser.plugin.shared.background_task import TaskEnded, TaskRunner
from masked_denoiser.plugin.shared.refresh_pace import RefreshPace
from masked_denoiser.plugin.shared.wording import describe_error

_log = logging.getLogger(__name__)

#: Most bytes of denoised pixels that a live view keeps.
CACHE_BYTES = 512 * 2**20


class LivePanel(Protocol):
    """Widgets of the live view, as its controller uses them."""

    def form(self) -> Form:
        """Return the values of the fields; raise FormError if one is invalid."""

    def canvas_size(self) -> tuple[int, int]:
        """Return height and width of the canvas."""

    def show_live(self, on: bool, text: str, share: float | None) -> None:
        """Show whether the live view is on, what it does, and the share of the view that is denoised."""


@dataclass(frozen=True)
class _Settings:
    """Settings with which the pixels of a live view are computed."""

    model: str
    device: str
    axes: str
    options: Any

    @classmethod
    def of(cls, form: Form) -> _Settings:
        return cls(form.model, form.device, form.axes, form.options)


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

    def __init__(self, viewer: Any, panel: LivePanel, results: Callable[[], ResultLayers]) -> None:
        self._viewer, self._panel, self._results = viewer, panel, results
        self._runner, self._pace = TaskRunner(), RefreshPace()
        self._source: Any = None
        self._layer: Any = None
        self._settings: _Settings | None = None
        self._image: LiveImage | None = None
        self._engine: LiveEngine | None = None
        self._paused = self._changed = False
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
        self._source = layer
        self._restart()

    def switch_off(self, text: str = "") -> None:
        """Remove the layer of the live view and show the original again.

        Args:
            text: why, if the user has not switched it off.
        """
        layer, self._source, self._layer, self._settings = self._layer, None, None, None
        self._stop_engine()
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
        self._panel.show_live(False, text, None)

    def pause(self, paused: bool) -> None:
        """Leave the processor to a job, or continue after it."""
        self._paused = paused

    def stop(self) -> None:
        """Stop without changing layers, because the window closes."""
        self._source = self._layer = None
        self._stop_engine()

    def process_events(self) -> None:
        """Handle the events of the background task since the last call, and follow the view and the settings."""
        for event in self._runner.poll():
            if isinstance(event, LiveStatus):
                self._changed = self._changed or event.changed
                self._panel.show_live(True, event.text, event.share)
            elif isinstance(event, TaskEnded) and event.error is not None:
                self._failed(event.error)
                return
        if self._source is None:
            return
        if self._paused and self._engine is not None:
            self._engine.look_at(None)
            if self._shown() is None:
                self.switch_off("switched off, since a result is shown")
                return
        else:
            self._follow()
        shown = self._shown()
        if self._changed and shown is not None and self._pace.is_due():
            self._changed = False
            with self._pace.measure():
                shown.refresh(extent=False, thumbnail=False, highlight=False)

    def _shown(self) -> Any:
        """Return the layer that shows the live view: its own, or a split with the original; None if it is hidden."""
        if self._layer is None or self._layer.visible:
            return self._layer
        return self._results().visible_split(self._source)

    def _follow(self) -> None:
        """Restart after a change of the settings, and give the current view to the background task."""
        try:
            settings = _Settings.of(self._panel.form())
        except MaskedDenoiserError as error:
            self._panel.show_live(True, describe_error(error), None)
            return
        if settings != self._settings:
            self._restart()
        elif self._engine is not None:
            self._engine.look_at(self._view())

    def _restart(self) -> None:
        """Start again with the current settings, with an empty cache."""
        self._stop_engine()
        try:
            form = self._panel.form()
            self._image = live_image(self._source, form.axes or None, CellCache(self.cache_bytes))
        except MaskedDenoiserError as error:
            self.switch_off(describe_error(error))
            return
        self._settings = _Settings.of(form)
        update = LayerUpdate("live", layer_levels(self._image))
        self._layer = self._results().show_separately(self._source, update)
        self._engine = LiveEngine(self._image, form.model, form.device, form.options)
        self._runner.start(self._engine.run)
        self._panel.show_live(True, "loading the model", None)

    def _view(self) -> View | None:
        assert self._image is not None
        axes, levels = self._image.sources[0].axes, len(self._image.levels)
        shown = self._shown()
        return None if shown is None else current_view(self._viewer, shown, axes, levels, self._panel.canvas_size())

    def _stop_engine(self) -> None:
        self._runner.stop(seconds=0.0)
        self._engine = self._image = None
        self._changed = False

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, MaskedDenoiserError):
            _log.error("the live view failed", exc_info=error)
        self.switch_off(describe_error(error))

    def _layer_removed(self, event: Any) -> None:
        if event.value is self._layer and self._layer is not None:
            self._layer = None
            self.switch_off()
        elif event.value is self._source and self._source is not None:
            self.switch_off(f"layer '{event.value.name}' was removed")
