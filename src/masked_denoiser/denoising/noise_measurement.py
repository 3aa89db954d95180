"""The noise of an image of any size, measured on a seeded sample of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.fill_values import quantization_step
from masked_denoiser.denoising.intensity.ranges import IntensityRange, common_range, measure_ranges
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.estimation import NoiseEstimate, Pair, estimate_channels, nearly_gray
from masked_denoiser.noise.variance_model import VarianceBins

#: Tiles that are read of each channel, their side, and the largest plane that is read whole instead.
_TILES, _SIDE, _WHOLE = 24, 256, 1024 * 1024

#: Tiles that are kept of all channels together, and of one channel at least: half a megabyte each.
_KEPT, _FEWEST = 384, 4

#: Places that are compared with the next plane.
_COMPARED = 4

#: Values of a sample that its quantization step is found from.
_FOR_STEP = 200_000

#: A rectangle of a plane: rows and columns.
Place = tuple[Plane, slice, slice]

_COLOURS: tuple[str, ...] = ("red", "green", "blue")


@dataclass(frozen=True, eq=False)
class NoiseSample:
    """What the noise of one plane's channels was measured on.

    Attributes:
        stacks: [channels, H, W] each, in units of `scale`; missing pixels continued.
        missing: of each stack, which samples hold no intensity; None for none.
        neighbours: some of the places in planes of one channel together with the next plane over T or Z, [2, H, W] each
            in the same units, and which samples hold no intensity.
        scale: of the channel; over all epochs where planes differ.
        step: quantization step, in units of `scale`; 0 for none.
        range_keys: `Plane.range_key` of the plane of each stack.
    """

    stacks: tuple[NDArray[np.float64], ...]
    missing: tuple[NDArray[np.bool_] | None, ...]
    scale: IntensityRange
    step: float
    range_keys: tuple[int, ...] = ()
    neighbours: tuple[Pair, ...] = ()

    @property
    def middle(self) -> float:
        """Median intensity, in units of `scale`."""
        return float(np.median(np.concatenate([stack[..., ::4, ::4].ravel() for stack in self.stacks])))

    @property
    def gray(self) -> bool:
        """Whether red, green and blue are equal, but for coloured marks."""
        return nearly_gray(self.stacks, 0.0)


@dataclass(frozen=True, eq=False)
class Measured:
    """An estimate, and what it was read from.

    Attributes:
        estimate: of all channels.
        groups: variance against intensity of each channel, as it was measured.
        names: of the channels.
        keys: `Plane.channel` of the channels; red, green and blue share theirs.
        samples: by `Plane.channel`.
    """

    estimate: NoiseEstimate
    groups: tuple[VarianceBins, ...]
    names: tuple[str, ...]
    keys: tuple[int, ...]
    samples: Mapping[int, NoiseSample] = field(default_factory=dict)

    def of_channel(self, channel: int) -> list[ChannelNoise]:
        """Return the noise of a plane's channels: one, or red, green and blue."""
        return [noise for key, noise in zip(self.keys, self.estimate.channels, strict=True) if key == channel]


