"""Reader of zarr arrays (formats 2 and 3) and OME-Zarr groups (0.1 to 0.5).

Metadata are read tolerantly, as plain dictionaries: validating models such as those of yaozarrs reject files whose
omero block has no contrast window, which many programs write. See https://ngff.openmicroscopy.org/0.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, takewhile
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import FsspecStore, LocalStore

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import UNKNOWN, letter_of
from masked_denoiser.images.metadata.own_attributes import stored_metadata
from masked_denoiser.images.metadata.units import unit_name
from masked_denoiser.images.metadata.value_calibration import calibration_notes
from masked_denoiser.images.readers.arrays.files import files_of
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.chunk_cache import cache_blocks
from masked_denoiser.images.readers.zarr.attributes import declared_fill_values, packing_of
from masked_denoiser.images.readers.zarr.checks import check_stored, labels_note, level_paths
from masked_denoiser.images.readers.zarr.coordinates import dimension_names, image_variables, with_coordinates
from masked_denoiser.images.source import LazyArray
from masked_denoiser.images.validation.bounded_codecs import with_bounded_codecs
from masked_denoiser.images.validation.size_limits import check_length
from masked_denoiser.images.validation.zarr_codecs import check_array, check_metadata_files
from masked_denoiser.images.validation.zarr_store import GuardedStore
from masked_denoiser.images.zarr_files import OWN_ATTRIBUTE

#: Larger chunks (decoded bytes) are cached, as decoding them again for every tile would dominate.
_MAX_UNCACHED_CHUNK = 2**20
#: Maximum number of levels; each halves the sides, so no image needs more.
_MAX_LEVELS = 64

_LETTER_BY_TYPE = {"time": "T", "channel": "C"}
_RGB_COLOURS = ("FF0000", "00FF00", "0000FF")
#: Label of a channel that may be a sample of a colour: none, a number, or the name of the colour.
_COLOUR_LABEL = r"\s*|(channel|sample|c|ch)?[\s_:-]*\d+|r|g|b|red|green|blue"
_TAKEN_AS_RGB = (
    "its three channels, shown in red, green and blue, are taken as the samples of a colour image; --channels each "
    "denoises them one by one"
)
_AXES_BEFORE_0_3 = ("t", "c", "z", "y", "x")


def read_zarr(path: Path) -> ReaderResult:
    """Open a zarr array or group in a folder, read-only.

    Raises:
        ImageError: if the folder is not a zarr, its metadata are corrupt, or it contains no image or several.
    """
    with wrap_zarr_errors(str(path)):
        check_metadata_files(path, str(path))
        try:
            node = zarr.open(GuardedStore(LocalStore(path, read_only=True)), mode="r")
        except FileNotFoundError as error:
            raise ImageError(
                f"{path}: is a folder, but neither a zarr nor a DICOM series; give one of the images in it"
            ) from error
        return read_zarr_node(node, path.name, path)


def read_zarr_object(node: Any) -> ReaderResult:
    """Describe a zarr array or group that is already open.

    Raises:
        ImageError: see `read_zarr`.
    """
    name = node.basename or "array"
    with wrap_zarr_errors(name):
        guarded = zarr.open(GuardedStore(node.store), path=node.path, mode="r")
        return replace(read_zarr_node(guarded, name), inputs=files_of(node))


@contextmanager
def wrap_zarr_errors(name: str, remedy: str = "copy or export it again") -> Iterator[None]:
    """Raise errors of corrupt metadata as ImageError with a one-line message."""
    try:
        yield
    except ImageError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, OSError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ImageError(f"{name}: its zarr metadata cannot be read ({reason}); {remedy}") from error


def read_zarr_node(node: Any, name: str, path: Path | None = None) -> ReaderResult:
    """Describe the image of an open array or group.

    Raises:
        ImageError: if it contains no image, or several.
    """
    if isinstance(node, zarr.Array):
        return _describe_array(node, name, path)
    attributes = node.attrs.asdict()
    ome = attributes.get("ome", attributes)
    if "multiscales" in ome:
        return _describe_multiscale(node, attributes, ome, name, path)
    if "plate" in ome:
        raise ImageError(f"{name}: is a plate of many images; open one of them, such as {name}/A/1/0")
    return _describe_child(node, name, path)


def _describe_array(array: zarr.Array[Any], name: str, path: Path | None, notes: tuple[str, ...] = ()) -> ReaderResult:
    axes = "".join(map(letter_of, dimension_names(array)))
    packing = packing_of(array.attrs.asdict())
    return ReaderResult(
        (_checked_array(array, name),),
        axes,
        name=name,
        path=path,
        notes=(*notes, *check_stored([array], name, array.attrs.asdict()), *calibration_notes(packing)),
        fill_values=declared_fill_values(array),
        value_calibration=packing,
        level_paths=level_paths([array]),
    )


def _describe_child(group: zarr.Group, name: str, path: Path | None) -> ReaderResult:
    """Describe the image in a group without image metadata: "0" of bioformats2raw, or its only child."""
    images, arrays = _bioformats2raw_images(group), []
    if not images:
        images = [key for key in sorted(group.group_keys()) if _is_image(group[key])]
        arrays = image_variables(group) or sorted(group.array_keys())
    children = images or arrays
    if not children or (len(children) > 1 and children[0] != "0"):
        listed = ", ".join(children[:5]) or "nothing"
        example = f", such as {name}/{children[0]}" if children else ""
        raise ImageError(
            f"{name}: is a zarr group without image metadata that holds {listed}; name one of its images{example}"
        )
    others = f", the first of {len(children)}" if len(children) > 1 else ""
    found = with_coordinates(read_zarr_node(group[children[0]], name, path), group, children[0])
    note = f"{name} is a group; {children[0]!r} in it was opened{others}"
    return replace(found, notes=(note, *found.notes))


def _bioformats2raw_images(group: zarr.Group) -> list[str]:
    """Return the images listed in a bioformats2raw layout, as many network stores cannot list folders.

    See https://ngff.openmicroscopy.org/0.5/#bf2raw.
    """
    attributes: Any = group.attrs.asdict()
    if "bioformats2raw.layout" not in attributes.get("ome", attributes):
        return []
    listing = group.get("OME")
    attributes = listing.attrs.asdict() if listing is not None else {}
    listed = [str(key) for key in attributes.get("ome", attributes).get("series", ())]
    return listed or [*takewhile(group.__contains__, map(str, count()))] or ["0"]


def _is_image(node: Any) -> bool:
    attributes = node.attrs.asdict()
    return "multiscales" in attributes.get("ome", attributes)


def _describe_multiscale(
    group: zarr.Group, attributes: Mapping[str, Any], ome: Mapping[str, Any], name: str, path: Path | None
) -> ReaderResult:
    image = ome["multiscales"][0]
    dimensions = [a if isinstance(a, dict) else {"name": a} for a in image.get("axes", _AXES_BEFORE_0_3)]
    axes = "".join(_axis_letter(a) for a in dimensions)
    check_length(len(image["datasets"]), _MAX_LEVELS, "levels", name)
    arrays = [_level_array(group, dataset["path"], name) for dataset in image["datasets"]]
    channels = ome.get("omero", attributes.get("omero", {})).get("channels", [])
    units = {a: unit_name(d.get("unit")) for a, d in zip(axes, dimensions, strict=True)}
    steps = [_pixel_sizes(axes, units, image, dataset) for dataset in image["datasets"]]
    pyramids = len(ome["multiscales"])
    notes = (f"{name} contains {pyramids} pyramids; the first was opened",) if pyramids > 1 else ()
    stored = stored_metadata(attributes.get(OWN_ATTRIBUTE), np.dtype(arrays[0].dtype))
    rgb, colour_notes = _is_rgb(attributes, channels, arrays[0].dtype)
    found = ReaderResult(
        tuple(_checked_array(a, name) for a in arrays),
        axes,
        name=name,
        rgb=rgb,
        pixel_sizes=tuple(steps),
        origins=tuple(_origin(axes, image, dataset) for dataset in image["datasets"]),
        units=units,
        channel_names=_channel_names(channels),
        channel_colours=_channel_colours(channels),
        windows=_contrast_windows(channels),
        path=path,
        notes=(
            *notes,
            *colour_notes,
            *labels_note(group, name),
            *check_stored(arrays, name, attributes),
            *calibration_notes(stored.get("value_calibration", {})),
        ),
        level_paths=level_paths(arrays),
        fill_values=declared_fill_values(arrays[0]),
    )
    return replace(found, **stored)


def _channel_names(channels: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names of the channels, with numbers for missing ones; () if all are missing."""
    labels = [c.get("label") for c in channels]
    return tuple(str(label or f"channel {i}") for i, label in enumerate(labels)) if any(labels) else ()


