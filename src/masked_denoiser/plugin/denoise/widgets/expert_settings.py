"""Expert settings of the Denoise dock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qtpy.QtWidgets import QLabel, QLineEdit, QPushButton, QWidget

from masked_denoiser.errors import FormError
from masked_denoiser.jobs.spec.options import OPTIONS, Options
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.widgets.fields import SlicesField
from masked_denoiser.plugin.shared.widgets.form_widgets import (
    CollapsibleSection,
    combo,
    fill_combo,
    form_layout,
    row,
    set_tooltips,
)
from masked_denoiser.plugin.shared.widgets.option_fields import make_field, sentence

#: Entry that lets the program choose a device.
AUTO_DEVICE = "auto"

#: Options whose fields are generated from the table of options.
_GENERATED = tuple(name for name, option in OPTIONS.items() if option.label and name not in ("noise", "intensity"))


class ExpertSettings(CollapsibleSection):
    """Section with all options of a job, the device, the scheduler, and the axes and slices of the layer."""

    def __init__(self) -> None:
        super().__init__("Expert settings")
        self.fields = {name: make_field(OPTIONS[name]) for name in _GENERATED}
        self.noise, self.low, self.high = combo(["auto", "none"]), QLineEdit(), QLineEdit()
        self.noise.setEditable(True)
        self.device, self.scheduler = combo(["auto", "cpu"]), QLineEdit()
        self.axes, self.axes_hint, self.slices = QLineEdit(), QLabel(), SlicesField()
        self.axes.textChanged.connect(self._axes_changed)
        self._slices_label = QLabel("slices")
        self._slices_label.hide()
        self.repeat_button, self.reset_button = QPushButton("Repeat these settings"), QPushButton("Reset")
        self.preferred_device = self._wanted_device = AUTO_DEVICE
        self._add_tooltips()
        content = QWidget()
        self._lay_out(content)
        self.setContent(content)
        self.collapse(animate=False)

    def fill(self, form: Form) -> Form:
        """Return a form with the values of these fields.

        Raises:
            FormError: if the intensity range is not two numbers.
        """
        options = Options(
            noise=self.noise.currentText().strip() or "auto",
            intensity=_parse_intensity_range(self.low.text(), self.high.text()),
            **{name: _rounded(widget.value) for name, widget in self.fields.items()},
        )
        return replace(
            form,
            options=options,
            device=self.device.currentText(),
            axes=self.axes.text().strip().upper(),
            slices=self.slices.text(),
            scheduler=self.scheduler.text().strip(),
        )

    def show_devices(self, names: tuple[str, ...]) -> None:
        """Set the list of devices, and keep the choice if possible, or else choose the preferred one."""
        chosen = self.device.currentText()
        wanted = self._wanted_device if chosen == AUTO_DEVICE else chosen
        fill_combo(self.device, list(names), self.preferred_device if wanted == AUTO_DEVICE else wanted)

    def show_options(self, options: Options, device: str) -> None:
        """Fill in the options and the device of an earlier job."""
        for name, field in self.fields.items():
            field.value = getattr(options, name)
        self.noise.setCurrentText(options.noise)
        self._wanted_device = device
        low, high = options.intensity or ("", "")
        self.low.setText(str(low))
        self.high.setText(str(high))
        if (index := self.device.findText(device)) >= 0:
            self.device.setCurrentIndex(index)

    def show_part(self, axes: str, slices: str, guessed: bool) -> None:
        """Fill in slices if the layer has the same axes in some order; as many guessed axes are replaced."""
        shown = self.axes.text().upper()
        if sorted(shown) == sorted(axes) or (guessed and len(shown) == len(axes) and ("S" in shown) == ("S" in axes)):
            if guessed:
                self.axes.setText(axes)
            self.slices.show_text(slices)

    def show_axes(self, letters: str, hint: str) -> None:
        """Show the axes of a layer, and a hint where they come from."""
        self.slices.clear()
        self.axes.setText(letters)
        self.axes_hint.setText(hint)

    def _axes_changed(self, letters: str) -> None:
        self.slices.show_axes(letters)
        self._slices_label.setVisible(not self.slices.current_button.isHidden())

    def _add_tooltips(self) -> None:
        tooltips: dict[QWidget, str] = {
            self.noise: sentence(OPTIONS["noise"].help),
            self.low: "Intensity that the network sees as black; empty to measure it.",
            self.high: "Intensity that the network sees as white; empty to measure it.",
            self.repeat_button: "Fill in the settings with which the selected result layer was made.",
            self.reset_button: "Reset model and settings, which are otherwise those of the last job, to the defaults.",
            self.device: "Device that runs the network. auto chooses a GPU if there is one, and reports its choice.",
            self.axes: "One letter per dimension: T time, C channel, Z depth, Y height, X width, S RGB samples.",
            self.scheduler: "Address of a dask scheduler, such as tcp://host:8786, whose workers denoise to disk. They "
            "need access to the same files under the same paths.",
        }
        set_tooltips(tooltips)
        self.scheduler.setPlaceholderText("this computer")
        self.low.setPlaceholderText("measured")
        self.high.setPlaceholderText("measured")

    def _lay_out(self, content: QWidget) -> None:
        rows = form_layout(content, margins=False)
        own = {"noise": self.noise, "intensity": row(self.low, QLabel("to"), self.high)}
        for name, option in OPTIONS.items():
            if name in own or name in self.fields:
                label = "" if isinstance(option.default, bool) else option.label
                rows.addRow(label, own.get(name) or self.fields[name].native)
        rows.addRow("device", self.device)
        rows.addRow("axes", row(self.axes, self.axes_hint))
        rows.addRow(self._slices_label, self.slices)
        rows.addRow("cluster", self.scheduler)
        rows.addRow("", row(self.repeat_button, self.reset_button))


def _rounded(value: Any) -> Any:
    """Return a value without the rounding errors of spin boxes for decimals."""
    return round(value, 6) if isinstance(value, float) else value


def _parse_intensity_range(low: str, high: str) -> tuple[float, float] | None:
    if not low.strip() and not high.strip():
        return None
    try:
        return float(low), float(high)
    except ValueError as error:
        raise FormError(
            f"the intensity range {low or '(empty)'} to {high or '(empty)'} is not two numbers; "
            "fill in both fields, or leave both empty to measure it"
        ) from error
