"""Denoise dock: fields, buttons, progress and messages. Its logic is in `denoise.presenter`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QLabel,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import AUTO
from masked_denoiser.plugin.compare.panel import ComparePanel
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.last_settings import forget_settings, recall_settings
from masked_denoiser.plugin.denoise.layer_queue import LayerQueue
from masked_denoiser.plugin.denoise.presenter import DenoisePresenter
from masked_denoiser.plugin.denoise.widgets.expert_settings import ExpertSettings
from masked_denoiser.plugin.denoise.widgets.fields import OutputChoice, RegionField
from masked_denoiser.plugin.denoise.widgets.model_field import ModelField
from masked_denoiser.plugin.files.tab import FilesTab
from masked_denoiser.plugin.live.panel import LivePanel
from masked_denoiser.plugin.noise_card.panel import NoiseCard
from masked_denoiser.plugin.shared.file_dialogs import choose_report
from masked_denoiser.plugin.shared.preferences import read_preferences
from masked_denoiser.plugin.shared.task_dock import TaskDock, unwrap_viewer
from masked_denoiser.plugin.shared.widgets.banner import Banner
from masked_denoiser.plugin.shared.widgets.form_widgets import (
    button,
    column,
    combo,
    connect_buttons,
    fill_combo,
    form_layout,
    row,
    scroll_with_pinned,
    show_page_height,
)

if TYPE_CHECKING:
    from napari.viewer import Viewer


class DenoiseDock(TaskDock):
    """Dock that denoises image layers, and lists of files in a second tab.

    Args:
        napari_viewer: the viewer of the dock.
    """

    presenter: DenoisePresenter

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        viewer = unwrap_viewer(napari_viewer)
        self._make_fields()
        self.live = LivePanel(viewer, lambda: self.presenter, self.form)
        self.compare = ComparePanel(viewer, lambda: self)
        self.noise = NoiseCard(lambda: self.presenter.layer, self.form)
        self.files = FilesTab(viewer, self.form, self.ask, self._enable)
        self._lay_out()
        self._use_preferences()
        self.presenter = DenoisePresenter(viewer, self)
        self.queue = LayerQueue(self.presenter)
        self._connect()

    def form(self) -> Form:
        """Return the values of the fields.

        Raises:
            FormError: if a field is invalid.
        """
        form = Form(model=self.model.currentText(), output=self.output.output, path=self.output.path.text())
        return self.expert.fill(replace(form, region=self.region.kind, shapes=self.region.shapes))

    def show_layers(self, names: list[str], chosen: int) -> None:
        """Set the list of image layers."""
        fill_combo(self.layer, names, chosen)
        self._enable()

    def show_models(self, names: list[str], chosen: str) -> None:
        """Set the list of models."""
        self.model_field.show_models(names, chosen)
        if not names:
            self.show_error("no models were found; add one with: masked-denoiser models import FILE")

    def describe_models(self, descriptions: dict[str, str]) -> None:
        """Show descriptions of models, by name."""
        self.model_field.describe(descriptions)

    def show_devices(self, names: tuple[str, ...]) -> None:
        """Set the list of devices, and fill in the settings of the last job, which may need one of them."""
        self.expert.show_devices(names)
        if (settings := recall_settings()) is not None:
            self.show_settings(*settings)

    def show_axes(self, letters: str, hint: str) -> None:
        """Show the axes of the chosen layer, and a hint where they come from."""
        self.expert.show_axes(letters, hint)

    def suggest_paths(self, name: str, path: Path | None) -> None:
        """Suggest output paths for a layer of this name and file."""
        self.output.suggest(name, path)

    def show_shapes(self, names: list[str]) -> None:
        """Set the list of Shapes layers."""
        self.region.show_shapes(names)

    def show_notes(self, notes: list[str]) -> None:
        """Show what is to be known about the chosen layer; hide the field if there is nothing."""
        self.notes.setText("\n".join(notes))
        self.notes.setVisible(bool(notes))

    def show_selected(self, count: int) -> None:
        """Offer to denoise this number of selected layers, if there are several."""
        self.all_selected.setText(f"all {count} selected layers")
        self.all_selected.setVisible(count > 1)

    def show_banner(self, text: str) -> None:
        """Show why nothing was denoised, with a button to do it anyway; hide the banner if the text is empty."""
        self.banner.show_text(text)

    def show_comparison(self, possible: bool) -> None:
        """Enable the comparison of original and result, and show what is visible."""
        self.compare.show_state(possible)
        for action in (self.removed_button, self.report_button, self.clear_button):
            action.setEnabled(possible and not self._running)

    def show_settings(self, model: str, device: str, options: Options) -> None:
        """Fill in the settings of an earlier job."""
        self.model.setCurrentText(model)
        self.expert.show_options(options, device)

    def show_slice(self, position: dict[str, int]) -> None:
        """Fill in the slice at this position by axis letter."""
        self.expert.slices.show_slice(position)

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
        self.cancel_button.setEnabled(self._running)
        for action in (self.removed_button, self.report_button, self.clear_button):
            action.setEnabled(ready and self.compare.isEnabled())
        for widget in (self.layer, self.all_selected, self.model, self.output, self.region, self.expert.content()):
            widget.setEnabled(not busy)
        self.files.set_blocked(self._running)
        self.live.live.pause(busy)

    def _make_fields(self) -> None:
        self._running = False
        self.notes, self.banner = QLabel(), Banner("Denoise anyway")
        self.notes.setWordWrap(True)
        self.notes.hide()
        self.all_selected = QCheckBox()
        self.all_selected.setToolTip("Denoise all selected layers with these settings, one after the other")
        self.removed_button = button("What was removed", "Show what was removed, and whether it looks like noise")
        self.report_button = button(
            "Report...", "Write a page with pictures and figures on image, result and what was removed, for a reviewer"
        )
        self.clear_button = button("Clear", "Remove all results of this image from the viewer; files stay on disk")
        self.layer, self.model_field = combo([]), ModelField()
        self.model, self.output, self.region = self.model_field.combo, OutputChoice(), RegionField()
        self.expert = ExpertSettings()
        self.preview_button = button("Preview", "Denoise the visible part of the image, at most about 512 x 512 pixels")
        self.denoise_button = button("Denoise", "Denoise the layer, or the selected part of it")
        self.cancel_button = button("Cancel", "Cancel after the current tile; finished tiles are kept")
        self.copy_button = button("Copy command", "Copy the command line that is equivalent to Denoise")

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
        inner.addWidget(row(self.removed_button, self.report_button, self.clear_button))
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
            self.copy_button: self.presenter.copy_command,
            self.expert.slices.current_button: self.presenter.fill_current_slice,
            self.expert.repeat_button: self.presenter.repeat_settings,
            self.banner.button: self.presenter.denoise_anyway,
            self.removed_button: self.presenter.actions.show_removed,
            self.report_button: self._write_report,
        }
        connect_buttons(actions)
        self.destroyed.connect(self.files.presenter.stop)
        self._stop_with_application()

    def _use_preferences(self) -> None:
        preferences = read_preferences()
        self.output.use_preferences(preferences.output, preferences.folder)
        self.expert.preferred_device = preferences.device
        self.live.live.cache_bytes = preferences.cache_bytes

    def _denoise(self) -> None:
        several = self.all_selected.isChecked() and not self.all_selected.isHidden()
        self.queue.start(self.presenter.selected_layers() if several else [self.presenter.layer])

    def _cancel(self) -> None:
        self.queue.cancel()
        self.presenter.cancel()

    def _clear_results(self) -> None:
        self.live.live.switch_off()
        self.presenter.actions.clear()

    def _poll(self) -> None:
        super()._poll()
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
        self.live.follow_layer()
