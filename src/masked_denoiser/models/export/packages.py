"""Optional packages that exports need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from masked_denoiser.errors import ModelError


def optional_package(name: str, purpose: str) -> Any:
    """Import and return a module of the extra `export`.

    Raises:
        ModelError: if it is not installed, naming the extra.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ModelError(
            f"{purpose} needs the package {error.name or name}: pip install 'napari-masked-denoiser[export]'"
        ) from error
