"""Denoise dock: fields, buttons, progress and messages. Its logic is in `denoise.presenter`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QLabel,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from masked_denoiser.plugin.compare.panel import ComparePanel
from masked_denoiser.plugin.denoise.expert_settings import ExpertSettings
from masked_denoiser.plugin.denoise.fields import OutputChoice, RegionField
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.presenter import DenoisePresenter
from masked_denoiser.plugin.files.tab import FilesTab
from masked_denoiser.plugin.live.panel import LivePanel
from masked_denoiser.plugin.shared.banner import Banner
from masked_denoiser.plugin.shared.form_widgets import combo, connect_buttons, fill_combo, form_layout, row
from masked_denoiser.plugin.shared.task_dock import TaskDock, unwrap_viewer

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from masked_denoiser.jobs.spec.options import Options


class DenoiseDock(TaskDock):
    """Dock that denoises image layers, and lists of files in a second tab.

    Args:
        napari_viewer: the viewer of the dock.
    """

    presenter: DenoisePresenter
    _masked_models: frozenset[str] | None = None

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        viewer = unwrap_viewer(napari_viewer)
        self._make_fields()
        self.live = LivePanel(viewer, lambda: self.presenter, self.form)
        self.compare = ComparePanel(viewer, lambda: self)
        self.files = FilesTab(viewer, self.form, self.ask, self._enable)
        self._lay_out()
        self.presenter = DenoisePresenter(viewer, self)
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
        self.model.clear()
        self.model.addItems(names)
        self.model.setCurrentText(chosen)
        if not names:
            self.show_error("no models were found; add one with: masked-denoiser models import FILE")

    def describe_models(self, descriptions: dict[str, str]) -> None:
        """Show descriptions of models, by name."""
        for number in range(self.model.count()):
            text = descriptions.get(self.model.itemText(number), "")
            self.model.setItemData(number, text, Qt.ItemDataRole.ToolTipRole)
        self._show_description()

    def show_devices(self, names: tuple[str, ...]) -> None:
        """Set the list of devices."""
        self.expert.show_devices(names)

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

    def show_banner(self, text: str) -> None:
        """Show why nothing was denoised, with a button to do it anyway; hide the banner if the text is empty."""
        self.banner.show_text(text)

    def show_comparison(self, possible: bool) -> None:
        """Enable the comparison of original and result, and show what is visible."""
        self.compare.show_state(possible)
        self.removed_button.setEnabled(possible and not self._running)

    def show_settings(self, model: str, device: str, options: Options) -> None:
        """Fill in the settings of an earlier job."""
        self.model.setCurrentText(model)
        self.expert.show_options(options, device)

    def show_masked_models(self, names: frozenset[str]) -> None:
        """Set the models whose passes differ, so that they have a standard deviation."""
        self._masked_models = names
        self._show_description()

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

    def _enable(self) -> None:
        busy = self._running or self.files.running
        self.guard_close_buttons()
        ready = not busy and self.layer.currentIndex() >= 0 and self.model.count() > 0
        self.preview_button.setEnabled(ready)
        self.denoise_button.setEnabled(ready)
        self.copy_button.setEnabled(ready)
        self.cancel_button.setEnabled(self._running)
        self.removed_button.setEnabled(ready and self.compare.isEnabled())
        for widget in (self.layer, self.model, self.output, self.region, self.expert.content()):
            widget.setEnabled(not busy)
        self.files.set_blocked(self._running)
        self.live.live.pause(busy)

    def _show_description(self, _index: int = 0) -> None:
        text = self.model.itemData(self.model.currentIndex(), Qt.ItemDataRole.ToolTipRole) or ""
        self.model.setToolTip(text)
        self.description.setText(text)
        self.description.setVisible(bool(text))
        model, masked = self.model.currentText(), self._masked_models
        reason = f"{model} has no attention masks, so that all its passes are equal: there is no standard deviation."
        self.expert.allow_passes(masked is None or model in masked, reason)

    def _make_fields(self) -> None:
        self._running = False
        self.notes, self.banner = QLabel(), Banner("Denoise anyway")
        self.notes.setWordWrap(True)
        self.notes.hide()
        self.removed_button = QPushButton("What was removed")
        self.removed_button.setEnabled(False)
        self.removed_button.setToolTip("Show the difference of image and result, and whether it looks like noise")
        self.layer, self.model, self.output, self.region = combo([]), combo([]), OutputChoice(), RegionField()
        self.description = QLabel()
        self.description.setWordWrap(True)
        self.expert = ExpertSettings()
        self.preview_button, self.denoise_button = QPushButton("Preview"), QPushButton("Denoise")
        self.cancel_button = QPushButton("Cancel")
        self.copy_button = QPushButton("Copy command")
        self.copy_button.setToolTip("Copy the command line that is equivalent to Denoise")
        self.preview_button.setToolTip("Denoise the visible part of the image, at most about 512 x 512 pixels")
        self.denoise_button.setToolTip("Denoise the layer, or the selected part of it")
        self.cancel_button.setToolTip("Cancel after the current tile; finished tiles are kept")

    def _lay_out(self) -> None:
        shared, rows = form_layout(), form_layout()
        shared.addRow("model", self.model)
        shared.addRow(self.description)
        rows.addRow("image", self.layer)
        rows.addRow(self.notes)
        rows.addRow("region", self.region)
        rows.addRow("output", self.output)
        page = QWidget()
        inner = QVBoxLayout(page)
        inner.addLayout(rows)
        inner.addWidget(row(self.preview_button, self.denoise_button, self.cancel_button, self.copy_button))
        inner.addWidget(self.live)
        inner.addWidget(row(self.compare, self.removed_button))
        inner.addWidget(self.banner)
        inner.addWidget(self.progress_bar)
        inner.addWidget(self.progress_label)
        inner.addWidget(self.messages, 1)
        self.tabs = QTabWidget()
        self.tabs.addTab(page, "Layer")
        self.tabs.addTab(self.files, "Files")
        layout = QVBoxLayout(self)
        layout.addLayout(shared)
        layout.addWidget(self.expert)
        layout.addWidget(self.tabs, 1)

    def _connect(self) -> None:
        self.layer.currentIndexChanged.connect(self._choose_layer)
        self.model.currentIndexChanged.connect(self._show_description)
        actions = {
            self.preview_button: self.presenter.preview,
            self.denoise_button: self.presenter.denoise,
            self.cancel_button: self.presenter.cancel,
            self.copy_button: self.presenter.copy_command,
            self.expert.slices.current_button: self.presenter.fill_current_slice,
            self.expert.repeat_button: self.presenter.repeat_settings,
            self.banner.button: self.presenter.denoise_anyway,
            self.removed_button: self.presenter.show_removed,
        }
        connect_buttons(actions)
        self.destroyed.connect(self.files.presenter.stop)
        self._stop_with_application()

    def _choose_layer(self, number: int) -> None:
        self.presenter.choose_layer(number)
        self.live.follow_layer()
