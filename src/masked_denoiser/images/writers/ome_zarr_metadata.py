"""OME-Zarr metadata (NGFF 0.4 and 0.5): axes, scales, units, channels and colours of an output."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from yaozarrs import v04, v05

from masked_denoiser.images.choices import OmeZarr
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.layout import Layout, Level
from masked_denoiser.images.zarr_files import OWN_ATTRIBUTE

#: OME-Zarr version to zarr format; format 2 has no shards.
ZARR_FORMATS: dict[OmeZarr, Literal[2, 3]] = {"0.4": 2, "0.5": 3}

_RGBA_COLOURS = ("FF0000", "00FF00", "0000FF", "FFFFFF")  # red, green, blue, alpha
_CHANNEL_COLOURS = ("FF00FF", "00FF00", "00FFFF", "FFFF00", "FF0000", "0000FF")
_AXIS_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


def group_attributes(source: Source, layout: Layout, extra: dict[str, Any], version: OmeZarr) -> dict[str, Any]:
    """Return all attributes of an image group: those of OME-Zarr, and "rgb", "axes" and `extra` in `OWN_ATTRIBUTE`."""
    own = {OWN_ATTRIBUTE: {"rgb": source.rgb, "axes": source.axes, **source.own_attributes(), **extra}}
    metadata = _image_metadata(source, layout)
    if version == "0.4":
        multiscale, omero = metadata["multiscales"][0], metadata["omero"]
        image_04 = v04.Image.model_validate({"multiscales": [{"version": version, **multiscale}], "omero": omero})
        return image_04.model_dump(mode="json", exclude_none=True) | own
    image_05 = v05.Image.model_validate({"version": version, **metadata})
    return {"ome": image_05.model_dump(mode="json", exclude_none=True), **own}


def contrast_window(dtype: np.dtype[Any], start: float | None = None, end: float | None = None) -> dict[str, float]:
    """Return the contrast window `start` to `end` of a channel, within the range of the dtype (0 to 1 for floats)."""
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (0, 1)
    start, end = float(low if start is None else start), float(high if end is None else end)
    return {"start": start, "min": min(float(low), start), "end": end, "max": max(float(high), end)}


def _image_metadata(source: Source, layout: Layout) -> dict[str, Any]:
    """Return the metadata that both versions share.

    An axis without a known pixel size has the scale 1 and no unit. The pixel of a lower level is centred on the
    full-resolution pixels that it averages, so each level is shifted by half the difference of the pixel sizes.
    See https://ngff.openmicroscopy.org/0.5/#multiscale-md and #omero-md.
    """
    multiscale = {
        "name": source.name,
        "axes": [_axis(letter, source) for letter in layout.axes],
        "datasets": [_dataset(i, level, layout.axes, source) for i, level in enumerate(layout.levels)],
        "type": "2x2 mean",
    }
    return {"multiscales": [multiscale], "omero": {"channels": _channels(source, layout)}}


def _axis(letter: str, source: Source) -> Any:
    # Both versions share these models.
    models: dict[str, Any] = {"space": v05.SpaceAxis, "time": v05.TimeAxis, "channel": v05.ChannelAxis}
    kind = _AXIS_TYPES[letter]
    values = {"name": letter.lower(), "type": kind}
    unit = source.units.get(letter)
    # Not validated: a unit outside the list of NGFF ("pixel") is allowed but raises a warning.
    return models[kind].model_construct(**values, **({"unit": unit} if unit and kind != "channel" else {}))


def _dataset(number: int, level: Level, axes: str, source: Source) -> dict[str, Any]:
    sizes = [float(source.pixel_size.get(letter, 1.0)) for letter in axes]
    steps = list(zip(sizes, level.factors, strict=True))
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": [size * factor for size, factor in steps]}]
    shift = [source.origin.get(a, 0.0) + size * (factor - 1) / 2 for a, (size, factor) in zip(axes, steps, strict=True)]
    if number or any(shift):
        transforms.append({"type": "translation", "translation": shift})
    return {"path": str(number), "coordinateTransformations": transforms}


def _channels(source: Source, layout: Layout) -> list[dict[str, Any]]:
    count = layout.sizes.get("C", 1)
    names = source.channel_names if len(source.channel_names) == count else ()
    windows = source_windows(source, layout) or ((None, None),) * count
    colours = _colours(source, layout, count)
    return [
        {
            "color": colours[i % len(colours)],
            "active": not (layout.colour and i == 3),
            "window": contrast_window(layout.dtype, *windows[i]),
            **({"label": names[i]} if names else {}),
        }
        for i in range(count)
    ]


def _colours(source: Source, layout: Layout, count: int) -> tuple[str, ...]:
    if layout.colour:
        return _RGBA_COLOURS
    if len(source.channel_colours) == count:
        return source.channel_colours
    return _CHANNEL_COLOURS if count > 1 else ("FFFFFF",)


def source_windows(source: Source, layout: Layout) -> tuple[tuple[float, float], ...]:
    """Return the contrast windows of the source; () if the output has another dtype and thus other values."""
    same = source.dtype.newbyteorder("=") == layout.dtype
    return source.windows if same and len(source.windows) == layout.sizes.get("C", 1) else ()
