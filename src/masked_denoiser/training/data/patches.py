"""The images to learn from: patches are read where they lie, in files of any size, when a step wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.ranges import IntensityRange, measure_recipe_ranges
from masked_denoiser.errors import TrainingError
from masked_denoiser.images.planes import Channels, Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.tiling.plan import Span

Patch = NDArray[np.float32]
#: Rows and columns of a plane.
Rectangle = tuple[Span, Span]

#: Flat patches are taken with this probability, those with at least the usual texture always.
FLAT = 0.1
#: Places that are tried for a patch before the best of them is taken.
_TRIES = 6
#: Places that are tried at most, if all of them held NaN.
_MOST_TRIES = 200
#: Places that tell what the usual texture of an image is.
_SAMPLES = 24


@dataclass(frozen=True)
class PatchLocation:
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
        held_out: rectangles of every plane that training never sees.
        region: the rectangle of every plane that training is confined to; None for all.
    """

    source: Source
    channels: int
    truth: Source | None = None
    held_out: tuple[Rectangle, ...] = ()
    region: Rectangle | None = None

    @property
    def name(self) -> str:
        """The file, or what the image is called."""
        return str(self.source.path or self.source.name)

    @cached_property
    def planes(self) -> tuple[Plane, ...]:
        """The planes to learn from; alpha is none."""
        how: Channels = "auto" if self.channels == 3 else "each"
        planes = list_planes(self.source.axes, self.source.sizes, self.source.rgb, how)
        return tuple(plane for plane in planes if not plane.copied)

    @cached_property
    def ranges(self) -> dict[int, IntensityRange]:
        """The intensity convention, as at inference. A pair has that of its noisy image."""
        return measure_recipe_ranges(self.source, self.planes)

    @property
    def area(self) -> Rectangle:
        """Rows and columns that may be read."""
        height, width = self.source.size_yx
        return self.region or (Span(0, height), Span(0, width))

    @property
    def pixels(self) -> int:
        """Pixels of all planes that may be read."""
        return len(self.planes) * len(self.area[0]) * len(self.area[1])

    def finite(self, place: PatchLocation, size: int) -> bool:
        """Whether a patch, and its truth, have numbers only."""
        sources = [source for source in (self.source, self.truth) if source is not None and source.dtype.kind == "f"]
        ys, xs = slice(place.row, place.row + size), slice(place.column, place.column + size)
        return all(bool(np.isfinite(source.read(place.plane, ys, xs)).all()) for source in sources)

    def read(self, place: PatchLocation, size: int, truth: bool = False) -> Patch:
        """A patch [channels, size, size] in [0, 1], not clipped where a pair's truth is brighter than its noisy image.

        Raises:
            TrainingError: if it holds NaN or infinite values.
        """
        rows, columns = Span(place.row, place.row + size), Span(place.column, place.column + size)
        unit = self.read_rectangle(place.plane, (rows, columns), truth)
        if not np.isfinite(unit).all():
            source = self.truth if truth and self.truth is not None else self.source
            raise TrainingError(
                f"{source.path or source.name} holds NaN or infinite values at rows {rows.start} to {rows.stop}, "
                f"columns {columns.start} to {columns.stop}; cut them out before training"
            )
        return unit

    def read_codes(self, plane: Plane, rectangle: Rectangle, truth: bool = False) -> Patch | NDArray[np.uint8]:
        """Read a rectangle as `read_rectangle`; of 8-bit images the pixels themselves, of which 255 is 1."""
        source = self.truth if truth and self.truth is not None else self.source
        scale = self.ranges[plane.range_key]
        if source.dtype != np.uint8 or (scale.low, scale.high) != (0.0, 255.0):
            return self.read_rectangle(plane, rectangle, truth)
        pixels: NDArray[np.uint8] = source.read(plane, rectangle[0].index, rectangle[1].index)
        return np.repeat(pixels, 3, axis=0) if len(pixels) == 1 and self.channels == 3 else pixels

    def read_rectangle(self, plane: Plane, rectangle: Rectangle, truth: bool = False) -> Patch:
        """Read a rectangle [channels, height, width] of a plane, scaled as a patch is; NaN stays NaN."""
        source = self.truth if truth and self.truth is not None else self.source
        pixels = source.read(plane, rectangle[0].index, rectangle[1].index)
        scale = self.ranges[plane.range_key]
        unit = ((pixels.astype(np.float64) - scale.low) / (scale.high - scale.low)).astype(np.float32)
        return np.repeat(unit, 3, axis=0) if len(unit) == 1 and self.channels == 3 else unit


