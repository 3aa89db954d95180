"""Modality of an image as the user or the file states it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from masked_denoiser.errors import NoiseError
from masked_denoiser.images.source import Source
from masked_denoiser.noise.modalities.prior import Modality, RequestedModality, modality_of_dicom


def recorded_modality(attributes: Mapping[str, Any]) -> RequestedModality:
    """Return the modality that the attributes of a result record; "auto" if they record none.

    Args:
        attributes: of a file, which may be from an untrusted source.
    """
    settings = attributes.get("settings")
    recorded = settings.get("modality") if isinstance(settings, dict) else None
    return next((known for known in get_args(RequestedModality) if known == recorded), "auto")


def stated_modality(requested: RequestedModality, source: Source) -> Modality | None:
    """Return the modality that the user or the file states; None if neither does.

    Raises:
        NoiseError: if the user states one that is unknown, or cannot be that of the image.
    """
    if requested not in get_args(RequestedModality):
        raise NoiseError(f"modality is {requested!r}; choose one of {', '.join(get_args(RequestedModality))}")
    if requested == "auto":
        return "other" if source.rgb else modality_of_dicom(source.modality)
    if requested == "mri" and source.rgb:
        raise NoiseError(
            f"{source.name} is RGB, so that it is no magnitude image of MRI; state another modality, or 'auto'"
        )
    return requested
