"""The images to learn from: patches are read where they lie, in files of any size, when a step wants them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity import Range, measure_ranges
from masked_denoiser.images.planes import Channels, Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.tiling.plan import Span
from masked_denoiser.training.recipe import TrainingError

Patch = NDArray[np.float32]
#: Rows and columns of a plane.
Rectangle = tuple[Span, Span]

#: A flat patch is taken with this probability, one with at least the usual texture always.
_FLAT = 0.1
#: Places that are tried for a patch before the best of them is taken.
_TRIES = 6
#: Places that tell what the usual texture of an image is.
_SAMPLES = 24


@dataclass(frozen=True)
class Place:
    """Where a patch lies: number of the image, its plane, its first row and column."""

    image: int
    plane: Plane
    row: int
    column: int


@dataclass(frozen=True, eq=False)
class TrainingImage:
    """A source as patches see it.

    Attributes:
        source: the image; with pairs, the noisy one.
        truth: the clean image of a pair, of the same axes and sizes.
        channels: of the network, 1 or 3; a gray plane of an RGB network is repeated.
        held_out: a rectangle of every plane that training never sees; None for none.
        region: the rectangle of every plane that training is confined to; None for all.
    """

    source: Source
    channels: int
    truth: Source | None = None
    held_out: Rectangle | None = None
    region: Rectangle | None = None

    @cached_property
    def planes(self) -> tuple[Plane, ...]:
        """The planes to learn from; alpha is none."""
        how: Channels = "auto" if self.channels == 3 else "each"
        planes = list_planes(self.source.axes, self.source.sizes, self.source.rgb, how)
        return tuple(plane for plane in planes if not plane.copied)

    @cached_property
    def ranges(self) -> dict[int, Range]:
        """The intensity convention, as at inference. A pair has that of its noisy image."""
        return measure_ranges(self.source, self.planes)

    @property
    def area(self) -> Rectangle:
        """Rows and columns that may be read."""
        height, width = self.source.size_yx
        return self.region or (Span(0, height), Span(0, width))

    def read(self, place: Place, size: int, truth: bool = False) -> Patch:
        """A patch [channels, size, size] in [0, 1], not clipped where a pair's truth is brighter than its noisy image.

        Raises:
            TrainingError: if it holds NaN or infinite values.
        """
        source = self.truth if truth and self.truth is not None else self.source
        ys, xs = slice(place.row, place.row + size), slice(place.column, place.column + size)
        pixels = source.read(place.plane, ys, xs)
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise TrainingError(
                f"{source.path or source.name} holds NaN or infinite values at rows {ys.start} to {ys.stop}, "
                f"columns {xs.start} to {xs.stop}; cut them out before training"
            )
        scale = self.ranges[place.plane.range_key]
        unit = ((pixels.astype(np.float64) - scale.low) / (scale.high - scale.low)).astype(np.float32)
        return np.repeat(unit, 3, axis=0) if len(unit) == 1 and self.channels == 3 else unit


@dataclass(frozen=True, eq=False)
class Pool:
    """Images and how patches are drawn from them.

    An image is drawn with a weight of the square root of its number of pixels: a slide more often than a small
    image, but not so often that the small one is forgotten. Flat patches, background mostly, are drawn less often.
    """

    images: tuple[TrainingImage, ...]
    size: int
    _medians: dict[int, float] = field(default_factory=dict, init=False)

    def draw(self, rng: np.random.Generator) -> Place:
        """A place for a patch."""
        number = int(rng.choice(len(self.images), p=self._weights))
        best, most = None, -1.0
        for _ in range(_TRIES):
            place = self._somewhere(number, rng)
            texture = self.texture(place)
            usual = self._usual(number)
            if texture >= usual or rng.random() < _FLAT + (1 - _FLAT) * texture / usual:
                return place
            if texture > most:
                best, most = place, texture
        assert best is not None
        return best

    def read(self, place: Place, truth: bool = False) -> Patch:
        """The pixels of a place, see `TrainingImage.read`."""
        return self.images[place.image].read(place, self.size, truth)

    def texture(self, place: Place) -> float:
        """Standard deviation of a patch."""
        return float(self.read(place).std())

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        pixels = [len(im.planes) * len(im.area[0]) * len(im.area[1]) for im in self.images]
        weights = np.sqrt(np.array(pixels, np.float64))
        return np.asarray(weights / weights.sum())

    def _usual(self, number: int) -> float:
        """The median texture of an image, measured when a patch of it is first wanted."""
        if number not in self._medians:
            rng = np.random.default_rng(number)
            textures = [self.texture(self._somewhere(number, rng)) for _ in range(_SAMPLES)]
            self._medians[number] = max(float(np.median(textures)), 1e-6)
        return self._medians[number]

    def _somewhere(self, number: int, rng: np.random.Generator) -> Place:
        """A place of an image that does not touch what is held out."""
        image = self.images[number]
        plane = image.planes[int(rng.integers(len(image.planes)))]
        rows, columns = image.area
        while True:
            row = int(rng.integers(rows.start, rows.stop - self.size + 1))
            column = int(rng.integers(columns.start, columns.stop - self.size + 1))
            if image.held_out is None or not _touch((row, column), self.size, image.held_out):
                return Place(number, plane, row, column)


def check_images(images: Sequence[TrainingImage], size: int) -> None:
    """Refuses images that nothing can be learned from, before training begins.

    Raises:
        TrainingError: for an image smaller than a patch, a constant one, NaN, or a pair of two sizes.
    """
    for image in images:
        name = image.source.path or image.source.name
        rows, columns = image.area
        if min(len(rows), len(columns)) < size:
            raise TrainingError(
                f"{name} has {len(rows)} x {len(columns)} pixels to learn from, less than a patch of {size} x {size}; "
                "choose a smaller patch or leave it out"
            )
        if image.source.dtype.kind not in "uif":
            raise TrainingError(f"{name} has dtype {image.source.dtype}; only integers and real numbers can be learned")
        if any(scale.broken for scale in image.ranges.values()):
            raise TrainingError(f"{name} holds NaN or infinite values; replace them before training")
        if all(_constant(image, plane, size) for plane in _some(image.planes)):
            raise TrainingError(f"{name} is constant; there is nothing to learn from it")
        if image.truth is not None and image.truth.sizes != image.source.sizes:
            raise TrainingError(
                f"{name} and {image.truth.path or image.truth.name} are no pair: "
                f"{image.source.axes} {image.source.shape} against {image.truth.axes} {image.truth.shape}"
            )


def _some(planes: Sequence[Plane]) -> Iterator[Plane]:
    """A few planes over the whole length."""
    yield from (planes[i] for i in sorted({round(i) for i in np.linspace(0, len(planes) - 1, 8)}))


def _constant(image: TrainingImage, plane: Plane, size: int) -> bool:
    """Whether a grid of patches all over a plane shows one value."""
    rows, columns = image.area
    low, high = np.inf, -np.inf
    for row in np.linspace(rows.start, rows.stop - size, 8).astype(int):
        for column in np.linspace(columns.start, columns.stop - size, 8).astype(int):
            pixels = image.source.read(plane, slice(row, row + size), slice(column, column + size))
            low, high = min(low, float(pixels.min())), max(high, float(pixels.max()))
        if high > low:
            return False
    return True


def _touch(at: tuple[int, int], size: int, rectangle: Rectangle) -> bool:
    return all(start < span.stop and span.start < start + size for start, span in zip(at, rectangle, strict=True))


def fits_beside(area: Rectangle, held_out: Rectangle, size: int) -> bool:
    """Whether a patch of this size fits into an area without touching what is held out of it."""
    return any(
        max(hole.start - span.start, span.stop - hole.stop) >= size for span, hole in zip(area, held_out, strict=True)
    )


def corner_rectangles(area: Rectangle, size: int) -> list[Rectangle]:
    """The four corners of an area, each about a tenth of it but at least a patch, at most 1024 pixels wide."""
    sides = [min(max(size, round(len(span) * 0.32)), 1024, len(span)) for span in area]
    options: list[list[Span]] = [
        [Span(span.start, span.start + side), Span(span.stop - side, span.stop)]
        for span, side in zip(area, sides, strict=True)
    ]
    return [(rows, columns) for rows in options[0] for columns in options[1]]


def batch_of(pool: Pool, numbers: Sequence[int], seed: int, step: int) -> tuple[Patch, Patch | None]:
    """Some patches of a step, flipped and turned by one of the 8 symmetries of the square.

    Every patch is drawn by a generator of its own, keyed by (seed, step, number): it does not depend on how a batch
    is divided between devices, nor on where an interrupted training went on.

    Args:
        pool: what to draw from.
        numbers: places in the batch.
        seed, step: of the training.

    Returns:
        [B, C, size, size] float32, and the truths of pairs.
    """
    patches, truths = [], []
    for number in numbers:
        rng = np.random.default_rng([seed, step, number])
        place = pool.draw(rng)
        turn = int(rng.integers(8))
        patches.append(_turned(pool.read(place), turn))
        if pool.images[place.image].truth is not None:
            truths.append(_turned(pool.read(place, truth=True), turn))
    return np.stack(patches), np.stack(truths) if truths else None


def _turned(patch: Patch, turn: int) -> Patch:
    """One of the 8 flips and rotations of a square patch [C, H, W]."""
    turned: NDArray[Any] = np.rot90(patch, turn % 4, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if turn >= 4 else turned)
