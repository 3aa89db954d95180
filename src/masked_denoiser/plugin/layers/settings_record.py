"""Settings of a job in the metadata of its result layer."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from masked_denoiser.errors import FormError
from masked_denoiser.jobs.spec.options import OPTIONS, Options


def settings_of(record: object) -> tuple[str, str, Options]:
    """Return model, device and options with which a result was made.

    Args:
        record: what the metadata of its layer say about it; None for other layers.

    Raises:
        FormError: if the layer is no result, or a result of another version.
    """
    match record:
        case {"request": {"model": str(model), "device": str(device), "options": dict(values)}}:
            return model, device, _options(values)
    raise FormError("select a layer that this dock has denoised; only such a layer has settings to repeat")


def _options(values: dict[Any, Any]) -> Options:
    known = {field.name for field in fields(Options)}
    unknown = sorted(map(str, set(values) - known))
    if unknown:
        raise FormError(f"this layer has settings of another version ({', '.join(unknown)}); fill in the form instead")
    for name, option in OPTIONS.items():
        value = values.get(name)
        if option.choices and isinstance(value, str) and value not in option.choices:  # some are numbers otherwise
            raise FormError(f"this layer was denoised with {name} {value!r}, which this version does not know")
    intensity = values.get("intensity")
    return Options(**values | {"intensity": None if intensity is None else tuple(intensity)})
