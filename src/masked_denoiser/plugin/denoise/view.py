"""Interface of the Denoise dock, as its presenter uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.shared.task_view import AskingView


class DenoiseView(AskingView, Protocol):
    """Denoise dock, as its presenter uses it."""

    def form(self) -> Form:
        """Return the values of the fields; raise FormError if one is invalid."""

    def show_layers(self, names: list[str], chosen: int) -> None:
        """Set the list of image layers."""

    def show_models(self, names: list[str], chosen: str) -> None:
        """Set the list of models."""

    def describe_models(self, descriptions: dict[str, str]) -> None:
        """Show descriptions of models, by name."""

    def show_devices(self, names: tuple[str, ...]) -> None:
        """Set the list of devices."""

    def show_axes(self, letters: str, hint: str) -> None:
        """Show the axes of the chosen layer, and a hint where they come from."""

    def suggest_paths(self, name: str, path: Path | None) -> None:
        """Suggest output paths for a layer of this name and file."""

    def rename_paths(self, name: str) -> None:
        """Suggest output paths for the new name of the layer; a path that was typed is kept."""

    def show_shapes(self, names: list[str]) -> None:
        """Set the list of Shapes layers."""

    def show_slice(self, position: dict[str, int]) -> None:
        """Fill in the slice at this position by axis letter."""

    def show_notes(self, notes: list[str]) -> None:
        """Show what is to be known about the chosen layer; hide the field if there is nothing."""

    def show_banner(self, text: str) -> None:
        """Show why nothing was denoised, with a button to do it anyway; hide the banner if the text is empty."""

    def show_comparison(self, possible: bool) -> None:
        """Enable the comparison of original and result, and show what is visible."""

    def show_side_by_side(self, layer: Any, left: Any, right: Any) -> None:
        """Show two layers next to each other."""

    def layer_chosen(self) -> None:
        """React to another chosen layer."""

    def leave_comparison(self) -> None:
        """Leave a split or the side-by-side view."""

    def part(self) -> tuple[str, str]:
        """Return the axes and the slices of the chosen layer as they were typed."""

    def show_part(self, axes: str, slices: str, guessed: bool) -> None:
        """Fill in axes and slices if the chosen layer has the same axes, or as many that are only guessed."""

    def show_settings(self, model: str, device: str, options: Options) -> None:
        """Fill in the settings of an earlier job."""

    def copy(self, text: str) -> None:
        """Copy a text to the clipboard."""

    def set_running(self, running: bool) -> None:
        """Disable everything but Cancel while a job runs."""

    def show_selected(self, count: int) -> None:
        """Offer to denoise this number of selected layers, if there are several."""
