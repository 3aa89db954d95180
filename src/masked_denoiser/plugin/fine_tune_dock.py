"""The Fine-tune dock: fields, buttons, curves and notes. What they do is in `presenter`."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)

from masked_denoiser.plugin.fine_tune.curves import Curves, Picture
from masked_denoiser.plugin.fine_tune.form import FineTuneForm, Way
from masked_denoiser.plugin.fine_tune.history import History
from masked_denoiser.plugin.fine_tune.image_list import ImageList
from masked_denoiser.plugin.fine_tune.noise_editor import NoiseEditor
from masked_denoiser.plugin.fine_tune.presenter import FineTunePresenter
from masked_denoiser.plugin.shared.file_dialogs import choose_files, choose_folder
from masked_denoiser.plugin.shared.form_widgets import Folded, combo, row, spin

if TYPE_CHECKING:
    from napari.viewer import Viewer

_TICK = 50
#: Milliseconds after the last change before the picture of the noise is drawn.
_PATIENCE = 150
_WAYS: dict[str, Way] = {
    "clean images: noise is added": "clean",
    "noisy images, no truth": "noisy",
    "pairs: noisy and clean": "pairs",
}
_WHOLE = "the whole image"


class FineTuneDock(QWidget):
    """Trains a model on, on the user's own images: tick them, press Start.

    Args:
        napari_viewer: the viewer that it belongs to.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._make_fields()
        self._lay_out()
        self._timer, self._paint = QTimer(self), QTimer(self)
        self._timer.setInterval(_TICK)
        self._timer.timeout.connect(self._tick)
        self._paint.setSingleShot(True)
        self._paint.setInterval(_PATIENCE)
        self.presenter = FineTunePresenter(napari_viewer, self)
        self._connect()
        self._way_changed()

    def form(self) -> FineTuneForm:
        """The fields as they stand."""
        return FineTuneForm(
            way=_WAYS[self.way.currentText()],
            model=self.model.currentText(),
            noise=self.noise.recipe.text(),
            name=self.name.text(),
            input_mask=self.input_mask.isChecked(),
            attention_mask=self.attention_mask.isChecked(),
            steps=self.steps.value(),
            batch=self.batch.value(),
            rate=self.rate.value(),
            patch=self.patch.value(),
            device=self.device.currentText(),
            axes=self.axes.text(),
        )

    def ticked(self) -> tuple[list[int], list[Path]]:
        """The layers to learn from, by place in the list, and the files."""
        return self.images.ticked()

    def clean(self) -> tuple[int, list[Path]]:
        """The clean layer of a pair, and the clean files."""
        return (-1 if self._clean_files else self.clean_layer.currentIndex()), list(self._clean_files)

    def shapes(self) -> str:
        """The Shapes layer that learning is confined to."""
        return "" if self.region.currentIndex() <= 0 else str(self.region.currentText())

    def show_layers(self, names: list[str], active: int) -> None:
        """Offers image layers."""
        _fill(self.clean_layer, names, self.clean_layer.currentText())
        self.images.show_layers(names, active)

    def show_shapes(self, names: list[str]) -> None:
        """Offers Shapes layers."""
        _fill(self.region, [_WHOLE, *names], self.region.currentText())

    def show_models(self, names: list[str], chosen: str) -> None:
        """Offers models, and keeps the choice where it can."""
        _fill(self.model, names, self.model.currentText() or chosen)

    def show_devices(self, names: tuple[str, ...]) -> None:
        """Offers devices; torch is loaded by now, and with it the noises."""
        _fill(self.device, list(names), self.device.currentText())
        self.noise.load()
        self._noise_changed()

    def say(self, text: str) -> None:
        """Adds a line to the notes."""
        self._note(f"<span>{escape(text)}</span>")

    def fail(self, text: str) -> None:
        """Adds an error to the notes."""
        self._note(f'<span style="color:#ff6b6b"><b>Error:</b> {escape(text)}</span>')

    def _note(self, html: str) -> None:
        """Adds a line, and shows it."""
        self.notes.append(html)
        if (bar := self.notes.verticalScrollBar()) is not None:
            bar.setValue(bar.maximum())
        self._tall.ensureWidgetVisible(self.notes, 0, 0)

    def show_progress(self, share: float | None, text: str) -> None:
        """Moves the bar; None while nobody knows how long it takes."""
        self.bar.setRange(0, 0 if share is None else 1000)
        self.bar.setValue(0 if share is None else round(1000 * share))
        self.progress.setText(text)

    def show_state(self, running: bool, can_continue: bool, can_save: bool) -> None:
        """Which buttons can be pressed."""
        self.start_button.setEnabled(not running)
        self.stop_button.setEnabled(running)
        self.continue_button.setEnabled(can_continue and not running)
        self.save_button.setEnabled(can_save and not running)
        self.fields.setEnabled(not running)

    def show_curves(self, history: History) -> None:
        """Draws the curves."""
        self.curves.setVisible(True)
        self.curves.draw(history)

    def show_picture(self, picture: np.ndarray[Any, Any]) -> None:
        """Shows the last validation."""
        self.picture_title.setVisible(True)
        self.picture.setVisible(True)
        self.picture.show_pixels(picture)

    def show_noise(self, picture: np.ndarray[Any, Any] | None, problem: str) -> None:
        """Shows a patch without and with noise, or why there is none."""
        self.noise_picture.setVisible(picture is not None)
        self.noise_picture.show_pixels(picture)
        self.noise.say(problem)

    def ask(self, question: str, *choices: str) -> str:
        """Asks with one button for each choice; the last one is also what closing the window means."""
        box = QMessageBox(QMessageBox.Icon.Question, "Masked Denoiser", question, parent=self)
        buttons = [box.addButton(choice, QMessageBox.ButtonRole.ActionRole) for choice in choices]
        box.setEscapeButton(buttons[-1])
        box.exec()
        clicked = box.clickedButton()
        return str(clicked.text()) if clicked is not None else choices[-1]

    def wake(self) -> None:
        """Begins to look at what the workers say."""
        self._timer.start()

    def event(self, event: QEvent | None) -> bool:
        """Ends all work when napari takes the widget out of its dock, which is how a dock is closed."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._close()
        return bool(super().event(event))

    def _tick(self) -> None:
        self.presenter.tick()
        if not self.presenter.busy:
            self._timer.stop()

    def _close(self) -> None:
        self._timer.stop()
        self._paint.stop()
        self.presenter.close()

    def _make_fields(self) -> None:
        self._clean_files: list[Path] = []
        self.images, self.noise, self.curves = ImageList(), NoiseEditor(), Curves()
        self.region, self.way, self.model = combo([_WHOLE]), combo(list(_WAYS)), combo([])
        self.clean_layer = combo([])
        self.clean_button, self.clean_folder = QPushButton("Files..."), QPushButton("Folder...")
        self.name, self.axes = QLineEdit(), QLineEdit()
        self.input_mask, self.attention_mask = QCheckBox("input pixels"), QCheckBox("attention tokens")
        self.input_mask.setChecked(True)
        self.attention_mask.setChecked(True)
        self.steps, self.batch, self.patch = spin(1, 10**6, 500, 100), spin(1, 4096, 8), spin(16, 512, 64, 8)
        self.rate, self.device = QDoubleSpinBox(), combo(["auto", "cpu"])
        self.rate.setDecimals(6)
        self.rate.setRange(1e-6, 1.0)
        self.rate.setSingleStep(1e-4)
        self.rate.setValue(2e-4)
        self.start_button, self.stop_button = QPushButton("Start"), QPushButton("Stop")
        self.continue_button, self.save_button = QPushButton("Continue"), QPushButton("Save")
        self.bar, self.progress, self.notes = QProgressBar(), QLabel(), QTextEdit()
        self.noise_picture, self.picture = Picture(110), Picture(150)
        self.picture_title = QLabel("held-out patches: noisy | denoised | truth")
        self.progress.setWordWrap(True)
        self.notes.setReadOnly(True)
        self.notes.setMinimumHeight(90)
        for widget in (self.noise_picture, self.curves, self.picture, self.picture_title):
            widget.setVisible(False)
        for button in (self.start_button, self.stop_button, self.continue_button, self.save_button):
            button.setMinimumWidth(40)  # four beside each other in a narrow dock
        self._explain()

    def _explain(self) -> None:
        tips: dict[QWidget, str] = {
            self.region: "Learn only inside the rectangles around the shapes of a layer",
            self.way: "What your images are: clean ones to add noise to, noisy ones without any truth, or both",
            self.model: "The model to begin with",
            self.name: "What to call the new model; empty for the old name and '-tuned'",
            self.clean_layer: "The clean image that belongs to the noisy one",
            self.start_button: "Trains; you may go on working in napari",
            self.stop_button: "Ends the training within two seconds; what was learned is kept",
            self.continue_button: "Goes on where it stopped, or for as many steps again",
            self.save_button: "Writes the best model; the Denoise dock offers it at once",
            self.input_mask: "Hide random pixels from the network while it learns, if the model was trained so",
            self.attention_mask: "Hide random tokens from each attention, as the model does when it denoises",
            self.patch: "Side of the patches it learns from, in pixels; a multiple of 8",
            self.batch: "Patches for each step; fewer take less memory",
            self.rate: "How far each step goes; lower it if the loss jumps",
            self.axes: "One letter a dimension, where layers and files do not name them: T C Z Y X S",
        }
        for widget, tip in tips.items():
            widget.setToolTip(tip)
        self.name.setPlaceholderText("old name and -tuned")
        self.axes.setPlaceholderText("from the images")

    def _lay_out(self) -> None:
        self.fields = QWidget()
        rows = QFormLayout(self.fields)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.clean_row = row(self.clean_layer, self.clean_button, self.clean_folder)
        self._rows = rows
        rows.addRow("images", self.images)
        rows.addRow("inside", self.region)
        rows.addRow("they are", self.way)
        rows.addRow("clean", self.clean_row)
        rows.addRow("begin with", self.model)
        rows.addRow("noise", self.noise)
        rows.addRow(self.noise_picture)
        rows.addRow("new name", self.name)
        rows.addRow(self._expert())
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.addWidget(self.fields)
        layout.addWidget(row(self.start_button, self.stop_button, self.continue_button, self.save_button))
        layout.addWidget(self.bar)
        layout.addWidget(self.progress)
        layout.addWidget(self.curves)
        layout.addWidget(self.picture_title)
        layout.addWidget(self.picture)
        layout.addWidget(self.notes, 1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        self._tall = _Tall(content)
        whole.addWidget(self._tall)

    def _expert(self) -> QWidget:
        content = QWidget()
        rows = QFormLayout(content)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("steps", self.steps)
        rows.addRow("batch", self.batch)
        rows.addRow("learning rate", self.rate)
        rows.addRow("patch", self.patch)
        rows.addRow("mask", row(self.input_mask, self.attention_mask))
        rows.addRow("device", self.device)
        rows.addRow("axes", self.axes)
        self.expert = Folded("Expert settings")
        self.expert.setContent(content)
        self.expert.collapse(animate=False)
        return self.expert

    def _connect(self) -> None:
        # Bound methods of this widget: Qt lets go of them when the widget is destroyed.
        self.start_button.clicked.connect(self._start)
        self.stop_button.clicked.connect(self._stop)
        self.continue_button.clicked.connect(self._continue)
        self.save_button.clicked.connect(self._save)
        self.clean_button.clicked.connect(self._choose_clean)
        self.clean_folder.clicked.connect(self._choose_clean_folder)
        self.way.currentIndexChanged.connect(self._way_changed)
        for signal in (self.noise.changed, self.images.changed, self.region.currentIndexChanged):
            signal.connect(self._noise_changed)
        self._paint.timeout.connect(self._noise_due)
        self.destroyed.connect(self.presenter.close)
        if (app := QApplication.instance()) is not None:
            app.aboutToQuit.connect(self._close)

    def _start(self, _checked: bool = False) -> None:
        self.presenter.start()

    def _stop(self, _checked: bool = False) -> None:
        self.presenter.stop_training()

    def _continue(self, _checked: bool = False) -> None:
        self.presenter.go_on()

    def _save(self, _checked: bool = False) -> None:
        self.presenter.save()

    def _choose_clean(self, _checked: bool = False) -> None:
        self._take_clean([Path(path) for path in choose_files(self)])

    def _choose_clean_folder(self, _checked: bool = False) -> None:
        folder = choose_folder(self, "The clean images, in the order of names of the noisy ones")
        self._take_clean([Path(folder)] if folder else [])

    def _take_clean(self, paths: list[Path]) -> None:
        """Files or a folder instead of a layer; nothing for the layer again."""
        self._clean_files = paths
        folder = len(paths) == 1 and paths[0].is_dir()
        self.clean_button.setText(f"{len(paths)} files" if paths and not folder else "Files...")
        self.clean_folder.setText(paths[0].name if folder else "Folder...")
        self.clean_layer.setEnabled(not paths)

    def _way_changed(self, _index: int = 0) -> None:
        way = _WAYS[self.way.currentText()]
        self._rows.setRowVisible(self.clean_row, way == "pairs")
        self._rows.setRowVisible(self.noise, way == "clean")
        self.input_mask.setEnabled(way != "noisy")
        if way == "noisy":
            self.input_mask.setChecked(True)
        truth = "noisy | denoised | truth" if way != "noisy" else "some pixels hidden | denoised | noisy"
        self.picture_title.setText(f"held-out patches: {truth}")
        self._noise_changed()

    def _noise_changed(self, _value: Any = None) -> None:
        self._paint.start()

    def _noise_due(self) -> None:
        if self.noise.family.count():  # before that torch would be loaded here, in the window's thread
            self.presenter.noise_changed()


class _Tall(QScrollArea):
    """Scrolls up and down only: it is never narrower than what it holds."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(content)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """The width of the content and of the scroll bar; any height."""
        content, bar = self.widget(), self.verticalScrollBar()
        inside = 0 if content is None else content.minimumSizeHint().width()
        beside = 0 if bar is None else bar.sizeHint().width()
        return QSize(inside + beside, super().minimumSizeHint().height())


def _fill(box: Any, names: list[str], chosen: str) -> None:
    """Offers names in a combo box, and keeps the choice where it can."""
    box.blockSignals(True)
    box.clear()
    box.addItems(names)
    box.setCurrentIndex(max(0, box.findText(chosen)) if names else -1)
    box.blockSignals(False)
