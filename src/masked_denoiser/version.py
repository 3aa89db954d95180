"""The version of this program."""

from __future__ import annotations

from importlib import metadata

DISTRIBUTION = "napari-masked-denoiser"


def program_version() -> str:
    """Return the installed version; "0" for a checkout that runs without being installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0"
