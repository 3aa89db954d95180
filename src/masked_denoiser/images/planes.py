"""Planes: YX slices of an image of any axes, with 1 or 3 channels, as the network sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from masked_denoiser.images.choices import Channels


@dataclass(frozen=True)
class Plane:
    """One YX slice of an image.

    Attributes:
        index: position along every axis but Y, X and `channel_axis`, as (letter, position).
        channel_axis: the axis that holds the plane's channels, "S" or "C"; "" for a single channel.
        start, stop: half-open range of positions along `channel_axis`.
        copied: whether its pixels are copied unchanged (an alpha sample).
        range_key: number of its intensity range and noise treatment, shared by all planes of its channel and epoch.
        channel: number of its channel over C and S.
        epoch: number of its epoch, a run of similar consecutive planes over T and Z.
    """

    index: tuple[tuple[str, int], ...] = ()
    channel_axis: str = ""
    start: int = 0
    stop: int = 1
    copied: bool = False
    range_key: int = 0
    channel: int = 0
    epoch: int = 0

    @property
    def channels(self) -> int:
        """Number of channels, 1 or 3."""
        return self.stop - self.start if self.channel_axis else 1


def list_planes(
    axes: str, sizes: dict[str, int], rgb: bool, channels: Channels = "auto", epochs: int = 1
) -> Iterator[Plane]:
    """Yield the planes of an image, in the order of its axes.

    Args:
        axes: the image's axes, such as "TCZYX" or "YXS".
        sizes: axis letter to length.
        rgb: whether "S" (or "C", without "S") holds colour.
        channels: how channels are grouped; "rgb" takes the colour axis as one plane even if `rgb` is false.
        epochs: number of runs of consecutive planes into which all axes but Y, X, C and S are divided.

    Raises:
        ValueError: if `channels` is "rgb" and neither S nor C has 3 or 4 positions.
    """
    colour = colour_axis(axes, sizes, rgb, channels)
    alpha = next(((a, 3) for a in "SC" if rgb and sizes.get(a) == 4), None)
    outer = [(a, range(sizes[a])) for a in axes if a not in "YX" and a != colour]
    for position in product(*(steps for _, steps in outer)):
        index = tuple((letter, i) for (letter, _), i in zip(outer, position, strict=True))
        channel, epoch = _channel(dict(index), sizes), _epoch(dict(index), sizes, epochs)
        key = channel + epoch * _channel_count(sizes)
        if not colour:
            yield Plane(index, copied=alpha in index, range_key=key, channel=channel, epoch=epoch)
            continue
        yield Plane(index, colour, 0, 3, range_key=key, channel=channel, epoch=epoch)
        if sizes[colour] == 4:
            yield Plane(index, colour, 3, 4, copied=True, range_key=key, channel=channel, epoch=epoch)


def colour_axis(axes: str, sizes: dict[str, int], rgb: bool, channels: Channels) -> str:
    """Return the axis of red, green, blue (and alpha), or "".

    Args:
        axes, sizes, rgb, channels: as for `list_planes`.

    Raises:
        ValueError: if there is no axis of colours, although there should be.
    """
    if channels == "each" or (channels == "auto" and not rgb):
        return ""
    axis = next((a for a in "SC" if sizes.get(a) in (3, 4)), "")
    if not axis:
        raise ValueError(f"axes {axes} with sizes {sizes} have no S or C of 3 or 4 positions to take as RGB")
    return axis


def _channel(index: dict[str, int], sizes: dict[str, int]) -> int:
    """Return the number of the channel over C and S."""
    return index.get("C", 0) * sizes.get("S", 1) + index.get("S", 0)


def _channel_count(sizes: dict[str, int]) -> int:
    return sizes.get("C", 1) * sizes.get("S", 1)


def position_count(sizes: dict[str, int]) -> int:
    """Return the number of positions over T, Z and all other axes but Y, X, C and S."""
    return prod(size for letter, size in sizes.items() if letter not in "YXCS")


def _epoch(index: dict[str, int], sizes: dict[str, int], epochs: int) -> int:
    position = 0
    for letter, size in sizes.items():
        if letter not in "YXCS":
            position = position * size + index[letter]
    return position * epochs // position_count(sizes)


def plane_index(axes: str, plane: Plane, ys: slice, xs: slice) -> tuple[int | slice, ...]:
    """Return the index of a rectangle of a plane in an array with these axes."""
    at: dict[str, int | slice] = {"Y": ys, "X": xs, **dict(plane.index)}
    if plane.channel_axis:
        at[plane.channel_axis] = slice(plane.start, plane.stop)
    return tuple(at[letter] for letter in axes)


def to_channels_first(pixels: np.ndarray[Any, Any], axes: str, plane: Plane) -> np.ndarray[Any, Any]:
    """Return the array that `plane_index` selects as [channels, height, width]."""
    remaining = [letter for letter in axes if letter in "YX" or letter == plane.channel_axis]
    order = [remaining.index(letter) for letter in (plane.channel_axis, "Y", "X") if letter]
    moved = pixels.transpose(order)
    return moved if plane.channel_axis else moved[None]


def from_channels_first(pixels: np.ndarray[Any, Any], axes: str, plane: Plane) -> np.ndarray[Any, Any]:
    """Return [channels, height, width] in the order of `axes`: the inverse of `to_channels_first`."""
    first = [letter for letter in (plane.channel_axis, "Y", "X") if letter]
    kept = [letter for letter in axes if letter in first]
    block = pixels if plane.channel_axis else pixels[0]
    return block.transpose([first.index(letter) for letter in kept])
