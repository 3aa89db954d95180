"""Interface of the Fine-tune dock, as its presenter uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from masked_denoiser.plugin.fine_tune.form import FineTuneForm, Supervision
from masked_denoiser.plugin.fine_tune.history import TrainingHistory
from masked_denoiser.plugin.shared.task_view import AskingView


class FineTuneView(AskingView, Protocol):
    """Fine-tune dock, as its presenter uses it."""

    def form(self) -> FineTuneForm:
        """Return the values of the fields."""

    def training_images(self) -> tuple[list[int], list[Path]]:
        """Return the training images: numbers of layers in the list, and files and folders."""

    def clean_images(self) -> tuple[int, list[Path]]:
        """Return the clean images of pairs: the number of a layer, -1 for none, and files and folders."""

    def shapes_name(self) -> str:
        """Return the name of the Shapes layer that limits the training; "" for whole images."""

    def show_supervision(self, supervision: Supervision) -> None:
        """Choose the kind of the training images."""

    def show_layers(self, names: list[str], active: int, before: list[int]) -> None:
        """Set the list of image layers; check the active one if no image is checked.

        Args:
            names: of the layers.
            active: number of the active layer.
            before: number of each layer in the list until now, whose state it keeps; -1 for new layers.
        """

    def show_shapes(self, names: list[str], before: list[int]) -> None:
        """Set the list of Shapes layers, and keep the choice; see `show_layers`."""

    def show_models(self, names: list[str], chosen: str) -> None:
        """Set the list of models."""

    def show_devices(self, names: tuple[str, ...]) -> None:
        """Set the list of devices."""

    def show_state(self, running: bool, can_continue: bool, can_save: bool) -> None:
        """Enable the buttons of this state."""

    def show_curves(self, history: TrainingHistory) -> None:
        """Draw the curves."""

    def show_picture(self, picture: np.ndarray[Any, Any]) -> None:
        """Show the last validation, [height, width, 3] uint8: noisy, denoised, truth."""

    def show_view(self, picture: np.ndarray[Any, Any]) -> None:
        """Show the user's view before and after the model as trained so far, [height, width, 3] uint8."""

    def show_noise(self, picture: np.ndarray[Any, Any] | None, problem: str) -> None:
        """Show a patch without and with noise, or why there is none."""
