"""The dock's expert settings, folded away."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QWidget,
)

from masked_denoiser.errors import FormError
from masked_denoiser.images.planes import Channels
from masked_denoiser.inference.precision import AskedPrecision
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.region_fields import SlicesField
from masked_denoiser.plugin.shared.form_widgets import Folded, combo, row, spin

_CHANNELS: dict[str, Channels] = {"automatic": "auto", "RGB together": "rgb", "each by itself": "each"}
_PRECISIONS: dict[str, AskedPrecision] = {
    "float32 (exact)": "float32",
    "fastest here": "auto",
    "bfloat16": "bfloat16",
    "float16": "float16",
}
_DTYPES: dict[str, Literal["same", "float32"]] = {"as the image": "same", "float32": "float32"}
_HALOS: dict[str, Literal["default", "exact"]] = {"default": "default", "exact (slower)": "exact"}


class ExpertSettings(Folded):
    """What most people never need, with what it does in the tooltips."""

    def __init__(self) -> None:
        super().__init__("Expert settings")
        self.passes, self.std = spin(1, 1000, 1), QCheckBox("standard deviation")
        self.tile, self.halo = spin(64, 4096, 512, 64), combo(list(_HALOS))
        self.device, self.seed = combo(["auto", "cpu"]), spin(0, 2**31 - 1, 0)
        self.low, self.high = QLineEdit(), QLineEdit()
        self.noise = combo(["auto", "none"])
        self.noise.setEditable(True)
        self.strength = QDoubleSpinBox()
        self.strength.setRange(0.5, 2.0)
        self.strength.setSingleStep(0.1)
        self.strength.setValue(1.0)
        self.precision, self.skip = combo(list(_PRECISIONS)), QCheckBox("skip background")
        self.dtype = combo(list(_DTYPES))
        self.axes, self.axes_hint = QLineEdit(), QLabel()
        self.channels, self.slices = combo(list(_CHANNELS)), SlicesField()
        self.scheduler = QLineEdit()
        self.axes.textChanged.connect(self._axes_changed)
        self._slices_label = QLabel("slices")
        self._slices_label.hide()
        self._explain()
        content = QWidget()
        self._lay_out(QFormLayout(content))
        self.setContent(content)
        self.collapse(animate=False)

    def fill(self, form: Form) -> Form:
        """A form with these settings.

        Raises:
            FormError: if the intensity range is half filled in or no number.
        """
        return replace(
            form,
            passes=self.passes.value(),
            std=self.std.isChecked(),
            tile=self.tile.value(),
            halo=_HALOS[self.halo.currentText()],
            device=self.device.currentText(),
            seed=self.seed.value(),
            intensity=_interval(self.low.text(), self.high.text()),
            noise=self.noise.currentText().strip() or "auto",
            strength=round(self.strength.value(), 2),
            axes=self.axes.text().strip().upper(),
            slices=self.slices.text(),
            precision=_PRECISIONS[self.precision.currentText()],
            skip_background=self.skip.isChecked(),
            dtype=_DTYPES[self.dtype.currentText()],
            channels=_CHANNELS[self.channels.currentText()],
            scheduler=self.scheduler.text().strip(),
        )

    def show_devices(self, names: tuple[str, ...]) -> None:
        """Offers these devices, and keeps the choice where it can."""
        chosen = self.device.currentText()
        self.device.clear()
        self.device.addItems(list(names))
        self.device.setCurrentIndex(max(0, self.device.findText(chosen)))

    def show_axes(self, letters: str, hint: str) -> None:
        """Shows a layer's axes and where they came from."""
        self.slices.clear()
        self.axes.setText(letters)
        self.axes_hint.setText(hint)

    def _axes_changed(self, letters: str) -> None:
        self.slices.show_axes(letters)
        self._slices_label.setVisible(not self.slices.this.isHidden())

    def _explain(self) -> None:
        tips: dict[QWidget, str] = {
            self.passes: "Runs with different attention masks; their mean is the result. Two take twice the time.",
            self.std: "Also gives the standard deviation over the passes (at least 2) as a layer or file of its own.",
            self.tile: "Side of the square that is denoised at once, in pixels. Smaller takes less memory.",
            self.halo: "Context around a tile. Exact gives what the whole image at once would give.",
            self.device: "Where the network runs. auto takes a GPU if there is one, and says so.",
            self.precision: "Of the network's products. Half precision is faster on most GPUs and some processors, and "
            "loses at most 0.02 dB. auto measures once which is fastest.",
            self.skip: "Passes tiles through that hold nothing but background, such as the paper of a slide.",
            self.dtype: "Of the result. float32 holds what integers cannot, such as a tenth of a photon.",
            self.seed: "Of the attention masks. The same seed gives the same result.",
            self.noise: "auto measures the noise, says what it found and does what suits it; none gives the image "
            "to the network as it is; or type the noise in the image's units: sigma=12, or gain=2,offset=100,read=5",
            self.strength: "How strong noise is taken to be, times what was measured. Below 1 removes less, above 1 "
            "more.",
            self.low: "The intensity that the network sees as black; empty to measure it.",
            self.high: "The intensity that the network sees as white; empty to measure it.",
            self.axes: "One letter a dimension: T time, C channel, Z depth, Y height, X width, S RGB samples.",
            self.scheduler: "Address of a dask scheduler, such as tcp://host:8786, whose workers denoise to disk. They "
            "need the same files under the same paths.",
            self.channels: "How channels are denoised. Automatic takes RGB together, unless its colours "
            "show different things (merged fluorescence), and all else one by one.",
        }
        for widget, tip in tips.items():
            widget.setToolTip(tip)
        self.scheduler.setPlaceholderText("this computer")
        self.low.setPlaceholderText("measured")
        self.high.setPlaceholderText("measured")

    def _lay_out(self, rows: QFormLayout) -> None:
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("noise", self.noise)
        rows.addRow("strength", self.strength)
        rows.addRow("passes", row(self.passes, self.std))
        rows.addRow("tile", self.tile)
        rows.addRow("halo", self.halo)
        rows.addRow("device", self.device)
        rows.addRow("precision", row(self.precision, self.skip))
        rows.addRow("data type", self.dtype)
        rows.addRow("seed", self.seed)
        rows.addRow("intensity", row(self.low, QLabel("to"), self.high))
        rows.addRow("axes", row(self.axes, self.axes_hint))
        rows.addRow("channels", self.channels)
        rows.addRow("cluster", self.scheduler)
        rows.addRow(self._slices_label, self.slices)


def _interval(low: str, high: str) -> tuple[float, float] | None:
    if not low.strip() and not high.strip():
        return None
    try:
        return float(low), float(high)
    except ValueError as error:
        raise FormError(
            f"the intensity range {low or '(empty)'} to {high or '(empty)'} is no pair of numbers; "
            "fill in both, or none to measure it"
        ) from error
