"""Sample of the pixels of a channel, on which its noise is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.fill_values import quantization_step
from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.intensity.rectangles import RECTANGLE_SIDE, Rectangle, random_rectangle
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.noise.blocks import residual
from masked_denoiser.noise.estimation import PlanePair, nearly_gray

#: Largest number of pixels of a plane that is read as a whole instead, if so many different planes are read.
_WHOLE_PIXELS, _WHOLE_PLANES = 1024 * 1024, 4

#: Number of rectangles that are read for each one that is kept, if others have one value only.
_CANDIDATES = 6

#: Number of rectangles that are compared with the next plane.
_COMPARED_RECTANGLES = 4

#: Largest number of values from which the quantization step of a sample is derived.
_STEP_VALUES = 200_000

#: Share of unique values above which floats have no quantization step.
_CONTINUOUS_SHARE = 0.2


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
    def noise_ratio(self) -> float:
        """Ratio of the strongest to the weakest fine residuals of its stacks; large if the noise of planes differs."""
        medians = [float(np.median(np.abs(residual(stack, 1)))) for stack in self.stacks]
        return max(medians) / max(min(medians), 1e-300)

    @property
    def is_gray(self) -> bool:
        """Whether red, green and blue are equal, except for coloured marks."""
        return nearly_gray(self.stacks, 0.0)


@dataclass(frozen=True, eq=False)
class RawSample:
    """Tiles of a channel as read, [channels, H, W] each.

    Attributes:
        tiles, missing: pixels in the dtype of the image; masks in the same shape, or None for none.
        pairs: the same rectangle in a plane and the next one over T or Z, [2, H, W] each.
        range_keys: `Plane.range_key` of the plane of each tile.
        intensity_range: of the channel.
        step: quantization step in units of the image.
    """

    tiles: tuple[NDArray[Any], ...]
    missing: tuple[NDArray[np.bool_] | None, ...]
    pairs: tuple[NDArray[Any], ...]
    range_keys: tuple[int, ...]
    intensity_range: IntensityRange
    step: float

    def in_units(self, intensity_range: IntensityRange) -> NoiseSample:
        """Return the sample in units of a range, which may stabilize the noise."""
        return NoiseSample(
            tuple(intensity_range.to_unit(tile).astype(np.float64) for tile in self.tiles),
            self.missing,
            intensity_range,
            self.step / intensity_range.span,
            self.range_keys,
            tuple(
                (intensity_range.to_unit(pair).astype(np.float64), intensity_range.missing_mask(pair))
                for pair in self.pairs
            ),
        )


def read_sample(
    source: Source, planes: Sequence[Plane], intensity_range: IntensityRange, seed: int, count: int
) -> RawSample:
    """Read a few whole planes if they are small, otherwise random tiles.

    Args:
        source: the image.
        planes: of one channel.
        intensity_range: of all these planes.
        seed: of the sample.
        count: number of tiles of 256 x 256 pixels.
    """
    rectangles, tiles = _read_rectangles(source, *_choose_rectangles(source, planes, seed, count), intensity_range)
    masks = [intensity_range.missing_mask(tile) for tile in tiles]
    valid = [_valid_values(tile, mask) for tile, mask in zip(tiles, masks, strict=True)]
    return RawSample(
        tuple(tiles),
        tuple(masks),
        tuple(_with_next_plane(source, planes, rectangles[:_COMPARED_RECTANGLES])),
        tuple(plane.range_key for plane, _, _ in rectangles),
        intensity_range,
        _quantization_step(np.concatenate(valid)),
    )


def _with_next_plane(
    source: Source, planes: Sequence[Plane], rectangles: Sequence[Rectangle]
) -> Iterator[NDArray[Any]]:
    by_index = {plane.index: plane for plane in planes if plane.channels == 1}
    for plane, ys, xs in rectangles:
        adjacent = (by_index.get(index) for index in _adjacent_indices(plane.index))
        other = next((p for p in adjacent if p is not None and p.range_key == plane.range_key), None)
        if other is not None:
            yield np.concatenate([source.read(p, ys, xs) for p in (plane, other)])


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


def _read_rectangles(
    source: Source, candidates: Iterable[Rectangle], count: int, intensity_range: IntensityRange
) -> tuple[list[Rectangle], list[NDArray[Any]]]:
    """Read rectangles until `count` have more than one value; a masked background or an empty plane shows no noise.

    Where there are fewer, the rectangles of one value take their place.
    """
    found: list[tuple[Rectangle, NDArray[Any]]] = []
    constant: list[tuple[Rectangle, NDArray[Any]]] = []
    for rectangle in candidates:
        tile = source.read(*rectangle)
        values = _valid_values(tile, intensity_range.missing_mask(tile))
        if values.size and values.min() != values.max():
            found.append((rectangle, tile))
        elif len(constant) < count:
            constant.append((rectangle, tile))
        if len(found) == count:
            break
    chosen = [*found, *constant][:count]
    return [rectangle for rectangle, _ in chosen], [tile for _, tile in chosen]


def _valid_values(tile: NDArray[Any], missing: NDArray[np.bool_] | None) -> NDArray[Any]:
    return tile.ravel() if missing is None else tile[~missing]


def _choose_rectangles(
    source: Source, planes: Sequence[Plane], seed: int, count: int
) -> tuple[Iterator[Rectangle], int]:
    """Return candidates, and how many of them to read: whole planes if they are small, otherwise random tiles."""
    rng = np.random.default_rng(seed)
    height, width = source.size_yx
    few = count * RECTANGLE_SIDE**2 // (height * width)
    if (len(planes) > 1 and few < min(len(planes), _WHOLE_PLANES)) or height * width > _WHOLE_PIXELS:
        return (random_rectangle(planes, source.size_yx, rng) for _ in range(count * _CANDIDATES)), count
    few = max(1, few)
    order = range(len(planes)) if len(planes) <= few else rng.permutation(len(planes))[: few * _CANDIDATES].tolist()
    return ((planes[i], slice(0, height), slice(0, width)) for i in order), few
