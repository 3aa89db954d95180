"""Planes: the YX slices that a network sees, with 1 or 3 channels, cut out of an image of any axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Literal

import numpy as np

#: How channels become planes: RGB as one plane and all else channel by channel, or forced either way.
Channels = Literal["auto", "rgb", "each"]


@dataclass(frozen=True)
class Plane:
    """One YX slice of an image.

    Attributes:
        index: position along every axis but Y, X and `across`, as (letter, position).
        across: the axis that holds the plane's channels, "S" or "C"; "" for a single channel.
        start, stop: the positions along `across`.
        copied: whether its pixels are passed through as they are (an alpha sample).
        range_key: which intensity range and noise treatment it shares: those of its channel and epoch.
        channel: number of its channel; C and S count, T and Z do not.
        epoch: number of its epoch, a run of neighbouring planes over T and Z that are alike.
    """

    index: tuple[tuple[str, int], ...] = ()
    across: str = ""
    start: int = 0
    stop: int = 1
    copied: bool = False
    range_key: int = 0
    channel: int = 0
    epoch: int = 0

    @property
    def channels(self) -> int:
        """Number of channels, 1 or 3."""
        return self.stop - self.start if self.across else 1


def list_planes(
    axes: str, sizes: dict[str, int], rgb: bool, channels: Channels = "auto", epochs: int = 1
) -> Iterator[Plane]:
    """Yield the planes of an image, in the order of its axes.

    Args:
        axes: the image's axes, such as "TCZYX" or "YXS".
        sizes: axis letter to length.
        rgb: whether "S", or without it "C", holds colour.
        channels: "rgb" takes the colour axis as one plane even if `rgb` is false.
        epochs: number of runs of neighbouring planes that T, Z and all other axes but C and S are cut into.

    Raises:
        ValueError: if "rgb" is asked for and no axis has 3 or 4 positions for it.
    """
    colour = _colour_axis(axes, sizes, rgb, channels)
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


def _colour_axis(axes: str, sizes: dict[str, int], rgb: bool, channels: Channels) -> str:
    """The axis taken as red, green, blue (and alpha), or "" for none."""
    if channels == "each" or (channels == "auto" and not rgb):
        return ""
    axis = next((a for a in "SC" if sizes.get(a) in (3, 4)), "")
    if not axis:
        raise ValueError(f"axes {axes} with sizes {sizes} have no S or C of 3 or 4 positions to take as RGB")
    return axis


def _channel(index: dict[str, int], sizes: dict[str, int]) -> int:
    """Number the channels: C and S count, T and Z do not."""
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
    """The index that cuts a rectangle of a plane out of an array with these axes."""
    at: dict[str, int | slice] = {"Y": ys, "X": xs, **dict(plane.index)}
    if plane.across:
        at[plane.across] = slice(plane.start, plane.stop)
    return tuple(at[letter] for letter in axes)


def to_channels_first(pixels: np.ndarray[Any, Any], axes: str, plane: Plane) -> np.ndarray[Any, Any]:
    """What `plane_index` cut out, as [channels, height, width]."""
    left = [letter for letter in axes if letter in "YX" or letter == plane.across]
    order = [left.index(letter) for letter in (plane.across, "Y", "X") if letter]
    moved = pixels.transpose(order)
    return moved if plane.across else moved[None]


def from_channels_first(pixels: np.ndarray[Any, Any], axes: str, plane: Plane) -> np.ndarray[Any, Any]:
    """Inverse of `to_channels_first`: [channels, height, width] in the order of `axes`, ready for `plane_index`."""
    first = [letter for letter in (plane.across, "Y", "X") if letter]
    kept = [letter for letter in axes if letter in first]
    whole = pixels if plane.across else pixels[0]
    return whole.transpose([first.index(letter) for letter in kept])
