"""Preferences of the plugin, which napari shows among its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

#: Name of the plugin, and key of its preferences in the manifest.
_PLUGIN, _KEY = "napari-masked-denoiser", "denoising"

#: Where a result is written, by the name in the manifest.
_OUTPUTS: dict[str, Literal["memory", "zarr", "tiff"]] = {
    "new layer": "memory",
    "OME-Zarr": "zarr",
    "OME-TIFF": "tiff",
}


@dataclass(frozen=True)
class Preferences:
    """Preferences of the user.

    Attributes:
        device: "auto" or the name of a device.
        cache_bytes: most bytes of denoised pixels that a live view keeps.
        output: where a result is written unless the user chooses otherwise.
        folder: folder of outputs; None for that of the input.
    """

    device: str = "auto"
    cache_bytes: int = 512 * 2**20
    output: Literal["memory", "zarr", "tiff"] = "memory"
    folder: Path | None = None


def read_preferences() -> Preferences:
    """Return the current preferences; the defaults in versions of napari that have none for plugins."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return Preferences()
    try:
        stored: Any = getattr(get_plugin_settings(_PLUGIN), _KEY)
    except (KeyError, AttributeError):  # the plugin is not installed, but run from its sources
        return Preferences()
    folder = _folder(stored.output_folder.strip())
    return Preferences(
        device=stored.device.strip() or "auto",
        cache_bytes=stored.cache_megabytes * 2**20,
        output=_OUTPUTS[stored.output],
        folder=folder,
    )


def _folder(text: str) -> Path | None:
    """Return an existing folder; None for another text, such as one with an unknown user (~name)."""
    try:
        folder = Path(text).expanduser()
    except RuntimeError:
        return None
    return folder if text and folder.is_dir() else None
