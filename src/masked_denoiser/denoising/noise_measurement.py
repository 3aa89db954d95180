"""Noise measurement of an image of any size, on a seeded sample."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.fill_values import quantization_step
from masked_denoiser.denoising.intensity.ranges import IntensityRange, common_range, group_planes, measure_ranges
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.estimation import NoiseEstimate, PlanePair, estimate_channels, nearly_gray
from masked_denoiser.noise.variance_model import VarianceBins

#: Number of tiles that are read per channel, and their side in pixels.
_TILES, _SIDE = 24, 256

#: Largest number of pixels of a plane that is read as a whole instead.
_WHOLE_PIXELS = 1024 * 1024

#: Largest number of tiles kept of all channels together, and least number per channel; a tile takes half a megabyte.
_MAX_TILES, _MIN_TILES = 384, 4

#: Number of rectangles that are compared with the next plane.
_COMPARED_RECTANGLES = 4

#: Largest number of values from which the quantization step of a sample is derived.
_STEP_VALUES = 200_000

#: Share of unique values above which floats have no quantization step.
_CONTINUOUS_SHARE = 0.2

#: A plane, and the rows and columns of a rectangle in it.
Rectangle = tuple[Plane, slice, slice]

_COLOURS: tuple[str, ...] = ("red", "green", "blue")


@dataclass(frozen=True, eq=False)
class NoiseSample:
    """Pixels on which the noise of the channels of a plane is measured.

    Attributes:
        stacks: [channels, H, W] each, in units of `intensity_range`; missing pixels are filled from their surroundings.
        missing: mask of missing pixels of each stack; None for none.
        neighbours: pairs of the same rectangle in a plane and the next one over T or Z, [2, H, W] each in the same
            units, with their masks of missing pixels; for planes of one channel.
        intensity_range: of the channel; over all epochs where planes differ.
        step: quantization step, in units of `intensity_range`; 0 for none.
        range_keys: `Plane.range_key` of the plane of each stack.
    """

    stacks: tuple[NDArray[np.float64], ...]
    missing: tuple[NDArray[np.bool_] | None, ...]
    intensity_range: IntensityRange
    step: float
    range_keys: tuple[int, ...] = ()
    neighbours: tuple[PlanePair, ...] = ()

    @property
    def median_intensity(self) -> float:
        """Median intensity, in units of `intensity_range`."""
        return float(np.median(np.concatenate([stack[..., ::4, ::4].ravel() for stack in self.stacks])))

    @property
    def is_gray(self) -> bool:
        """Whether red, green and blue are equal, except for coloured marks."""
        return nearly_gray(self.stacks, 0.0)


@dataclass(frozen=True, eq=False)
class NoiseMeasurement:
    """A noise estimate, with the data from which it was derived.

    Attributes:
        estimate: of all channels.
        variance_bins: measured variance as a function of intensity, for each channel.
        channel_names: of the channels.
        channel_keys: `Plane.channel` of the channels; red, green and blue have the same.
        samples: by `Plane.channel`.
    """

    estimate: NoiseEstimate
    variance_bins: tuple[VarianceBins, ...]
    channel_names: tuple[str, ...]
    channel_keys: tuple[int, ...]
    samples: Mapping[int, NoiseSample] = field(default_factory=dict)

    def of_channel(self, channel: int) -> list[ChannelNoise]:
        """Return the noise of the channels of a plane: one channel, or red, green and blue."""
        return [noise for key, noise in zip(self.channel_keys, self.estimate.channels, strict=True) if key == channel]


def estimate_noise(
    image: Source | NDArray[Any] | str | os.PathLike[str], *, axes: str | None = None, reader: str = "", seed: int = 0
) -> NoiseEstimate:
    """Measure the noise of an image: `masked_denoiser.estimate_noise`.

    Args:
        image: a source, a file, or an array of any real dtype.
        axes, reader: as for `open_image`.
        seed: of the sample.

    Raises:
        ImageError: if the axes are unknown, or the file cannot be read.
    """
    with open_image(image, axes=axes, reader=reader) as source:
        return measure_noise(source, seed=seed).estimate


def measure_noise(
    source: Source,
    *,
    planes: Iterable[Plane] | None = None,
    ranges: Mapping[int, IntensityRange] | None = None,
    seed: int = 0,
) -> NoiseMeasurement:
    """Measure the noise of each channel over all of its planes, as the noise of a detector depends on intensity alone.

    Args:
        source: the image.
        planes: those to measure; all by default.
        ranges: by `Plane.range_key`; measured by default.
        seed: of the sample; the same seed reads the same tiles.
    """
    chosen = [p for p in (planes or list_planes(source.axes, source.sizes, source.rgb)) if not p.copied]
    ranges = measure_ranges(source, chosen, seed) if ranges is None else ranges
    channels = group_planes(chosen, "channel")
    rows: list[tuple[ChannelNoise, VarianceBins, str, int]] = []
    samples: dict[int, NoiseSample] = {}
    count = max(_MIN_TILES, min(_TILES, _MAX_TILES // len(channels))) if channels else _TILES
    for channel, group in channels.items():
        intensity_range = common_range([ranges[key] for key in dict.fromkeys(plane.range_key for plane in group)])
        samples[channel] = sample = _read_sample(source, group, intensity_range, seed, count)
        estimates = estimate_channels(sample.stacks, sample.missing, sample.step, sample.neighbours)
        named = zip(estimates, _channel_names(source, group[0]), strict=True)
        rows += [(*estimated, name, channel) for estimated, name in named]
    noise, bins, names, keys = tuple(zip(*rows, strict=True)) or ((), (), (), ())
    channel_ranges = (samples[channel].intensity_range for channel in keys)
    estimate = NoiseEstimate(noise, tuple((each.low, each.high) for each in channel_ranges))
    return NoiseMeasurement(estimate, bins, names, keys, samples)


def _channel_names(source: Source, plane: Plane) -> tuple[str, ...]:
    if plane.channels == 3:
        return _COLOURS
    channel = plane.channel
    if source.rgb and channel < len(_COLOURS):  # colours that are denoised separately
        return (_COLOURS[channel],)
    return (source.channel_names[channel] if channel < len(source.channel_names) else f"channel {channel}",)


def _read_sample(
    source: Source, planes: Sequence[Plane], intensity_range: IntensityRange, seed: int, count: int
) -> NoiseSample:
    rectangles = list(_choose_rectangles(source, planes, seed, count))
    tiles = [source.read(*rectangle) for rectangle in rectangles]
    masks = [intensity_range.missing_mask(tile) for tile in tiles]
    valid = [tile.ravel() if mask is None else tile[~mask] for tile, mask in zip(tiles, masks, strict=True)]
    step = _quantization_step(np.concatenate(valid))
    return NoiseSample(
        tuple(intensity_range.to_unit(tile).astype(np.float64) for tile in tiles),
        tuple(masks),
        intensity_range,
        step / intensity_range.span,
        tuple(plane.range_key for plane, _, _ in rectangles),
        tuple(_with_next_plane(source, planes, rectangles[:_COMPARED_RECTANGLES], intensity_range)),
    )


def _with_next_plane(
    source: Source, planes: Sequence[Plane], rectangles: Sequence[Rectangle], intensity_range: IntensityRange
) -> Iterator[PlanePair]:
    by_index = {plane.index: plane for plane in planes if plane.channels == 1}
    for plane, ys, xs in rectangles:
        adjacent = (by_index.get(index) for index in _adjacent_indices(plane.index))
        other = next((p for p in adjacent if p is not None and p.range_key == plane.range_key), None)
        if other is not None:
            pair = np.concatenate([source.read(p, ys, xs) for p in (plane, other)])
            yield intensity_range.to_unit(pair).astype(np.float64), intensity_range.missing_mask(pair)


def _adjacent_indices(index: tuple[tuple[str, int], ...]) -> Iterator[tuple[tuple[str, int], ...]]:
    """Yield the next and the previous plane, first over time: there, planes usually share the most structure."""
    for axis in "TZ":
        for step in (1, -1):
            if axis in dict(index):
                yield tuple((letter, at + step * (letter == axis)) for letter, at in index)


def _quantization_step(values: NDArray[Any]) -> float:
    """Return the quantization step of a sample of intensities; 0 for floats of which nearly all differ."""
    few = values[:: max(1, values.size // _STEP_VALUES)]
    unique = np.unique(few)
    if few.dtype.kind == "f" and unique.size > _CONTINUOUS_SHARE * few.size:
        return 0.0
    return quantization_step(unique)


def _choose_rectangles(source: Source, planes: Sequence[Plane], seed: int, count: int) -> Iterator[Rectangle]:
    """Yield a few whole planes if they are small, otherwise random tiles."""
    rng = np.random.default_rng(seed)
    height, width = source.size_yx
    if height * width <= _WHOLE_PIXELS:
        few = max(1, count * _SIDE**2 // (height * width))
        chosen = planes if len(planes) <= few else [planes[i] for i in sorted(rng.permutation(len(planes))[:few])]
        yield from ((plane, slice(0, height), slice(0, width)) for plane in chosen)
        return
    for _ in range(count):
        plane = planes[int(rng.integers(len(planes)))]
        y, x = (int(rng.integers(max(1, side - _SIDE + 1))) for side in (height, width))
        yield plane, slice(y, min(y + _SIDE, height)), slice(x, min(x + _SIDE, width))
