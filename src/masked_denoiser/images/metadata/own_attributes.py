"""What outputs of this program store although their formats do not define it: the inverse of `own_attributes`.

Other programs may have edited the files, so that nothing is taken for granted.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from masked_denoiser.images.metadata.declared_fill_values import fill_values_of
from masked_denoiser.images.metadata.value_calibration import stored_calibration
from masked_denoiser.images.source import AXES

_LARGEST = float(np.finfo(np.float64).max)
_ALPHA_KINDS = ("unassociated", "associated", "unspecified")


def stored_metadata(attributes: object, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the valid fields of `ImageMetadata` among the attributes that an output stored.

    Args:
        attributes: what the file holds under our name.
        dtype: of the pixels.
    """
    stored = attributes if isinstance(attributes, dict) else {}
    alpha, modality, fill_values = stored.get("alpha"), stored.get("modality"), stored.get("fill_values")
    found = {
        "affine": _stored_affine(stored.get("affine")),
        "modality": modality if isinstance(modality, str) else "",
        "alpha": alpha if alpha in _ALPHA_KINDS else "",
        "value_calibration": stored_calibration(stored.get("value_calibration")),
        "fill_values": fill_values_of(fill_values if isinstance(fill_values, list) else (), dtype),
    }
    return {name: value for name, value in found.items() if value}


def stored_origin(attributes: object) -> dict[str, float]:
    """Return `origin` of `Source` among the attributes that an output stored; invalid values not.

    Args:
        attributes: what the file holds under our name.
    """
    stored = attributes.get("origin") if isinstance(attributes, dict) else None
    values = stored if isinstance(stored, dict) else {}
    known = {a: at for a, at in values.items() if a in AXES and isinstance(at, int | float)}
    return {a: float(at) for a, at in known.items() if abs(at) <= _LARGEST}


def _stored_affine(affine: object) -> tuple[tuple[float, ...], ...]:
    rows = affine if isinstance(affine, list) and all(isinstance(row, list) for row in affine) else []
    numbers = [value for row in rows for value in row if isinstance(value, int | float) and isfinite(value)]
    valid = len(rows) == 4 and all(len(row) == 4 for row in rows) and len(numbers) == 16
    return tuple(tuple(float(value) for value in row) for row in rows) if valid else ()
