"""OME-Zarr metadata: axes, scales, units, channels and colours of an output (NGFF 0.5)."""

from __future__ import annotations

from typing import Any

import numpy as np
from yaozarrs import v05

from masked_denoiser.images.layout import Layout, Level
from masked_denoiser.images.source import Source

_COLOUR = ("FF0000", "00FF00", "0000FF", "FFFFFF")  # red, green, blue, alpha
_SEVERAL = ("FF00FF", "00FF00", "00FFFF", "FFFF00", "FF0000", "0000FF")
_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


def image_model(source: Source, layout: Layout) -> v05.Image:
    """The "ome" attribute of an image group.

    An axis without a known pixel size has the scale 1 and no unit. The pixel of a lower level lies over the
    full-resolution pixels it is the mean of, so each level is shifted by half the difference of their sizes.
    See https://ngff.openmicroscopy.org/0.5/#multiscale-md and #omero-md.
    """
    ome: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [
            {
                "name": source.name,
                "axes": [_axis(letter, source) for letter in layout.axes],
                "datasets": [_dataset(i, level, layout.axes, source) for i, level in enumerate(layout.levels)],
                "type": "2x2 mean",
            }
        ],
        "omero": {"channels": _channels(source, layout)},
    }
    return v05.Image.model_validate(ome)


def _axis(letter: str, source: Source) -> Any:
    makers: dict[str, Any] = {"space": v05.SpaceAxis, "time": v05.TimeAxis, "channel": v05.ChannelAxis}
    kind = _TYPES[letter]
    values = {"name": letter.lower(), "type": kind}
    unit = source.units.get(letter)
    # Unchecked, because a unit outside the list of NGFF ("pixel") is allowed but raises a warning there.
    return makers[kind].model_construct(**values, **({"unit": unit} if unit and kind != "channel" else {}))


def _dataset(number: int, level: Level, axes: str, source: Source) -> dict[str, Any]:
    sizes = [float(source.pixel_size.get(letter, 1.0)) for letter in axes]
    pairs = list(zip(sizes, level.factors, strict=True))
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": [size * factor for size, factor in pairs]}]
    shift = [source.origin.get(a, 0.0) + size * (factor - 1) / 2 for a, (size, factor) in zip(axes, pairs, strict=True)]
    if number or any(shift):
        transforms.append({"type": "translation", "translation": shift})
    return {"path": str(number), "coordinateTransformations": transforms}


def _channels(source: Source, layout: Layout) -> list[dict[str, Any]]:
    count = layout.sizes.get("C", 1)
    names = source.channel_names if len(source.channel_names) == count else ()
    colours = _COLOUR if layout.colour else _SEVERAL if count > 1 else ("FFFFFF",)
    return [
        {
            "color": colours[i % len(colours)],
            "active": not (layout.colour and i == 3),
            "window": _window(layout.dtype),
            **({"label": names[i]} if names else {}),
        }
        for i in range(count)
    ]


def _window(dtype: np.dtype[Any]) -> dict[str, float]:
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (0, 1)
    return {"start": float(low), "min": float(low), "end": float(high), "max": float(high)}
