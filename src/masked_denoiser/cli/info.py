"""`masked-denoiser info`."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source


def info(arguments: Namespace) -> int:
    """Prints what an image is."""
    with open_image(arguments.input, axes=arguments.axes, level=arguments.level) as source:
        facts = describe(source, arguments.channels)
    if arguments.json:
        print(json.dumps(facts))
        return 0
    for key, value in facts.items():
        if value:
            print(f"{key.replace('_', ' '):14} {_readable(value)}")
    return 0


def describe(source: Source, channels: Any = "auto") -> dict[str, Any]:
    """All that is known of an image, as plain JSON values."""
    planes = list(list_planes(source.axes, source.sizes, source.rgb, channels))
    return {
        "name": source.name,
        "axes": source.axes,
        "shape": list(source.shape),
        "dtype": str(source.dtype),
        "rgb": source.rgb,
        "pixel_size": {axis: [size, source.units.get(axis, "")] for axis, size in source.pixel_size.items()},
        "channel_names": list(source.channel_names),
        "levels": [list(level.shape) for level in source.levels],
        "planes": sum(not plane.copied for plane in planes),
        "megapixels": round(source.size_yx[0] * source.size_yx[1] * len(planes) / 1e6, 3),
        "notes": list(source.notes),
    }


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{axis} {size:g} {unit}".strip() for axis, (size, unit) in value.items())
    if isinstance(value, list):
        inner = (" x ".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
        return (" x " if all(isinstance(v, int) for v in value) else ", ").join(inner)
    return "yes" if value is True else str(value)