def _channel_colours(channels: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return RRGGBB for each channel; () if any colour is missing or in another format."""
    colours = tuple(str(c.get("color")).lstrip("#").upper() for c in channels)
    return colours if all(re.fullmatch("[0-9A-F]{6}", colour) for colour in colours) else ()


def _contrast_windows(channels: Sequence[Mapping[str, Any]]) -> tuple[tuple[float, float], ...]:
    """Return the contrast window of each channel; () if any is missing or empty."""
    windows = tuple(_contrast_window(c.get("window")) for c in channels)
    return windows if all(low < high for low, high in windows) else ()


def _contrast_window(value: Any) -> tuple[float, float]:
    """Return start and end; an empty window for anything but two finite numbers."""
    ends: list[Any] = [value.get(key) for key in ("start", "end")] if isinstance(value, dict) else []
    valid = len(ends) == 2 and all(isinstance(end, int | float) and isfinite(end) for end in ends)
    return (float(ends[0]), float(ends[1])) if valid else (0.0, 0.0)


def _axis_letter(axis: Mapping[str, Any]) -> str:
    letter = letter_of(axis["name"])
    return letter if letter != UNKNOWN else _LETTER_BY_TYPE.get(str(axis.get("type")), UNKNOWN)


def _level_array(group: zarr.Group, key: str, name: str) -> zarr.Array[Any]:
    try:
        array = group[key]
    except KeyError as error:
        raise ImageError(f"{name}: its level {key!r:.80} is missing; copy or export it again") from error
    if not isinstance(array, zarr.Array):
        raise ImageError(f"{name}: its level {key!r:.80} is not an array; copy or export it again")
    return array


def _pixel_sizes(
    axes: str, units: Mapping[str, str], image: Mapping[str, Any], dataset: Mapping[str, Any]
) -> dict[str, float]:
    """Return axis letter to pixel size of a level: the scale of the level times that of the image."""
    scale = np.ones(len(axes))
    for transform in (*dataset.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
        if transform["type"] == "scale":
            scale = scale * np.asarray(transform["scale"], dtype=float)
    # A scale of 1 without a unit is only a placeholder: the pixel size is unknown.
    return {a: float(s) for a, s in zip(axes, scale, strict=True) if units[a] or s != 1}


def _origin(axes: str, image: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, float]:
    """Return axis letter to origin of a level, after applying its transforms and those of the image in order."""
    origin = np.zeros(len(axes))
    for transform in (*dataset.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
        if transform["type"] == "scale":
            origin = origin * np.asarray(transform["scale"], dtype=float)
        elif transform["type"] == "translation":
            origin = origin + np.asarray(transform["translation"], dtype=float)
    return {a: float(position) for a, position in zip(axes, origin, strict=True)}


def _is_rgb(
    attributes: Mapping[str, Any], channels: Sequence[Mapping[str, Any]], dtype: Any
) -> tuple[bool, tuple[str, ...]]:
    """Return whether the channels are samples of a colour, and a note if that is a guess.

    OME-Zarr does not say so. Channels that are named after dyes or wavelengths are none.
    """
    own = attributes.get(OWN_ATTRIBUTE, {})
    if "rgb" in own:
        return bool(own["rgb"]), ()
    labels = [str(channel.get("label") or "") for channel in channels]
    named = not all(re.fullmatch(_COLOUR_LABEL, label, re.IGNORECASE) for label in labels)
    if named or dtype != np.uint8 or _channel_colours(channels) != _RGB_COLOURS:
        return False, ()
    return True, (_TAKEN_AS_RGB,)


def _checked_array(array: zarr.Array[Any], name: str) -> LazyArray:
    """Return the array, cached if its chunks are large, remote or of foreign byte order; napari can show either."""
    check_pixels(array.shape, array.dtype, name)
    check_array(array, name)
    array = with_bounded_codecs(array)
    remote = isinstance(array.store, GuardedStore) and isinstance(array.store.wrapped, FsspecStore)
    uncached = prod(array.chunks) * array.dtype.itemsize <= _MAX_UNCACHED_CHUNK and not remote
    if uncached and array.dtype.isnative:
        return array
    return cache_blocks(array, array.chunks)
