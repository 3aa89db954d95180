"""Fields and buttons of the Denoise dock, and what its presenter shows in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qtpy.QtWidgets import QCheckBox, QLabel

from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.widgets.expert_settings import ExpertSettings
from masked_denoiser.plugin.denoise.widgets.fields import OutputChoice, RegionField
from masked_denoiser.plugin.denoise.widgets.model_field import ModelField, ModelsButton
from masked_denoiser.plugin.shared.task_dock import TaskDock
from masked_denoiser.plugin.shared.widgets.banner import Banner
from masked_denoiser.plugin.shared.widgets.form_widgets import button, combo, fill_combo


class DenoiseFields(TaskDock):
    """Dock with the fields and buttons of the Denoise dock, which are not laid out yet."""

    def __init__(self) -> None:
        super().__init__()
        self._running = False
        self._make_fields()

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
        """Set the list of devices."""
        self.expert.show_devices(names)

    def show_axes(self, letters: str, hint: str) -> None:
        """Show the axes of the chosen layer, and a hint where they come from."""
        self.expert.show_axes(letters, hint)

    def suggest_paths(self, name: str, path: Path | None) -> None:
        """Suggest output paths for a layer of this name and file."""
        self.output.suggest(name, path)

    def rename_paths(self, name: str) -> None:
        """Suggest output paths for the new name of the layer; a path that was typed is kept."""
        self.output.rename(name)

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

    def part(self) -> tuple[str, str]:
        """Return the axes and the slices of the chosen layer as they were typed."""
        return self.expert.axes.text(), self.expert.slices.text()

    def show_part(self, axes: str, slices: str, guessed: bool) -> None:
        """Fill in axes and slices if the chosen layer has the same axes, or as many that are only guessed."""
        self.expert.show_part(axes, slices, guessed)

    def show_settings(self, model: str, device: str, options: Options) -> None:
        """Fill in the settings of an earlier job."""
        self.model.setCurrentText(model)
        self.expert.show_options(options, device)

    def show_slice(self, position: dict[str, int]) -> None:
        """Fill in the slice at this position by axis letter."""
        self.expert.slices.show_slice(position)

    def _make_fields(self) -> None:
        self.notes, self.banner = QLabel(), Banner("Denoise anyway")
        self.notes.setWordWrap(True)
        self.notes.hide()
        self.model_field, self.all_selected = ModelField(), QCheckBox()
        self.all_selected.setToolTip("Denoise all selected layers with these settings, one after the other")
        self.removed_button = button("What was removed", "Show what was removed, and whether it looks like noise")
        self.report_button = button(
            "Report...", "Write a page with pictures and figures on image, result and what was removed, for a reviewer"
        )
        self.models_button = ModelsButton(self.model_field, self._compare_models)
        self.clear_button = button("Clear", "Remove all results of this image from the viewer; files stay on disk")
        self.layer = combo([])
        self.model, self.output, self.region = self.model_field.combo, OutputChoice(), RegionField()
        self.expert = ExpertSettings()
        self.preview_button = button("Preview", "Denoise the visible part of the image, at most about 512 x 512 pixels")
        self.denoise_button = button("Denoise", "Denoise the layer, or the selected part of it")
        self.cancel_button = button("Cancel", "Cancel after the current tile; finished tiles are kept")
        self.copy_button = button("Copy command", "Copy the command line that is equivalent to Denoise")

    def _enable(self) -> None:
        """Enable what can be used now."""
        raise NotImplementedError

    def _compare_models(self, other: str) -> None:
        """Compare the chosen model with another one."""
        raise NotImplementedError
