"""Layer data of napari readers: (data, settings, type) as https://napari.org defines LayerData."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import letter_of
from masked_denoiser.images.metadata.units import unit_name
from masked_denoiser.images.readers.plugins.images import PluginImage, unique_names, unknown_axes
from masked_denoiser.images.readers.plugins.pixels import read_level

#: Colours of napari's colormaps for channels, as red, green, blue.
_COLOURS = {
    "red": "FF0000",
    "green": "00FF00",
    "blue": "0000FF",
    "cyan": "00FFFF",
    "magenta": "FF00FF",
    "yellow": "FFFF00",
    "gray": "FFFFFF",
    "grey": "FFFFFF",
}

#: Settings that place a layer in the world in ways that a source does not store, and their values without effect.
_TRANSFORMS = ("rotate", "shear", "affine")


def read_layers(layers: Iterable[Any], reader: str, where: str) -> tuple[list[PluginImage], tuple[str, ...]]:
    """Return the images among the layers of a file, and a note on the other layers.

    Args:
        layers: what the plugin returned.
        reader: its description.
        where: path or address of the file.

    Raises:
        ImageError: if there is no image among them, or one is not an array.
    """
    complete = [_complete(layer) for layer in layers]
    others = Counter(kind for _, _, kind in complete if kind != "image")
    images = [(data, settings) for data, settings, kind in complete if kind == "image"]
    if not images:
        found = _counted(others) or "nothing"
        raise ImageError(f"{where}: {reader} gives {found} and no image; choose another --reader")
    names = unique_names([_name(settings, number) for number, (_, settings) in enumerate(images)])
    read = [_Layer(data, settings, reader, name).image() for (data, settings), name in zip(images, names, strict=True)]
    return read, (f"left out: {_counted(others)}; only images are read",) if others else ()


def _complete(layer: Any) -> tuple[Any, Mapping[str, Any], str]:
    """Return data, settings and type of a layer; a reader that opens no layers returns (None,)."""
    data, settings, kind = (*layer, {}, "image")[:3] if len(layer) < 2 else (*layer, "image")[:3]
    return data, settings or {}, "nothing" if data is None else str(kind).lower()


def _counted(others: Counter[str]) -> str:
    counts = [f"{count} layers of {kind}" if count > 1 else f"1 layer of {kind}" for kind, count in others.items()]
    return " and ".join(counts)


def _name(settings: Mapping[str, Any], number: int) -> str:
    name = settings.get("name")
    return name if isinstance(name, str) and name else str(number)


@dataclass(frozen=True, eq=False)
class _Layer:
    """Image layer as a plugin gives it.

    Attributes:
        data: an array, or the levels of a pyramid.
        settings: keywords of `napari.layers.Image`.
        reader: description of the plugin.
        name: of the layer.
    """

    data: Any
    settings: Mapping[str, Any]
    reader: str
    name: str

    def image(self) -> PluginImage:
        """Return the image of the layer.

        Raises:
            ImageError: if its data are not arrays.
        """
        levels = list(self.data) if self._is_multiscale() else [self.data]
        found = [read_level(level, self.reader, self.name) for level in levels]
        ndim = len(found[0].levels[0].shape)
        if any(len(result.levels[0].shape) != ndim for result in found):
            raise ValueError(f"the levels of layer '{self.name}' differ in their number of dimensions")
        channel = self._channel_axis(ndim)
        axes = self._axes(ndim, channel, found[0].axes)
        free = [at for at in range(ndim) if at != channel and not (axes[at : at + 1] == "S" and at == ndim - 1)]
        scale = self._per_dimension("scale", free, ndim)
        units = [unit_name(unit) for unit in self._per_dimension("units", free, ndim)]
        return PluginImage(
            self.name,
            tuple(result.levels[0] for result in found),
            axes,
            tuple(_step(value, unit) for value, unit in zip(scale, units, strict=True)),
            tuple(_number(value) for value in self._per_dimension("translate", free, ndim)),
            tuple(units),
            self._rgb(),
            self._channel_names(channel),
            self._colours(),
            self._windows(),
            self._notes(scale),
        )

    def _is_multiscale(self) -> bool:
        """Return whether the data are a pyramid: as declared, or arrays of decreasing size."""
        declared = self.settings.get("multiscale")
        if declared is not None:
            return bool(declared)
        if not isinstance(self.data, list | tuple) or len(self.data) < 2 or not all(map(_has_shape, self.data)):
            return False
        sizes = [int(np.prod(level.shape, dtype=np.int64)) for level in self.data]
        return all(finer > coarser for finer, coarser in pairwise(sizes))

    def _rgb(self) -> bool | None:
        declared = self.settings.get("rgb")
        return None if declared is None else bool(declared)

    def _channel_axis(self, ndim: int) -> int | None:
        axis = self.settings.get("channel_axis")
        return int(axis) % ndim if axis is not None and ndim else None

    def _axes(self, ndim: int, channel: int | None, found: str) -> str:
        """Return a letter per dimension: labels of the layer, else dimensions of its array, else Y and X last."""
        labels = [letter_of(label) for label in self.settings.get("axis_labels") or ()]
        samples = (
            "S" if self._rgb() or (self._rgb() is None and len(labels) == ndim - 1 - (channel is not None)) else ""
        )
        count = ndim - (channel is not None) - len(samples)
        letters = "".join(labels) if len(labels) == count else found if len(found) == count else ""
        if not {"Y", "X"} <= set(letters):
            letters = unknown_axes(count)
        return f"{letters[:channel]}C{letters[channel:]}{samples}" if channel is not None else letters + samples

    def _per_dimension(self, name: str, free: Sequence[int], ndim: int) -> list[Any]:
        """Return the values of a setting for each dimension; None for channels, samples and where there is none."""
        value = self.settings.get(name)
        values = list(value) if isinstance(value, list | tuple | np.ndarray) else [value] * len(free)
        if values and isinstance(values[0], list | tuple | np.ndarray):  # a list for each channel
            values = list(values[0])
        at = range(ndim) if len(values) == ndim else free
        spread: list[Any] = [None] * ndim
        if len(values) == len(at):
            for dimension, each in zip(at, values, strict=True):
                spread[dimension] = each if dimension in free else None
        return spread

    def _channel_names(self, channel: int | None) -> tuple[str, ...]:
        names = self.settings.get("name")
        if channel is None or not isinstance(names, list | tuple):
            return ()
        return tuple(names) if all(isinstance(name, str) for name in names) else ()

    def _colours(self) -> tuple[str, ...]:
        """Return the colours of named colormaps; () if one has another."""
        given = self.settings.get("colormap")
        maps = given if isinstance(given, list | tuple) else [given]
        colours = [_COLOURS.get(colormap.lower(), "") if isinstance(colormap, str) else "" for colormap in maps]
        return tuple(colours) if all(colours) else ()

    def _windows(self) -> tuple[tuple[float, float], ...]:
        limits = self.settings.get("contrast_limits")
        if limits is None or not len(limits):
            return ()
        pairs = limits if isinstance(limits[0], list | tuple | np.ndarray) else [limits]
        known = all(pair is not None and len(pair) == 2 and all(value is not None for value in pair) for pair in pairs)
        return tuple((float(low), float(high)) for low, high in pairs) if known else ()

    def _notes(self, scale: Sequence[Any]) -> tuple[str, ...]:
        lost = [name for name in _TRANSFORMS if _has_effect(name, self.settings.get(name))]
        notes = [f"{', '.join(lost)} of layer '{self.name}' not kept; pixels are as stored"] if lost else []
        if any(value is not None and float(value) < 0 for value in scale):
            notes.append(
                f"layer '{self.name}' is mirrored by a negative scale, which is not kept; pixels are as stored"
            )
        return tuple(notes)


def _has_shape(array: Any) -> bool:
    return isinstance(getattr(array, "shape", None), tuple)


def _step(value: Any, unit: str) -> float | None:
    """Return a pixel size; None for a scale of 1 without a unit, which counts pixels."""
    number = _number(value)
    return None if number is None or (abs(number) == 1 and not unit) else abs(number)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _has_effect(name: str, value: Any) -> bool:
    """Return whether a rotation, shear or affine transform changes anything."""
    if value is None:
        return False
    numbers = np.asarray(getattr(value, "affine_matrix", value), dtype=np.float64)
    if name == "shear" and numbers.ndim < 2:
        return bool(numbers.any())
    return bool(numbers.any()) if numbers.ndim < 2 else not np.array_equal(numbers, np.eye(*numbers.shape))
