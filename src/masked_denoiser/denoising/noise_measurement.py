"""The noise of an image of any size, from a seeded sample of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity import IntensityRange, measure_ranges
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.noise.estimation import ChannelNoise, NoiseEstimate, estimate_channel
from masked_denoiser.noise.variance_model import Groups

#: Tiles that are read of each channel, their side, and the largest plane that is read whole instead.
_TILES, _SIDE, _WHOLE = 24, 256, 1024 * 1024

_COLOURS: tuple[str, ...] = ("red", "green", "blue")


@dataclass(frozen=True, eq=False)
class Measured:
    """An estimate, and what it was read from.

    Attributes:
        estimate: of all channels.
        groups: variance against intensity of each channel, as it was measured.
        names: of the channels.
        keys: `Plane.range_key` of the channels; red, green and blue share theirs.
    """

    estimate: NoiseEstimate
    groups: tuple[Groups, ...]
    names: tuple[str, ...]
    keys: tuple[int, ...]


def estimate_noise(
    image: Source | NDArray[Any] | str | os.PathLike[str], *, axes: str | None = None, seed: int = 0
) -> NoiseEstimate:
    """Measures the noise of an image: `masked_denoiser.estimate_noise`.

    Args:
        image: a source, a file, or an array of any real dtype.
        axes: where they are not named, as for `open_image`.
        seed: of the sample.

    Raises:
        ImageError: if the axes cannot be told, or the file cannot be read.
    """
    with open_image(image, axes=axes) as source:
        return measure_noise(source, seed=seed).estimate


def measure_noise(
    source: Source,
    *,
    planes: Iterable[Plane] | None = None,
    ranges: Mapping[int, IntensityRange] | None = None,
    seed: int = 0,
) -> Measured:
    """Measures the noise of every channel.

    Args:
        source: the image.
        planes: those to measure; all by default.
        ranges: by `Plane.range_key`; measured by default.
        seed: of the sample: the same seed reads the same tiles.
    """
    chosen = [p for p in (planes or list_planes(source.axes, source.sizes, source.rgb)) if not p.copied]
    ranges = measure_ranges(source, chosen, seed) if ranges is None else ranges
    by_key: dict[int, list[Plane]] = {}
    for plane in chosen:
        by_key.setdefault(plane.range_key, []).append(plane)
    noises: list[ChannelNoise] = []
    groups: list[Groups] = []
    names: list[str] = []
    keys: list[int] = []
    for key, group in by_key.items():
        for name, tiles in _channels(source, group, ranges[key], key, seed):
            noise, found = estimate_channel(tiles)
            noises.append(noise)
            groups.append(found)
            names.append(name)
            keys.append(key)
    estimate = NoiseEstimate(tuple(noises), tuple((ranges[key].low, ranges[key].high) for key in keys))
    return Measured(estimate, tuple(groups), tuple(names), tuple(keys))


def _channels(
    source: Source, planes: Sequence[Plane], scale: IntensityRange, key: int, seed: int
) -> Iterable[tuple[str, list[NDArray[np.float64]]]]:
    """The tiles of each channel, in units of its range, not clipped to it."""
    tiles = [_in_range(tile, scale) for tile in _tiles(source, planes, seed)]
    if planes[0].channels == 3:
        names = _COLOURS
    elif source.rgb and key < len(_COLOURS):  # colours one by one
        names = (_COLOURS[key],)
    else:
        names = (source.channel_names[key] if key < len(source.channel_names) else f"channel {key}",)
    for number, name in enumerate(names):
        yield name, [tile[number] for tile in tiles]


def _tiles(source: Source, planes: Sequence[Plane], seed: int) -> Iterable[NDArray[Any]]:
    """[channels, H, W]: a few planes whole where they are small, else tiles at random."""
    rng = np.random.default_rng(seed)
    height, width = source.size_yx
    if height * width <= _WHOLE:
        few = max(1, _TILES * _SIDE**2 // (height * width))
        chosen = planes if len(planes) <= few else [planes[i] for i in sorted(rng.permutation(len(planes))[:few])]
        yield from (source.read(plane, slice(0, height), slice(0, width)) for plane in chosen)
        return
    for _ in range(_TILES):
        plane = planes[int(rng.integers(len(planes)))]
        y, x = (int(rng.integers(max(1, side - _SIDE + 1))) for side in (height, width))
        yield source.read(plane, slice(y, min(y + _SIDE, height)), slice(x, min(x + _SIDE, width)))


def _in_range(tile: NDArray[Any], scale: IntensityRange) -> NDArray[np.float64]:
    values = np.where(np.isfinite(tile), tile, scale.fill) if tile.dtype.kind == "f" else tile
    return np.asarray((values.astype(np.float64) - scale.low) / (scale.high - scale.low))
