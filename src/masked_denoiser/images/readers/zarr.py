"""Sources from zarr arrays (formats 2 and 3) and OME-Zarr groups (0.1 to 0.5).

The metadata are read tolerantly, as plain dictionaries: models such as those of yaozarrs refuse whole files for an
omero block without contrast window, which many programs write. See https://ngff.openmicroscopy.org/0.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import FsspecStore, LocalStore

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import UNKNOWN, letter_of, unit_name
from masked_denoiser.images.declared_fill_values import fill_values_in_attributes
from masked_denoiser.images.readers.base import Found, check_pixels
from masked_denoiser.images.readers.chunk_cache import cached
from masked_denoiser.images.source import Lazy
from masked_denoiser.images.validation.bounded_codecs import bounded
from masked_denoiser.images.validation.size_limits import check_length
from masked_denoiser.images.validation.zarr_codecs import check_array, check_metadata_files
from masked_denoiser.images.validation.zarr_store import GuardedStore

#: Decoding larger chunks again for every tile would dominate, so they are cached.
_SMALL_CHUNK = 2**20
#: Each halves the one above: more than this many would outlive the largest image.
_MOST_LEVELS = 64

_TYPES = {"time": "T", "channel": "C"}
_RGB_COLOURS = ("FF0000", "00FF00", "0000FF")
_BEFORE_AXES = ("t", "c", "z", "y", "x")


def find_zarr(path: Path) -> Found:
    """A zarr array or group in a folder, opened for reading only.

    Raises:
        ImageError: if the folder is no zarr, its metadata are corrupt, or it holds no image or several.
    """
    with explained(str(path)):
        check_metadata_files(path, str(path))
        try:
            node = zarr.open(GuardedStore(LocalStore(path, read_only=True)), mode="r")
        except FileNotFoundError as error:
            raise ImageError(f"{path}: is a folder, but no zarr; give an image file or a .zarr folder") from error
        return find_node(node, path.name, path)


def find_zarr_object(node: Any) -> Found:
    """A zarr array or group that is open already.

    Raises:
        ImageError: as `find_zarr`.
    """
    name = node.basename or "array"
    with explained(name):
        again = zarr.open(GuardedStore(node.store), path=node.path, mode="r")
        return replace(find_node(again, name), inputs=_folder(node))


def _folder(node: Any) -> tuple[Path, ...]:
    """Where an open zarr lies on disk, if it does."""
    root = getattr(node.store, "root", None)
    return (Path(root) / node.path,) if isinstance(root, str | Path) else ()


@contextmanager
def explained(where: str, mend: str = "copy or export it again") -> Iterator[None]:
    """Says corrupt metadata in one line."""
    try:
        yield
    except ImageError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, OSError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ImageError(f"{where}: its zarr metadata cannot be read ({reason}); {mend}") from error


def find_node(node: Any, name: str, path: Path | None = None) -> Found:
    """The image of an open array or group.

    Raises:
        ImageError: if it holds no image, or several.
    """
    if isinstance(node, zarr.Array):
        return _plain(node, name, path)
    attributes = node.attrs.asdict()
    ome = attributes.get("ome", attributes)
    if "multiscales" in ome:
        return _multiscale(node, attributes, ome, name, path)
    if "plate" in ome:
        raise ImageError(f"{name}: is a plate of many images; open one of them, such as {name}/A/1/0")
    return _only_child(node, name, path)


def _plain(array: zarr.Array[Any], name: str, path: Path | None, notes: tuple[str, ...] = ()) -> Found:
    names: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    axes = "".join(letter_of(n) for n in names)
    fills = fill_values_in_attributes(array.attrs.asdict(), np.dtype(array.dtype))
    return Found((_lazy(array, name),), name, axes, path=path, notes=notes, fill_values=fills)


def _only_child(group: zarr.Group, name: str, path: Path | None) -> Found:
    """The image of a group without image metadata: bioformats2raw's "0", or its one array."""
    images, arrays = _series(group), []
    if not images:
        images = [key for key in sorted(group.group_keys()) if _is_image(group[key])]
        arrays = sorted(group.array_keys())
    children = images or arrays
    if not children or (len(children) > 1 and children[0] != "0"):
        held = ", ".join(children[:5]) or "nothing"
        raise ImageError(f"{name}: is a zarr group without image metadata that holds {held}; name one of its images")
    others = f", the first of {len(children)}" if len(children) > 1 else ""
    found = find_node(group[children[0]], name, path)
    note = f"{name} is a group; {children[0]!r} in it was opened{others}"
    return Found(**{**vars(found), "notes": (note, *found.notes)})


def _series(group: zarr.Group) -> list[str]:
    """The images of a bioformats2raw layout, by its own list: what lies at an address often cannot be listed.

    See https://ngff.openmicroscopy.org/0.5/#bf2raw.
    """
    attributes: Any = group.attrs.asdict()
    if "bioformats2raw.layout" not in attributes.get("ome", attributes):
        return []
    listing = group.get("OME")
    listed: Any = listing.attrs.asdict() if listing is not None else {}
    return [str(key) for key in listed.get("ome", listed).get("series", ())] or ["0"]


def _is_image(node: Any) -> bool:
    attributes = node.attrs.asdict()
    return "multiscales" in attributes.get("ome", attributes)


