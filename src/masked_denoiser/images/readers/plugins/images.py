"""Images that plugins give, in terms of their dimensions, and how they become the result of a reader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from masked_denoiser.images.axes import UNKNOWN, resolve_axes
from masked_denoiser.images.readers.base import ReaderResult
from masked_denoiser.images.readers.plugins.pixels import StackedArray
from masked_denoiser.images.source import LazyArray


@dataclass(frozen=True, eq=False)
class PluginImage:
    """An image of a plugin. Its dimensions may be unknown, so that what belongs to them is listed in their order.

    Attributes:
        name: of the image in its file.
        levels: the pyramid, full resolution first.
        axes: a letter for each dimension, `UNKNOWN` for those that the plugin does not name.
        steps, origins: pixel size and position of the first pixel along each dimension; None where unknown.
        units: unit of the pixel size along each dimension; "" where unknown.
        rgb: whether the last dimension is red, green, blue; None if the plugin does not say.
        channel_names, channel_colours, windows: see `ImageMetadata`.
        notes: what was left out.
    """

    name: str
    levels: tuple[LazyArray, ...]
    axes: str
    steps: tuple[float | None, ...]
    origins: tuple[float | None, ...]
    units: tuple[str, ...]
    rgb: bool | None = None
    channel_names: tuple[str, ...] = ()
    channel_colours: tuple[str, ...] = ()
    windows: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def geometry(self) -> tuple[Any, ...]:
        """What images have in common that are channels of one."""
        shapes = tuple(tuple(level.shape) for level in self.levels)
        return shapes, np.dtype(self.levels[0].dtype), self.axes, self.steps, self.origins, self.units, self.rgb

    def result(self, requested_axes: str | None, name: str, notes: tuple[str, ...]) -> ReaderResult:
        """Return the result of a reader.

        Args:
            requested_axes: axes that the user gave, which decide what steps and origins belong to.
            name: for messages.
            notes: further notes.

        Raises:
            ImageError: if the axes do not fit, or cannot be guessed.
        """
        shape = tuple(int(side) for side in self.levels[0].shape)
        # As float, so that a last dimension of 3 is not guessed to be RGB where the plugin denies it.
        dtype = np.dtype(np.float32) if self.rgb is False else np.dtype(self.levels[0].dtype)
        axes, guess = resolve_axes(shape, dtype, asked=requested_axes, found=self.axes, name=name)
        ratios = [[side / s for side, s in zip(shape, level.shape, strict=True)] for level in self.levels]
        return ReaderResult(
            self.levels,
            axes,
            self.rgb,
            tuple(_by_letter(axes, map(_scaled, self.steps, each)) for each in ratios),
            tuple(_by_letter(axes, map(_shifted, self.origins, self.steps, each)) for each in ratios),
            name=name,
            units={letter: unit for letter, unit in zip(axes, self.units, strict=True) if unit},
            channel_names=self.channel_names,
            channel_colours=self.channel_colours,
            windows=self.windows,
            notes=(*notes, *self.notes, *guess),
        )


def as_channels(images: Sequence[PluginImage]) -> PluginImage | None:
    """Return images as the channels of one, if they only differ in their pixels; None if they differ otherwise."""
    first = images[0]
    if first.rgb or "C" in first.axes or any(image.geometry != first.geometry for image in images):
        return None
    levels = zip(*(image.levels for image in images), strict=True)
    return replace(
        first,
        levels=tuple(StackedArray(level) for level in levels),
        axes=f"C{first.axes}",
        steps=(None, *first.steps),
        origins=(None, *first.origins),
        units=("", *first.units),
        rgb=False,
        channel_names=tuple(image.name for image in images),
        channel_colours=tuple(colour for image in images for colour in image.channel_colours),
        windows=tuple(window for image in images for window in image.windows),
        notes=tuple(dict.fromkeys(note for image in images for note in image.notes)),
    )


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names that differ, by a number after those that occur again."""
    return [name if name not in names[:i] else f"{name} ({names[:i].count(name) + 1})" for i, name in enumerate(names)]


def unknown_axes(dimensions: int) -> str:
    """Return the axes of an image whose dimensions are not named: Y and X are the last ones, as in napari."""
    return UNKNOWN * (dimensions - 2) + "YX"[-dimensions:] if dimensions else ""


def _by_letter(axes: str, values: Iterable[float | None]) -> dict[str, float]:
    return {a: value for a, value in zip(axes, values, strict=True) if value is not None and a in "TZYX"}


def _scaled(step: float | None, ratio: float) -> float | None:
    return None if step is None else step * ratio


def _shifted(origin: float | None, step: float | None, ratio: float) -> float | None:
    """Return the origin of a level: the centre of the pixels that its first pixel is the mean of.

    Where the pixel size is unknown, pixels of the level are the unit.
    """
    if step is None:
        return None if origin is None else (origin + (ratio - 1) / 2) / ratio
    return (origin or 0.0) + step * (ratio - 1) / 2
