"""Denoise dock: fields, buttons, progress and messages. Its logic is in `denoise.presenter`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QApplication,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import AUTO
from masked_denoiser.plugin.compare.panel import ComparePanel
from masked_denoiser.plugin.denoise.last_settings import forget_settings, recall_settings
from masked_denoiser.plugin.denoise.layer_queue import DockJobs, LayerQueue
from masked_denoiser.plugin.denoise.presenter import DenoisePresenter
from masked_denoiser.plugin.denoise.widgets.denoise_fields import DenoiseFields
from masked_denoiser.plugin.files.tab import FilesTab
from masked_denoiser.plugin.live.panel import LivePanel
from masked_denoiser.plugin.noise_card.panel import NoiseCard
from masked_denoiser.plugin.shared.file_dialogs import choose_report
from masked_denoiser.plugin.shared.preferences import read_preferences
from masked_denoiser.plugin.shared.task_dock import unwrap_viewer
from masked_denoiser.plugin.shared.widgets.form_widgets import (
    column,
    connect_buttons,
    form_layout,
    row,
    scroll_with_pinned,
    show_page_height,
)

if TYPE_CHECKING:
    from napari.viewer import Viewer

_log = logging.getLogger(__name__)


class DenoiseDock(DenoiseFields):
    """Dock that denoises image layers, and lists of files in a second tab.

    Args:
        napari_viewer: the viewer of the dock.
    """

    presenter: DenoisePresenter

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        viewer = unwrap_viewer(napari_viewer)
        self.live = LivePanel(viewer, lambda: self.presenter, self.form)
        self.compare = ComparePanel(viewer, lambda: self)
        self.noise = NoiseCard(lambda: self.presenter.layer, self.form)
        self.files = FilesTab(viewer, self.form, self.ask, self._enable)
        self._lay_out()
        preferences = read_preferences()
        self.output.use_preferences(preferences.output, preferences.folder)
        self.live.live.cache_bytes = preferences.cache_bytes
        self.expert.preferred_device = preferences.device
        self.presenter = DenoisePresenter(viewer, self)
        self.queue = LayerQueue(DockJobs(self.presenter, viewer))
        self._connect()
        self._recall_settings()
        self.presenter.update_comparison()  # with results of a dock that was closed

    def _recall_settings(self) -> None:
        if (settings := recall_settings()) is None:
            return
        try:
            self.show_settings(*settings)
        except (ValueError, TypeError) as error:  # a number that a field does not take
            _log.warning("the settings of the last job cannot be shown: %s", error)
            self._reset_settings()

    def show_comparison(self, possible: bool) -> None:
        """Enable the comparison of original and result, and show what is visible."""
        self.compare.show_state(possible)
        for action in (self.removed_button, self.report_button, self.clear_button):
            action.setEnabled(possible and not self._running)

    def show_side_by_side(self, layer: Any, left: Any, right: Any) -> None:
        """Show two results of an image layer next to each other."""
        self.compare.show_pair(layer, left, right)

    def leave_comparison(self) -> None:
        """Leave a split or the side-by-side view."""
        self.compare.comparison.leave()

    def layer_chosen(self) -> None:
        """React to another chosen layer."""
        self.live.follow_layer()

    def restore_viewer(self) -> None:
        """Leave a split, the side-by-side view and the live view, because the dock closes."""
        self.compare.comparison.leave()
        self.live.live.switch_off()
        self.presenter.abandon()

    def copy(self, text: str) -> None:
        """Copy a text to the clipboard."""
        if (clipboard := QApplication.clipboard()) is not None:
            clipboard.setText(text)

    def set_running(self, running: bool) -> None:
        """Disable everything but Cancel while a job runs."""
        self._running = running
        self._enable()

    def may_close(self) -> bool:
        """Ask whether to close the dock, if a job or a list of files is running; return the answer."""
        return super().may_close() and self.files.may_close()

    def stop(self) -> None:
        """Cancel all tasks, because the window closes."""
        super().stop()
        self.files.stop()
        self.live.stop()
        self.compare.stop()
        self.noise.stop()

    def _enable(self) -> None:
        busy = self._running or self.files.running
        self.guard_close_buttons()
        ready = not busy and self.layer.currentIndex() >= 0 and self.model.count() > 0
        self.preview_button.setEnabled(ready)
        self.denoise_button.setEnabled(ready)
        self.copy_button.setEnabled(ready)
        self.models_button.setEnabled(ready)
        self.cancel_button.setEnabled(self._running)
        for action in (self.removed_button, self.report_button, self.clear_button):
            action.setEnabled(ready and self.compare.isEnabled())
        for widget in (self.layer, self.all_selected, self.model, self.output, self.region, self.expert.content()):
            widget.setEnabled(not busy)
        self.files.set_blocked(self._running)
        self.live.live.pause(busy)

    def _lay_out(self) -> None:
        shared, rows = form_layout(), form_layout()
        shared.addRow("model", self.model)
        shared.addRow(self.model_field.description)
        rows.addRow("image", self.layer)
        rows.addRow("", self.all_selected)
        rows.addRow(self.notes)
        rows.addRow("region", self.region)
        rows.addRow("output", self.output)
        page = QWidget()
        inner = QVBoxLayout(page)
        inner.addLayout(rows)
        inner.addWidget(self.noise)
        inner.addWidget(self.live)
        inner.addWidget(self.compare)
        inner.addWidget(row(self.removed_button, self.report_button))
        inner.addWidget(row(self.models_button, self.clear_button))
        inner.addStretch(1)
        self.tabs = QTabWidget()
        self.tabs.addTab(page, "Layer")
        self.tabs.addTab(self.files, "Files")
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.addLayout(shared)
        layout.addWidget(self.expert)
        layout.addWidget(self.tabs, 1)
        self.pinned = column(
            self.banner,
            row(self.preview_button, self.denoise_button, self.cancel_button, self.copy_button),
            self.progress_bar,
            self.progress_label,
            self.messages,
        )
        scroll_with_pinned(self, content, self.pinned)
        show_page_height(self.tabs)

    def _connect(self) -> None:
        self.layer.currentIndexChanged.connect(self._choose_layer)
        self.tabs.currentChanged.connect(self._choose_tab)
        self.noise.strength_changed.connect(self._set_strength)
        self.noise.denoise_anyway.connect(self.presenter.denoise_anyway)
        self.expert.fields["strength"].changed.connect(self.noise.show_strength)
        actions = {
            self.preview_button: self.presenter.preview,
            self.denoise_button: self._denoise,
            self.clear_button: self._clear_results,
            self.expert.reset_button: self._reset_settings,
            self.cancel_button: self._cancel,
            self.copy_button: self.presenter.form_actions.copy_command,
            self.expert.slices.current_button: self.presenter.form_actions.fill_current_slice,
            self.expert.repeat_button: self.presenter.form_actions.repeat_settings,
            self.banner.button: self.presenter.denoise_anyway,
            self.removed_button: self.presenter.actions.show_removed,
            self.report_button: self._write_report,
        }
        connect_buttons(actions)
        # A closing window destroys its docks without removing them first.
        for stop in (self.files.presenter.stop, self.live.live.stop, self.noise.presenter.stop):
            self.destroyed.connect(stop)
        self._stop_with_application()

    def _denoise(self) -> None:
        several = self.all_selected.isChecked() and not self.all_selected.isHidden()
        self.queue.start(self.presenter.chooser.selected() if several else [self.presenter.layer])

    def _compare_models(self, other: str) -> None:
        self.presenter.actions.compare_models(other)

    def _cancel(self) -> None:
        self.queue.cancel()
        self.presenter.cancel()

    def _clear_results(self) -> None:
        self.presenter.actions.clear()

    def _after_events(self) -> None:
        self.queue.advance()

    def _reset_settings(self) -> None:
        forget_settings()
        self.show_settings(AUTO, self.expert.preferred_device, Options())

    def _write_report(self) -> None:
        if path := choose_report(self, f"{self.layer.currentText()} report.html"):
            self.presenter.actions.write_report(path)

    def _set_strength(self, strength: float) -> None:
        self.expert.fields["strength"].value = strength

    def _choose_tab(self, number: int) -> None:
        self.pinned.setVisible(number == 0)  # the other tab has buttons and messages of its own
        show_page_height(self.tabs)

    def _choose_layer(self, number: int) -> None:
        self.presenter.choose_layer(number)