def _multiscale(
    group: zarr.Group, attributes: Mapping[str, Any], ome: Mapping[str, Any], name: str, path: Path | None
) -> Found:
    image = ome["multiscales"][0]
    described = [a if isinstance(a, dict) else {"name": a} for a in image.get("axes", _BEFORE_AXES)]
    axes = "".join(_letter(a) for a in described)
    check_length(len(image["datasets"]), _MOST_LEVELS, "levels", name)
    arrays = [_array(group, dataset["path"], name) for dataset in image["datasets"]]
    channels = ome.get("omero", attributes.get("omero", {})).get("channels", [])
    units = {a: unit_name(d.get("unit")) for a, d in zip(axes, described, strict=True)}
    steps = [_steps(axes, units, image, dataset) for dataset in image["datasets"]]
    several = len(ome["multiscales"]) > 1
    notes = (f"{name} holds {len(ome['multiscales'])} pyramids; the first was opened",) if several else ()
    return Found(
        tuple(_lazy(a, name) for a in arrays),
        name,
        axes,
        rgb=_says_rgb(attributes, channels, arrays[0].dtype),
        pixel_sizes=tuple(steps),
        origins=tuple(_origin(axes, image, dataset) for dataset in image["datasets"]),
        units=units,
        channel_names=_names(channels),
        channel_colours=_colours(channels),
        windows=_windows(channels),
        path=path,
        notes=(*notes, *_labels(group, name)),
        fill_values=fill_values_in_attributes(arrays[0].attrs.asdict(), np.dtype(arrays[0].dtype)),
    )


def _labels(group: zarr.Group, name: str) -> tuple[str, ...]:
    """A sentence on label images, which are no part of the image (https://ngff.openmicroscopy.org/0.5/#labels-md)."""
    labels = group.get("labels")
    if not isinstance(labels, zarr.Group):
        return ()
    attributes: Any = labels.attrs.asdict()
    listed = attributes.get("ome", attributes).get("labels")
    named = ", ".join(map(str, listed)) if isinstance(listed, list) else ""
    return (f"the labels of {name} are left out: {named or 'unnamed'}",)


def _names(channels: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The labels of the channels; none if not one of them has a label, as an image without names writes it."""
    labels = [c.get("label") for c in channels]
    return tuple(str(label or f"channel {i}") for i, label in enumerate(labels)) if any(labels) else ()


def _colours(channels: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Six hex digits a channel; none if one has another colour or none."""
    colours = tuple(str(c.get("color")).lstrip("#").upper() for c in channels)
    return colours if all(re.fullmatch("[0-9A-F]{6}", colour) for colour in colours) else ()


def _windows(channels: Sequence[Mapping[str, Any]]) -> tuple[tuple[float, float], ...]:
    """From black to white for each channel; none if one has no such window."""
    windows = tuple(_window(c.get("window")) for c in channels)
    return windows if all(low < high for low, high in windows) else ()


def _window(written: Any) -> tuple[float, float]:
    """Start and end; an empty window for anything but two numbers."""
    ends: list[Any] = [written.get(key) for key in ("start", "end")] if isinstance(written, dict) else []
    sound = len(ends) == 2 and all(isinstance(end, int | float) and isfinite(end) for end in ends)
    return (float(ends[0]), float(ends[1])) if sound else (0.0, 0.0)


def _letter(axis: Mapping[str, Any]) -> str:
    letter = letter_of(axis["name"])
    return letter if letter != UNKNOWN else _TYPES.get(str(axis.get("type")), UNKNOWN)


def _array(group: zarr.Group, key: str, name: str) -> zarr.Array[Any]:
    try:
        array = group[key]
    except KeyError as error:
        raise ImageError(f"{name}: its level {key!r:.80} is missing; copy or export it again") from error
    if not isinstance(array, zarr.Array):
        raise ImageError(f"{name}: its level {key!r:.80} is no array; copy or export it again")
    return array


def _steps(
    axes: str, units: Mapping[str, str], image: Mapping[str, Any], dataset: Mapping[str, Any]
) -> dict[str, float]:
    """Axis letter to step of one level: the scale of the level times that of the image."""
    scale = np.ones(len(axes))
    for transform in (*dataset.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
        if transform["type"] == "scale":
            scale = scale * np.asarray(transform["scale"], dtype=float)
    # A scale without a unit on the finest level is no more than the level's factor: 1 there, and nothing is known.
    return {a: float(s) for a, s in zip(axes, scale, strict=True) if units[a] or s != 1}


def _origin(axes: str, image: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, float]:
    """Axis letter to the place of one level's first pixel: each transform acts on what those before it give."""
    place = np.zeros(len(axes))
    for transform in (*dataset.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
        if transform["type"] == "scale":
            place = place * np.asarray(transform["scale"], dtype=float)
        elif transform["type"] == "translation":
            place = place + np.asarray(transform["translation"], dtype=float)
    return {a: float(at) for a, at in zip(axes, place, strict=True)}


def _says_rgb(attributes: Mapping[str, Any], channels: Sequence[Mapping[str, Any]], dtype: Any) -> bool:
    own = attributes.get("masked_denoiser", {})
    if "rgb" in own:
        return bool(own["rgb"])
    return bool(dtype == np.uint8 and _colours(channels) == _RGB_COLOURS)


def _lazy(array: zarr.Array[Any], name: str) -> Lazy:
    """The array itself, which napari can show; behind a cache where tiles would fetch a chunk again and again."""
    check_pixels(array.shape, array.dtype, name)
    check_array(array, name)
    array = bounded(array)
    far = isinstance(array.store, GuardedStore) and isinstance(array.store.wrapped, FsspecStore)
    quick = prod(array.chunks) * array.dtype.itemsize <= _SMALL_CHUNK and not far
    if quick and array.dtype.isnative:
        return array
    return cached(array, array.chunks)