def estimate_noise(
    image: Source | NDArray[Any] | str | os.PathLike[str], *, axes: str | None = None, seed: int = 0
) -> NoiseEstimate:
    """Measure the noise of an image: `masked_denoiser.estimate_noise`.

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
    """Measure the noise of every channel, over all of its planes: a detector has one noise at one intensity.

    Args:
        source: the image.
        planes: those to measure; all by default.
        ranges: by `Plane.range_key`; measured by default.
        seed: of the sample: the same seed reads the same tiles.
    """
    chosen = [p for p in (planes or list_planes(source.axes, source.sizes, source.rgb)) if not p.copied]
    ranges = measure_ranges(source, chosen, seed) if ranges is None else ranges
    channels: dict[int, list[Plane]] = {}
    for plane in chosen:
        channels.setdefault(plane.channel, []).append(plane)
    rows: list[tuple[ChannelNoise, VarianceBins, str, int]] = []
    samples: dict[int, NoiseSample] = {}
    count = max(_FEWEST, min(_TILES, _KEPT // len(channels))) if channels else _TILES
    for channel, group in channels.items():
        scale = common_range([ranges[key] for key in dict.fromkeys(plane.range_key for plane in group)])
        samples[channel] = sample = _sample(source, group, scale, seed, count)
        found = estimate_channels(sample.stacks, sample.missing, sample.step, sample.neighbours)
        rows += [(*one, name, channel) for one, name in zip(found, _names(source, group[0]), strict=True)]
    scales = [samples[channel].scale for *_, channel in rows]
    estimate = NoiseEstimate(tuple(row[0] for row in rows), tuple((s.low, s.high) for s in scales))
    return Measured(
        estimate, tuple(row[1] for row in rows), tuple(row[2] for row in rows), tuple(row[3] for row in rows), samples
    )


def _names(source: Source, plane: Plane) -> tuple[str, ...]:
    if plane.channels == 3:
        return _COLOURS
    channel = plane.channel
    if source.rgb and channel < len(_COLOURS):  # colours one by one
        return (_COLOURS[channel],)
    return (source.channel_names[channel] if channel < len(source.channel_names) else f"channel {channel}",)


def _sample(source: Source, planes: Sequence[Plane], scale: IntensityRange, seed: int, count: int) -> NoiseSample:
    places = list(_places(source, planes, seed, count))
    tiles = [source.read(*place) for place in places]
    values = np.concatenate(
        [tile[~missing] if (missing := scale.is_missing(tile)) is not None else tile.ravel() for tile in tiles]
    )
    step = _quantization_step(values)
    return NoiseSample(
        tuple(scale.to_unit(tile).astype(np.float64) for tile in tiles),
        tuple(scale.is_missing(tile) for tile in tiles),
        scale,
        step / scale.span,
        tuple(plane.range_key for plane, _, _ in places),
        tuple(_with_neighbours(source, planes, places[:_COMPARED], scale)),
    )


def _with_neighbours(
    source: Source, planes: Sequence[Plane], places: Sequence[Place], scale: IntensityRange
) -> Iterator[Pair]:
    by_index = {plane.index: plane for plane in planes if plane.channels == 1}
    for plane, ys, xs in places:
        following = (by_index.get(index) for index in _next_indices(plane.index))
        other = next((one for one in following if one is not None and one.range_key == plane.range_key), None)
        if other is not None:
            pair = np.concatenate([source.read(one, ys, xs) for one in (plane, other)])
            yield scale.to_unit(pair).astype(np.float64), scale.is_missing(pair)


def _next_indices(index: tuple[tuple[str, int], ...]) -> Iterator[tuple[tuple[str, int], ...]]:
    """The planes after and before one, over time first: what moves the least is shared the best."""
    for axis in "TZ":
        for step in (1, -1):
            if axis in dict(index):
                yield tuple((letter, at + step * (letter == axis)) for letter, at in index)


def _quantization_step(values: NDArray[Any]) -> float:
    """The quantization step of a sample of intensities; 0 for floats of which nearly all differ."""
    few = values[:: max(1, values.size // _FOR_STEP)]
    unique = np.unique(few)
    if few.dtype.kind == "f" and unique.size > 0.2 * few.size:
        return 0.0
    return quantization_step(unique)


def _places(source: Source, planes: Sequence[Plane], seed: int, count: int) -> Iterator[Place]:
    """A few planes whole where they are small, else tiles at random."""
    rng = np.random.default_rng(seed)
    height, width = source.size_yx
    if height * width <= _WHOLE:
        few = max(1, count * _SIDE**2 // (height * width))
        chosen = planes if len(planes) <= few else [planes[i] for i in sorted(rng.permutation(len(planes))[:few])]
        yield from ((plane, slice(0, height), slice(0, width)) for plane in chosen)
        return
    for _ in range(count):
        plane = planes[int(rng.integers(len(planes)))]
        y, x = (int(rng.integers(max(1, side - _SIDE + 1))) for side in (height, width))
        yield plane, slice(y, min(y + _SIDE, height)), slice(x, min(x + _SIDE, width))
