"""OME-Zarr metadata: axes, scales, units, channels and colours of an output (NGFF 0.4 and 0.5)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from yaozarrs import v04, v05

from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.layout import Layout, Level, OmeZarr

#: The zarr format that each version is written in; format 2 has no shards.
ZARR_FORMATS: dict[OmeZarr, Literal[2, 3]] = {"0.4": 2, "0.5": 3}

#: The group attribute that holds what OME-Zarr has no place for.
ATTRIBUTE = "masked_denoiser"

_COLOUR = ("FF0000", "00FF00", "0000FF", "FFFFFF")  # red, green, blue, alpha
_SEVERAL = ("FF00FF", "00FF00", "00FFFF", "FFFF00", "FF0000", "0000FF")
_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


def group_attributes(source: Source, layout: Layout, own: dict[str, Any], version: OmeZarr) -> dict[str, Any]:
    """All attributes of an image group: those of OME-Zarr, and `own` beside "rgb" and "axes" in `ATTRIBUTE`."""
    ours = {ATTRIBUTE: {"rgb": source.rgb, "axes": source.axes, **own}}
    described = _description(source, layout)
    if version == "0.4":
        multiscale, omero = described["multiscales"][0], described["omero"]
        old = v04.Image.model_validate({"multiscales": [{"version": version, **multiscale}], "omero": omero})
        return old.model_dump(mode="json", exclude_none=True) | ours
    new = v05.Image.model_validate({"version": version, **described})
    return {"ome": new.model_dump(mode="json", exclude_none=True), **ours}


def window(dtype: np.dtype[Any], start: float | None = None, end: float | None = None) -> dict[str, float]:
    """The contrast window of a channel, from `start` to `end`, within all that the dtype holds or a viewer expects."""
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (0, 1)
    start, end = float(low if start is None else start), float(high if end is None else end)
    return {"start": start, "min": min(float(low), start), "end": end, "max": max(float(high), end)}


def _description(source: Source, layout: Layout) -> dict[str, Any]:
    """What both versions say of an image.

    An axis without a known pixel size has the scale 1 and no unit. The pixel of a lower level lies over the
    full-resolution pixels it is the mean of, so each level is shifted by half the difference of their sizes.
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
    # These models are those of both versions.
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
    windows = known_windows(source, layout) or ((None, None),) * count
    colours = _colours(source, layout, count)
    return [
        {
            "color": colours[i % len(colours)],
            "active": not (layout.colour and i == 3),
            "window": window(layout.dtype, *windows[i]),
            **({"label": names[i]} if names else {}),
        }
        for i in range(count)
    ]


def _colours(source: Source, layout: Layout, count: int) -> tuple[str, ...]:
    if layout.colour:
        return _COLOUR
    if len(source.channel_colours) == count:
        return source.channel_colours
    return _SEVERAL if count > 1 else ("FFFFFF",)


def known_windows(source: Source, layout: Layout) -> tuple[tuple[float, float], ...]:
    """The source's contrast windows; none where the output holds other values than the source, in another dtype."""
    same = source.dtype.newbyteorder("=") == layout.dtype
    return source.windows if same and len(source.windows) == layout.sizes.get("C", 1) else ()
