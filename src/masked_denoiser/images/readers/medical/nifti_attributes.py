"""Attributes of an output in an extension of its NIfTI header, which has the code of comments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nibabel.nifti1 import Nifti1Extension

from masked_denoiser.images.zarr_files import OWN_ATTRIBUTE
from masked_denoiser.plain_json import parse_json

_COMMENT = 6  # https://nifti.nimh.nih.gov/nifti-1/documentation/faq#Q21


def to_extension(attributes: Mapping[str, Any]) -> Any:
    """Return the extension that stores attributes, which are JSON values."""
    note = "Research use only. Denoised by napari-masked-denoiser."
    text = json.dumps({"note": note, OWN_ATTRIBUTE: dict(attributes)}, sort_keys=True)
    return Nifti1Extension(_COMMENT, text.encode())


def from_extension(extension: Any) -> dict[str, Any]:
    """Return the attributes in an extension; {} for those of other programs."""
    if extension.get_code() != _COMMENT:
        return {}
    content = extension.get_content()
    try:
        values = parse_json(content if isinstance(content, bytes) else str(content).encode())
    except ValueError:
        return {}
    attributes = values.get(OWN_ATTRIBUTE) if isinstance(values, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def attributes_in(header: Any) -> dict[str, Any]:
    """Return the attributes in the extensions of a header; {} if this program did not write it."""
    return next(filter(None, map(from_extension, getattr(header, "extensions", ()))), {})
