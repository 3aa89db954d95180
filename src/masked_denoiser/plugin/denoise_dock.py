"""The Denoise dock: fields, buttons, progress and notes. What they do is in `presenter`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QFormLayout,
    QLabel,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from masked_denoiser.plugin.denoise.expert_settings import ExpertSettings
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.output_field import OutputChoice
from masked_denoiser.plugin.denoise.presenter import Presenter
from masked_denoiser.plugin.denoise.region_fields import RegionField
from masked_denoiser.plugin.files.tab import FilesTab
from masked_denoiser.plugin.shared.form_widgets import combo, row
from masked_denoiser.plugin.shared.message_log import MessageLog

if TYPE_CHECKING:
    from napari.viewer import Viewer

#: Milliseconds between two looks at what the worker has said.
_TICK = 50


class DenoiseDock(QWidget):
    """Denoises an image layer: choose it, press Denoise.

    Args:
        napari_viewer: the viewer that it belongs to.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._make_fields()
        self.files = FilesTab(napari_viewer, self.form, self.ask, self._enable)
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK)
        self._timer.timeout.connect(self._tick)
        self.presenter = Presenter(napari_viewer, self)
        self._connect()

    def form(self) -> Form:
        """The fields as they stand.

        Raises:
            FormError: if one of them cannot be read.
        """
        form = Form(model=self.model.currentText(), output=self.output.output, path=self.output.path.text())
        return self.expert.fill(replace(form, region=self.region.kind, shapes=self.region.shapes))

    def show_layers(self, names: list[str], chosen: int) -> None:
        """Offers these layers."""
        self.layer.blockSignals(True)
        self.layer.clear()
        self.layer.addItems(names)
        self.layer.setCurrentIndex(chosen)
        self.layer.blockSignals(False)
        self._enable()

    def show_models(self, names: list[str], chosen: str) -> None:
        """Offers these models."""
        self.model.clear()
        self.model.addItems(names)
        self.model.setCurrentText(chosen)
        if not names:
            self.fail("there are no models; add one with: masked-denoiser models import FILE")

    def describe_models(self, descriptions: dict[str, str]) -> None:
        """Tells what each model is."""
        for number in range(self.model.count()):
            text = descriptions.get(self.model.itemText(number), "")
            self.model.setItemData(number, text, Qt.ItemDataRole.ToolTipRole)
        self._describe()

    def show_devices(self, names: tuple[str, ...]) -> None:
        """Offers these devices."""
        self.expert.show_devices(names)

    def show_axes(self, letters: str, hint: str) -> None:
        """Shows the chosen layer's axes."""
        self.expert.show_axes(letters, hint)

    def suggest_paths(self, name: str, path: Path | None) -> None:
        """Begins the output's path anew."""
        self.output.suggest(name, path)

    def show_shapes(self, names: list[str]) -> None:
        """Offers these Shapes layers as regions."""
        self.region.show_shapes(names)

    def show_slice(self, position: dict[str, int]) -> None:
        """Fills in where the sliders stand."""
        self.expert.slices.show_slice(position)

    def copy(self, text: str) -> None:
        """Puts a text on the clipboard."""
        if (clipboard := QApplication.clipboard()) is not None:
            clipboard.setText(text)

    def say(self, text: str) -> None:
        """Adds a line to the notes."""
        self.notes.say(text)

    def fail(self, text: str) -> None:
        """Adds an error to the notes."""
        self.notes.fail(text)

    def show_progress(self, share: float | None, text: str) -> None:
        """Moves the bar; None while nobody knows how long it takes."""
        self.bar.setRange(0, 0 if share is None else 1000)
        self.bar.setValue(0 if share is None else round(1000 * share))
        self.progress.setText(text)

    def set_running(self, running: bool) -> None:
        """Leaves only Cancel to be pressed while a job runs."""
        self._running = running
        self._enable()

    def ask(self, question: str, *choices: str) -> str:
        """Asks with one button for each choice; the last one is also what closing the window means."""
        box = QMessageBox(QMessageBox.Icon.Question, "Masked Denoiser", question, parent=self)
        buttons = [box.addButton(choice, QMessageBox.ButtonRole.ActionRole) for choice in choices]
        box.setEscapeButton(buttons[-1])
        box.exec()
        clicked = box.clickedButton()
        return str(clicked.text()) if clicked is not None else choices[-1]

    def wake(self) -> None:
        """Begins to look at what the worker says."""
        self._timer.start()

    def event(self, event: QEvent | None) -> bool:
        """Ends all work when napari takes the widget out of its dock, which is how a dock is closed."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._stop()
        return bool(super().event(event))

    def _tick(self) -> None:
        self.presenter.tick()
        if not self.presenter.busy:
            self._timer.stop()

    def _stop(self) -> None:
        self._timer.stop()
        self.presenter.stop()
        self.files.stop()

    def _enable(self) -> None:
        busy = self._running or self.files.running
        ready = not busy and self.layer.currentIndex() >= 0 and self.model.count() > 0
        self.preview_button.setEnabled(ready)
        self.denoise_button.setEnabled(ready)
        self.copy_button.setEnabled(ready)
        self.cancel_button.setEnabled(self._running)
        for widget in (self.layer, self.model, self.output, self.region, self.expert.content()):
            widget.setEnabled(not busy)
        self.files.set_blocked(self._running)

    def _describe(self, _index: int = 0) -> None:
        text = self.model.itemData(self.model.currentIndex(), Qt.ItemDataRole.ToolTipRole) or ""
        self.model.setToolTip(text)
        self.description.setText(text)
        self.description.setVisible(bool(text))

    def _make_fields(self) -> None:
        self._running = False
        self.layer, self.model, self.output, self.region = combo([]), combo([]), OutputChoice(), RegionField()
        self.description, self.progress = QLabel(), QLabel()
        for label in (self.description, self.progress):
            label.setWordWrap(True)
        self.expert = ExpertSettings()
        self.preview_button, self.denoise_button = QPushButton("Preview"), QPushButton("Denoise")
        self.cancel_button, self.bar, self.notes = QPushButton("Cancel"), QProgressBar(), MessageLog()
        self.copy_button = QPushButton("Copy command")
        self.copy_button.setToolTip(
            "Copies the command line that does what Denoise would do, for a terminal or a script"
        )
        self.preview_button.setToolTip("Denoises what is in view now, at most about 512 x 512 pixels")
        self.denoise_button.setToolTip("Denoises the layer, or the region of it, tile by tile")
        self.cancel_button.setToolTip("Ends the job after the tile in work; what is done is kept")

    def _lay_out(self) -> None:
        shared, rows = QFormLayout(), QFormLayout()
        for form in (shared, rows):
            form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        shared.addRow("model", self.model)
        shared.addRow(self.description)
        rows.addRow("image", self.layer)
        rows.addRow("region", self.region)
        rows.addRow("output", self.output)
        page = QWidget()
        inner = QVBoxLayout(page)
        inner.addLayout(rows)
        inner.addWidget(row(self.preview_button, self.denoise_button, self.cancel_button, self.copy_button))
        inner.addWidget(self.bar)
        inner.addWidget(self.progress)
        inner.addWidget(self.notes, 1)
        self.tabs = QTabWidget()
        self.tabs.addTab(page, "Layer")
        self.tabs.addTab(self.files, "Files")
        layout = QVBoxLayout(self)
        layout.addLayout(shared)
        layout.addWidget(self.expert)
        layout.addWidget(self.tabs, 1)

    def _connect(self) -> None:
        # Bound methods of this widget: Qt lets go of them when the widget is destroyed.
        self.layer.currentIndexChanged.connect(self._choose_layer)
        self.model.currentIndexChanged.connect(self._describe)
        self.preview_button.clicked.connect(self._preview)
        self.denoise_button.clicked.connect(self._denoise)
        self.cancel_button.clicked.connect(self._cancel)
        self.copy_button.clicked.connect(self._copy)
        self.expert.slices.this.clicked.connect(self._this_slice)
        # When napari closes, its window is destroyed with the docks in it.
        self.destroyed.connect(self.presenter.stop)
        self.destroyed.connect(self.files.presenter.stop)
        if (app := QApplication.instance()) is not None:
            app.aboutToQuit.connect(self._stop)

    def _choose_layer(self, number: int) -> None:
        self.presenter.choose_layer(number)

    def _preview(self, _checked: bool = False) -> None:
        self.presenter.preview()

    def _denoise(self, _checked: bool = False) -> None:
        self.presenter.denoise()

    def _cancel(self, _checked: bool = False) -> None:
        self.presenter.cancel()

    def _copy(self, _checked: bool = False) -> None:
        self.presenter.copy_command()

    def _this_slice(self, _checked: bool = False) -> None:
        self.presenter.this_slice()
