"""Fine-tune dock: fields, buttons, curves and messages. Its logic is in `fine_tune.presenter`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from masked_denoiser.plugin.fine_tune.curves import Curves, PictureLabel
from masked_denoiser.plugin.fine_tune.form import FineTuneForm, Supervision
from masked_denoiser.plugin.fine_tune.history import TrainingHistory
from masked_denoiser.plugin.fine_tune.image_list import ImageList
from masked_denoiser.plugin.fine_tune.noise_editor import NoiseEditor
from masked_denoiser.plugin.fine_tune.presenter import FineTunePresenter
from masked_denoiser.plugin.fine_tune.training_settings import TrainingSettings
from masked_denoiser.plugin.shared.file_dialogs import choose_files, choose_folder
from masked_denoiser.plugin.shared.task_dock import TaskDock, unwrap_viewer
from masked_denoiser.plugin.shared.widgets.form_widgets import (
    column,
    combo,
    connect_buttons,
    fill_combo,
    form_layout,
    row,
    scroll_with_pinned,
    set_tooltips,
)

if TYPE_CHECKING:
    from napari.viewer import Viewer

#: Milliseconds between the last change of the form and the update of the noise preview.
_PREVIEW_DELAY_MS = 150

#: Kinds of training images by their label.
_SUPERVISION: dict[str, Supervision] = {
    "clean images: noise is added": "clean",
    "noisy images, no truth": "noisy",
    "pairs: noisy and clean": "pairs",
}

#: Entry of the list of Shapes layers for no region.
_WHOLE_IMAGE = "the whole image"


class FineTuneDock(TaskDock):
    """Dock that fine-tunes a model on the user's images.

    Args:
        napari_viewer: the viewer of the dock.
    """

    presenter: FineTunePresenter

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = unwrap_viewer(napari_viewer)
        self._make_fields()
        self._lay_out()
        self._preview_timer = QTimer(self)
        self._preview_timer.setSingleShot(True)
        self._preview_timer.setInterval(_PREVIEW_DELAY_MS)
        self.presenter = FineTunePresenter(self._viewer, self)
        self._connect()
        self._supervision_changed()

    def form(self) -> FineTuneForm:
        """Return the values of the fields."""
        form = FineTuneForm(
            supervision=_SUPERVISION[self.supervision.currentText()],
            model=self.model.currentText(),
            noise=self.noise.recipe.text(),
            name=self.name.text(),
        )
        return self.expert.fill(form)

    def training_images(self) -> tuple[list[int], list[Path]]:
        """Return the training images: numbers of layers in the list, and files and folders."""
        return self.images.checked()

    def clean_images(self) -> tuple[int, list[Path]]:
        """Return the clean images of pairs: the number of a layer, -1 for none, and files and folders."""
        return (-1 if self._clean_files else self.clean_layer.currentIndex()), list(self._clean_files)

    def shapes_name(self) -> str:
        """Return the name of the Shapes layer that limits the training; "" for whole images."""
        return "" if self.region.currentIndex() <= 0 else str(self.region.currentText())

    def show_layers(self, names: list[str], active: int, before: list[int]) -> None:
        """Set the list of image layers; check the active one if no image is checked."""
        fill_combo(self.clean_layer, names, _moved(self.clean_layer.currentIndex(), before, min(0, len(names) - 1)))
        self.images.show_layers(names, active, before)

    def show_shapes(self, names: list[str], before: list[int]) -> None:
        """Set the list of Shapes layers, and keep the choice if possible."""
        fill_combo(self.region, [_WHOLE_IMAGE, *names], 1 + _moved(self.region.currentIndex() - 1, before, -1))

    def show_models(self, names: list[str], chosen: str) -> None:
        """Set the list of models, and keep the choice if possible."""
        fill_combo(self.model, names, self.model.currentText() or chosen)

    def show_devices(self, names: tuple[str, ...]) -> None:
        """Set the list of devices, and fill the noise editor, since torch is imported now."""
        fill_combo(self.expert.device, list(names), self.expert.device.currentText())
        self.noise.load()
        self._schedule_noise_preview()

    def stop(self) -> None:
        """Cancel all tasks, because the window closes."""
        self._preview_timer.stop()
        super().stop()

    def show_supervision(self, supervision: Supervision) -> None:
        """Choose the kind of the training images."""
        self.supervision.setCurrentText(next(text for text, kind in _SUPERVISION.items() if kind == supervision))

    def show_state(self, running: bool, can_continue: bool, can_save: bool) -> None:
        """Enable the buttons of this state."""
        self.start_button.setEnabled(not running)
        self.stop_button.setEnabled(running)
        self.continue_button.setEnabled(can_continue and not running)
        self.save_button.setEnabled(can_save and not running)
        self.denoise_button.setEnabled(can_save and not running)
        self.fields.setEnabled(not running)
        self.guard_close_buttons()

    def show_curves(self, history: TrainingHistory) -> None:
        """Draw the curves."""
        self.curves.setVisible(True)
        self.curves.draw(history)

    def show_picture(self, picture: np.ndarray[Any, Any]) -> None:
        """Show the last validation, [height, width, 3] uint8."""
        self.picture_title.setVisible(True)
        self.picture.setVisible(True)
        self.picture.show_pixels(picture)

    def show_view(self, picture: np.ndarray[Any, Any]) -> None:
        """Show the user's view before and after the model as trained so far, [height, width, 3] uint8."""
        self.view_title.setVisible(True)
        self.view_picture.setVisible(True)
        self.view_picture.show_pixels(picture)

    def show_noise(self, picture: np.ndarray[Any, Any] | None, problem: str) -> None:
        """Show a patch without and with noise, or why there is none."""
        self.noise_picture.setVisible(picture is not None)
        self.noise_picture.show_pixels(picture)
        self.noise.show_problem(problem)

    def _make_fields(self) -> None:
        self._clean_files: list[Path] = []
        self.images, self.noise, self.curves = ImageList(), NoiseEditor(), Curves()
        self.region, self.supervision, self.model = combo([_WHOLE_IMAGE]), combo(list(_SUPERVISION)), combo([])
        self.clean_layer = combo([])
        self.clean_files_button, self.clean_folder_button = QPushButton("Files..."), QPushButton("Folder...")
        self.name, self.expert = QLineEdit(), TrainingSettings()
        self.start_button, self.stop_button = QPushButton("Start"), QPushButton("Stop")
        self.continue_button, self.save_button = QPushButton("Continue"), QPushButton("Save")
        self.denoise_button = QPushButton("Denoise with it now")
        self.noise_picture, self.picture, self.view_picture = PictureLabel(110), PictureLabel(150), PictureLabel(150)
        self.view_title = QLabel("your view: before | after")
        self.picture_title = QLabel("held-out patches: noisy | denoised | truth")
        for widget in (
            self.noise_picture,
            self.curves,
            self.picture,
            self.picture_title,
            self.view_picture,
            self.view_title,
        ):
            widget.setVisible(False)
        for button in (self.start_button, self.stop_button, self.continue_button, self.save_button):
            button.setMinimumWidth(40)  # four in a row must fit into a narrow dock
        self._add_tooltips()

    def _add_tooltips(self) -> None:
        tooltips: dict[QWidget, str] = {
            self.region: "Train only inside the bounding boxes of the shapes of this layer",
            self.supervision: "Training images: clean ones to which noise is added, noisy ones alone, or pairs of both",
            self.model: "Model to fine-tune",
            self.name: "Name of the new model; empty for the name of the first image and '-tuned'",
            self.denoise_button: "Save the model, and preview the chosen layer with it in the Denoise dock",
            self.clean_layer: "Clean image of the pair",
            self.start_button: "Train in the background",
            self.stop_button: "Stop within two seconds; the checkpoint is kept",
            self.continue_button: "Resume a stopped training, or extend a finished one by the same number of steps",
            self.save_button: "Save the best model; the Denoise dock offers it immediately",
        }
        set_tooltips(tooltips)
        self.name.setPlaceholderText("name of the image and -tuned")

    def _lay_out(self) -> None:
        self.fields = QWidget()
        rows = form_layout(self.fields, margins=False)
        self.clean_row = row(self.clean_layer, self.clean_files_button, self.clean_folder_button)
        self._rows = rows
        rows.addRow("images", self.images)
        rows.addRow("region", self.region)
        rows.addRow("kind", self.supervision)
        rows.addRow("clean", self.clean_row)
        rows.addRow("model", self.model)
        rows.addRow("noise", self.noise)
        rows.addRow(self.noise_picture)
        rows.addRow("new name", self.name)
        rows.addRow(self.expert)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.addWidget(self.fields)
        layout.addWidget(self.curves)
        layout.addWidget(self.view_title)
        layout.addWidget(self.view_picture)
        layout.addWidget(self.picture_title)
        layout.addWidget(self.picture)
        layout.addStretch(1)
        buttons = row(self.start_button, self.stop_button, self.continue_button, self.save_button)
        scroll_with_pinned(
            self, content, column(buttons, self.denoise_button, self.progress_bar, self.progress_label, self.messages)
        )

    def _connect(self) -> None:
        actions = {
            self.start_button: self.presenter.start,
            self.stop_button: self.presenter.stop_training,
            self.continue_button: self.presenter.continue_training,
            self.save_button: self._save,
            self.denoise_button: self._denoise,
            self.clean_files_button: self._choose_clean,
            self.clean_folder_button: self._choose_clean_folder,
        }
        connect_buttons(actions)
        self.supervision.currentIndexChanged.connect(self._supervision_changed)
        for signal in (
            self.noise.changed,
            self.images.changed,
            self.region.currentIndexChanged,
            self.model.currentIndexChanged,
        ):
            signal.connect(self._schedule_noise_preview)
        self._preview_timer.timeout.connect(self._update_noise_preview)
        self._stop_with_application()

    def _save(self) -> None:
        self.presenter.save()

    def _denoise(self) -> None:
        """Save the model, and open the Denoise dock with it."""
        if (name := self.presenter.save()) and (window := getattr(self._viewer, "window", None)) is not None:
            _, dock = window.add_plugin_dock_widget("napari-masked-denoiser", "Denoise")
            dock.model.setCurrentText(name)
            if not dock.preview_button.isEnabled():
                self.show_message(f"the Denoise dock is busy; press Preview there with model '{name}' afterwards")
            dock.preview_button.click()

    def _choose_clean(self) -> None:
        self._set_clean_files([Path(path) for path in choose_files(self)])

    def _choose_clean_folder(self) -> None:
        folder = choose_folder(self, "Clean images, in the order of the names of the noisy ones")
        self._set_clean_files([Path(folder)] if folder else [])

    def _set_clean_files(self, paths: list[Path]) -> None:
        """Use these files or folder as clean images, or the layer if there are none."""
        self._clean_files = paths
        folder = len(paths) == 1 and paths[0].is_dir()
        self.clean_files_button.setText(f"{len(paths)} files" if paths and not folder else "Files...")
        self.clean_folder_button.setText(paths[0].name if folder else "Folder...")
        self.clean_layer.setEnabled(not paths)

    def _supervision_changed(self, _index: int = 0) -> None:
        supervision = _SUPERVISION[self.supervision.currentText()]
        self._rows.setRowVisible(self.clean_row, supervision == "pairs")
        self._rows.setRowVisible(self.noise, supervision == "clean")
        self.expert.require_input_mask(supervision == "noisy")
        columns = "noisy | denoised | truth" if supervision != "noisy" else "masked | denoised | noisy"
        self.picture_title.setText(f"held-out patches: {columns}")
        self._schedule_noise_preview()

    def _schedule_noise_preview(self, _value: Any = None) -> None:
        self._preview_timer.start()

    def _update_noise_preview(self) -> None:
        if self.noise.family.count():  # otherwise this would import torch in the GUI thread
            self.presenter.update_noise_preview()


def _moved(chosen: int, before: list[int], default: int) -> int:
    """Return where the entry with this number is now; `before` has the earlier number of each entry."""
    return before.index(chosen) if chosen >= 0 and chosen in before else default