@dataclass(frozen=True, eq=False)
class PatchSampler:
    """Images and how patches are drawn from them.

    An image is drawn with a weight of the square root of its number of pixels: a slide more often than a small
    image, but not so often that the small one is forgotten. Flat patches, background mostly, are drawn less often.
    Places with NaN or infinite values, which the sample at the beginning missed, are left out.

    Attributes:
        images: what to draw from.
        size: side of a patch in pixels.
        skipped: names of images where a place was left out.
    """

    images: tuple[TrainingImage, ...]
    size: int
    skipped: set[str] = field(default_factory=set, init=False)
    _medians: dict[int, float] = field(default_factory=dict, init=False)

    def draw(self, rng: np.random.Generator) -> PatchLocation:
        """Draw a place for a patch.

        Raises:
            TrainingError: if an image has nothing but NaN wherever it was tried.
        """
        number = int(rng.choice(len(self.images), p=self.weights))
        best, most = None, -1.0
        for attempt in range(_MOST_TRIES):
            if attempt >= _TRIES and best is not None:
                break
            place = self._somewhere(number, rng)
            texture = self.texture(place)
            if not np.isfinite(texture):
                self.skipped.add(self.images[number].name)
                continue
            usual = self._usual(number)
            if texture >= usual or rng.random() < FLAT + (1 - FLAT) * texture / usual:
                return place
            if texture > most:
                best, most = place, texture
        if best is None:
            raise TrainingError(
                f"{self.images[number].name} holds NaN or infinite values nearly everywhere; leave it out"
            )
        return best

    def read(self, place: PatchLocation, truth: bool = False) -> Patch:
        """The pixels of a place, see `TrainingImage.read`."""
        return self.images[place.image].read(place, self.size, truth)

    def texture(self, place: PatchLocation) -> float:
        """Standard deviation of a patch; NaN where it, or its truth, holds NaN or infinite values."""
        image = self.images[place.image]
        if not image.finite(place, self.size):
            return float("nan")
        return float(self.read(place).std())

    def coarser(self) -> PatchSampler | None:
        """Return the pool of patches of twice the size; None if none of the images has room for one."""
        size = 2 * self.size
        large = tuple(image for image in self.images if fits_beside(image.area, image.held_out, size))
        return replace(self, images=large, size=size) if large else None

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """How often each image is drawn, as shares of 1."""
        weights = np.sqrt(np.array([image.pixels for image in self.images], np.float64))
        return np.asarray(weights / weights.sum())

    def _usual(self, number: int) -> float:
        """The median texture of an image, measured when a patch of it is first wanted."""
        if number not in self._medians:
            rng = np.random.default_rng(number)
            textures = np.array([self.texture(self._somewhere(number, rng)) for _ in range(_SAMPLES)])
            textures = textures[np.isfinite(textures)]
            self._medians[number] = max(float(np.median(textures)) if textures.size else 0.0, 1e-6)
        return self._medians[number]

    def _somewhere(self, number: int, rng: np.random.Generator) -> PatchLocation:
        """A place of an image that does not touch what is held out."""
        image = self.images[number]
        plane = image.planes[int(rng.integers(len(image.planes)))]
        rows, columns = image.area
        while True:
            row = int(rng.integers(rows.start, rows.stop - self.size + 1))
            column = int(rng.integers(columns.start, columns.stop - self.size + 1))
            if not any(_touch((row, column), self.size, hole) for hole in image.held_out):
                return PatchLocation(number, plane, row, column)


def _touch(at: tuple[int, int], size: int, rectangle: Rectangle) -> bool:
    return all(start < span.stop and span.start < start + size for start, span in zip(at, rectangle, strict=True))


def fits_beside(area: Rectangle, held_out: Sequence[Rectangle], size: int) -> bool:
    """Whether a patch of this size fits into an area without touching what is held out of it."""
    # If it fits anywhere, it can be moved up and left until it meets the border of the area or of a hole.
    tops, lefts = (
        [at for at in (area[axis].start, *(hole[axis].stop for hole in held_out)) if _within(at, size, area[axis])]
        for axis in (0, 1)
    )
    return any(not any(_touch((y, x), size, hole) for hole in held_out) for y in tops for x in lefts)


def _within(at: int, size: int, span: Span) -> bool:
    return span.start <= at and at + size <= span.stop


def corner_rectangles(area: Rectangle, size: int) -> list[Rectangle]:
    """The four corners of an area, each about a tenth of it but at least a patch, at most 1024 pixels wide."""
    sides = [min(max(size, round(len(span) * 0.32)), 1024, len(span)) for span in area]
    options: list[list[Span]] = [
        [Span(span.start, span.start + side), Span(span.stop - side, span.stop)]
        for span, side in zip(area, sides, strict=True)
    ]
    return [(rows, columns) for rows in options[0] for columns in options[1]]


def batch_of(pool: PatchSampler, numbers: Sequence[int], seed: int, step: int) -> tuple[Patch, Patch | None]:
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
