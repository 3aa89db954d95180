"""Denoise microscopy and medical images of any size with a masked Swin transformer.

Importing this package is cheap: each name below loads what it needs on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from masked_denoiser import errors

if TYPE_CHECKING:
    from masked_denoiser.images.open import open_image
    from masked_denoiser.jobs.api import denoise, denoise_file, estimate_noise
    from masked_denoiser.jobs.lazy.denoise_lazy import denoise_lazy
    from masked_denoiser.jobs.spec.options import Options
    from masked_denoiser.models.catalogue import load_model
    from masked_denoiser.models.export.api import export_model
    from masked_denoiser.samples import sample_path
    from masked_denoiser.training.fine_tune import fine_tune

    __version__: str

_HOMES = {
    "Options": "masked_denoiser.jobs.spec.options",
    "denoise": "masked_denoiser.jobs.api",
    "denoise_file": "masked_denoiser.jobs.api",
    "denoise_lazy": "masked_denoiser.jobs.lazy.denoise_lazy",
    "estimate_noise": "masked_denoiser.jobs.api",
    "export_model": "masked_denoiser.models.export.api",
    "fine_tune": "masked_denoiser.training.fine_tune",
    "load_model": "masked_denoiser.models.catalogue",
    "open_image": "masked_denoiser.images.open",
    "sample_path": "masked_denoiser.samples",
}

#: Functions that other parts of the package call, too: their messages, which name flags, are translated here.
_MESSAGES_NAME_FLAGS = ("open_image",)

__all__ = [
    "Options",
    "denoise",
    "denoise_file",
    "denoise_lazy",
    "errors",
    "estimate_noise",
    "export_model",
    "fine_tune",
    "load_model",
    "open_image",
    "sample_path",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name == "__version__":
        return import_module("masked_denoiser.version").program_version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    if name in _MESSAGES_NAME_FLAGS:
        value = import_module("masked_denoiser.jobs.spec.parameter_names").parameters_in_errors()(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
