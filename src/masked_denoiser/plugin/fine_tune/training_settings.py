"""Expert settings of the Fine-tune dock."""

from __future__ import annotations

from dataclasses import replace

from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLineEdit, QWidget

from masked_denoiser.plugin.fine_tune.form import FineTuneForm
from masked_denoiser.plugin.shared.widgets.form_widgets import (
    CollapsibleSection,
    combo,
    form_layout,
    row,
    set_tooltips,
    spin,
)


class TrainingSettings(CollapsibleSection):
    """Section with steps, batch, learning rate, patch, masks, device and axes."""

    def __init__(self) -> None:
        super().__init__("Expert settings")
        self.steps, self.batch, self.patch = spin(1, 10**6, 500, 100), spin(0, 4096, 0), spin(16, 512, 64, 64)
        self.rate, self.device, self.axes = QDoubleSpinBox(), combo(["auto", "cpu"]), QLineEdit()
        self.batch.setSpecialValueText("automatic")
        self.rate.setDecimals(6)
        self.rate.setRange(1e-6, 1.0)
        self.rate.setSingleStep(1e-4)
        self.rate.setValue(2e-4)
        self.input_mask, self.attention_mask = QCheckBox("input pixels"), QCheckBox("attention tokens")
        self.input_mask.setChecked(True)
        self.attention_mask.setChecked(True)
        self.axes.setPlaceholderText("from the images")
        tooltips: dict[QWidget, str] = {
            self.input_mask: "Mask random input pixels during training, if the model was trained so",
            self.attention_mask: "Mask random tokens of each attention, as the model does when it denoises",
            self.patch: "Side of the training patches in pixels; a multiple of 64 for general models, else of 8",
            self.batch: "Patches per step; automatic is 8, and 32 on a GPU; fewer need less memory",
            self.rate: "Size of each step; lower it if the loss is unstable",
            self.axes: "One letter per dimension (T, C, Z, Y, X, S) of layers and files that do not name their axes",
        }
        set_tooltips(tooltips)
        self._lay_out()

    def fill(self, form: FineTuneForm) -> FineTuneForm:
        """Return a form with the values of these fields."""
        return replace(
            form,
            input_mask=self.input_mask.isChecked(),
            attention_mask=self.attention_mask.isChecked(),
            steps=self.steps.value(),
            batch=self.batch.value(),
            rate=self.rate.value(),
            patch=self.patch.value(),
            device=self.device.currentText(),
            axes=self.axes.text(),
        )

    def require_input_mask(self, required: bool) -> None:
        """Keep the mask of input pixels on if required: without ground truth, masked pixels are the targets."""
        self.input_mask.setEnabled(not required)
        if required:
            self.input_mask.setChecked(True)

    def _lay_out(self) -> None:
        content = QWidget()
        rows = form_layout(content, margins=False)
        rows.addRow("steps", self.steps)
        rows.addRow("batch", self.batch)
        rows.addRow("learning rate", self.rate)
        rows.addRow("patch", self.patch)
        rows.addRow("mask", row(self.input_mask, self.attention_mask))
        rows.addRow("device", self.device)
        rows.addRow("axes", self.axes)
        self.setContent(content)
        self.collapse(animate=False)
