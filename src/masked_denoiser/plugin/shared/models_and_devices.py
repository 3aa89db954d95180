"""Background task that finds the models and devices; without Qt and napari."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelsAndDevices:
    """Event: what is known of the models and devices.

    Attributes:
        descriptions: descriptions of the models by name.
        devices: names of the available devices.
    """

    descriptions: dict[str, str]
    devices: tuple[str, ...]


def find_models_and_devices(cancel: threading.Event) -> Iterator[ModelsAndDevices]:
    """Yield the descriptions of all models and the available devices; imports torch, which later jobs need."""
    from masked_denoiser.errors import ModelError
    from masked_denoiser.inference.device import available_devices
    from masked_denoiser.models.catalogue import AUTO, DEFAULT, DEFAULT_GRAY, list_models
    from masked_denoiser.models.file import read_card

    descriptions = {AUTO: f"{DEFAULT} for photographs and stained tissue, {DEFAULT_GRAY} for all others"}
    for entry in list_models():
        if cancel.is_set():
            return
        try:
            card = read_card(entry.path)
            descriptions[entry.name] = card.description or f"no description; licence {card.licence}"
        except ModelError as error:
            descriptions[entry.name] = str(error)
    yield ModelsAndDevices(descriptions, available_devices())
