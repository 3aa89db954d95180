"""Training images and the sampler of patches, which reads patches of files of any size on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.ranges import IntensityRange, measure_ranges
from masked_denoiser.denoising.intensity.recipe_ranges import measure_recipe_ranges
from masked_denoiser.errors import TrainingError
from masked_denoiser.images.choices import Channels
from masked_denoiser.images.planes import Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.tiling.plan import Span

Patch = NDArray[np.float32]
#: Rows and columns of a plane.
Rectangle = tuple[Span, Span]

#: Probability of accepting a flat patch; patches with at least the median texture are always accepted.
FLAT_PROBABILITY = 0.1
#: Locations tried for a patch before the most textured of them is taken.
_TRIES = 6
#: Most locations tried if all of them contain NaN.
_MAX_TRIES = 200
#: Locations at which the median texture of an image is measured.
_TEXTURE_SAMPLES = 24


#: Gain and offset of intensities.
Stretch = tuple[float, float]
#: Stretch of patches that the network sees as they are.
UNSTRETCHED: Stretch = (1.0, 0.0)


@dataclass(frozen=True)
class PatchLocation:
    """Location of a patch: number of the image, its plane, and the first row and column."""

    image: int
    plane: Plane
    row: int
    column: int


@dataclass(frozen=True, eq=False)
class TrainingImage:
    """Source, or pair of sources, that patches are read from.

    Attributes:
        source: the image; the noisy one of a pair.
        channels: channels of the network, 1 or 3; a gray plane is repeated for an RGB network.
        truth: the clean image of a pair, of the same axes and sizes.
        held_out: rectangles of every plane that training never reads.
        region: the rectangle of every plane that training is confined to; None for the whole plane.
        stretched: whether patches are in units of the range in which a network denoises the image, instead of those of
            noise recipes.
    """

    source: Source
    channels: int
    truth: Source | None = None
    held_out: tuple[Rectangle, ...] = ()
    region: Rectangle | None = None
    stretched: bool = False

    @property
    def name(self) -> str:
        """Path of the image, or its name if it has no path."""
        return str(self.source.path or self.source.name)

    @cached_property
    def planes(self) -> tuple[Plane, ...]:
        """Planes to train with, without alpha."""
        grouping: Channels = "auto" if self.channels == 3 else "each"
        planes = list_planes(self.source.axes, self.source.sizes, self.source.rgb, grouping)
        return tuple(plane for plane in planes if not plane.copied)

    @cached_property
    def ranges(self) -> dict[int, IntensityRange]:
        """Intensity ranges of the patches, by `Plane.range_key`; a pair has those of its noisy image."""
        return self._denoising_ranges if self.stretched else measure_recipe_ranges(self.source, self.planes)

    @cached_property
    def _denoising_ranges(self) -> dict[int, IntensityRange]:
        """Ranges in which a network denoises the image."""
        return measure_ranges(self.source, self.planes)

    def stretch(self, plane: Plane) -> Stretch:
        """Return how patches of a plane become what a network sees when it denoises the image."""
        own, denoising = self.ranges[plane.range_key], self._denoising_ranges[plane.range_key]
        return own.span / denoising.span, (own.low - denoising.low) / denoising.span

    @property
    def area(self) -> Rectangle:
        """Rows and columns that may be read."""
        height, width = self.source.size_yx
        return self.region or (Span(0, height), Span(0, width))

    @property
    def pixel_count(self) -> int:
        """Number of pixels of all planes that may be read."""
        return len(self.planes) * len(self.area[0]) * len(self.area[1])

    def is_finite(self, location: PatchLocation, size: int) -> bool:
        """Return whether a patch and its truth are free of NaN and infinity."""
        sources = [source for source in (self.source, self.truth) if source is not None and source.dtype.kind == "f"]
        rows, columns = slice(location.row, location.row + size), slice(location.column, location.column + size)
        return all(bool(np.isfinite(source.read(location.plane, rows, columns)).all()) for source in sources)

    def read(self, location: PatchLocation, size: int, truth: bool = False) -> Patch:
        """Read a patch [channels, size, size] in [0, 1]; a truth brighter than its noisy image exceeds 1.

        Raises:
            TrainingError: if it contains NaN or infinite values.
        """
        rows, columns = Span(location.row, location.row + size), Span(location.column, location.column + size)
        unit = self.read_rectangle(location.plane, (rows, columns), truth)
        if not np.isfinite(unit).all():
            source = self.truth if truth and self.truth is not None else self.source
            raise TrainingError(
                f"{source.path or source.name} contains NaN or infinite values at rows {rows.start} to {rows.stop}, "
                f"columns {columns.start} to {columns.stop}; crop the image before training"
            )
        return unit

    def read_compact(self, plane: Plane, rectangle: Rectangle, truth: bool = False) -> Patch | NDArray[np.uint8]:
        """Read a rectangle as `read_rectangle`, but of 8-bit images the uint8 pixels themselves."""
        source = self.truth if truth and self.truth is not None else self.source
        scale = self.ranges[plane.range_key]
        if source.dtype != np.uint8 or (scale.low, scale.high) != (0.0, 255.0):
            return self.read_rectangle(plane, rectangle, truth)
        pixels: NDArray[np.uint8] = source.read(plane, rectangle[0].index, rectangle[1].index)
        return np.repeat(pixels, 3, axis=0) if len(pixels) == 1 and self.channels == 3 else pixels

    def read_rectangle(self, plane: Plane, rectangle: Rectangle, truth: bool = False) -> Patch:
        """Read a rectangle [channels, height, width] of a plane, scaled like a patch; NaN stays NaN."""
        source = self.truth if truth and self.truth is not None else self.source
        pixels = source.read(plane, rectangle[0].index, rectangle[1].index)
        scale = self.ranges[plane.range_key]
        unit = ((pixels.astype(np.float64) - scale.low) / (scale.high - scale.low)).astype(np.float32)
        return np.repeat(unit, 3, axis=0) if len(unit) == 1 and self.channels == 3 else unit


@dataclass(frozen=True, eq=False)
class PatchSampler:
    """Sampler of patches from a set of images.

    The probability of an image is proportional to the square root of its number of pixels, so that a slide is drawn
    more often than a small image without displacing it. Flat patches, mostly background, are drawn less often.
    Locations with NaN or infinite values that the check before the training missed are skipped.

    Attributes:
        images: the images.
        size: side of a patch in pixels.
        skipped: names of images of which a location was skipped.
    """

    images: tuple[TrainingImage, ...]
    size: int
    skipped: set[str] = field(default_factory=set, init=False)
    _medians: dict[int, float] = field(default_factory=dict, init=False)

    def draw(self, rng: np.random.Generator) -> PatchLocation:
        """Draw the location of a patch.

        Raises:
            TrainingError: if every location tried contains NaN.
        """
        number = int(rng.choice(len(self.images), p=self.weights))
        best, best_texture = None, -1.0
        for attempt in range(_MAX_TRIES):
            if attempt >= _TRIES and best is not None:
                break
            location = self._random_location(number, rng)
            texture = self.texture(location)
            if not np.isfinite(texture):
                self.skipped.add(self.images[number].name)
                continue
            median = self._median_texture(number)
            if texture >= median or rng.random() < FLAT_PROBABILITY + (1 - FLAT_PROBABILITY) * texture / median:
                return location
            if texture > best_texture:
                best, best_texture = location, texture
        if best is None:
            raise TrainingError(
                f"{self.images[number].name} contains NaN or infinite values nearly everywhere; remove it"
            )
        return best

    def read(self, location: PatchLocation, truth: bool = False) -> Patch:
        """Read the patch at a location; see `TrainingImage.read`."""
        return self.images[location.image].read(location, self.size, truth)

    def texture(self, location: PatchLocation) -> float:
        """Return the standard deviation of a patch; NaN where it, or its truth, contains NaN or infinite values."""
        image = self.images[location.image]
        if not image.is_finite(location, self.size):
            return float("nan")
        return float(self.read(location).std())

    def with_doubled_size(self) -> PatchSampler | None:
        """Return a sampler of patches of twice the size; None if no image has room for one."""
        size = 2 * self.size
        images = tuple(image for image in self.images if has_room(image.area, image.held_out, size))
        return replace(self, images=images, size=size) if images else None

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Probability of each image."""
        weights = np.sqrt(np.array([image.pixel_count for image in self.images], np.float64))
        return np.asarray(weights / weights.sum())

    def _median_texture(self, number: int) -> float:
        """Return the median texture of an image, measured on first use."""
        if number not in self._medians:
            rng = np.random.default_rng(number)
            textures = np.array([self.texture(self._random_location(number, rng)) for _ in range(_TEXTURE_SAMPLES)])
            textures = textures[np.isfinite(textures)]
            self._medians[number] = max(float(np.median(textures)) if textures.size else 0.0, 1e-6)
        return self._medians[number]

    def _random_location(self, number: int, rng: np.random.Generator) -> PatchLocation:
        """Return a location in an image that does not overlap its held-out rectangles."""
        image = self.images[number]
        plane = image.planes[int(rng.integers(len(image.planes)))]
        rows, columns = image.area
        while True:
            row = int(rng.integers(rows.start, rows.stop - self.size + 1))
            column = int(rng.integers(columns.start, columns.stop - self.size + 1))
            if not any(_overlaps((row, column), self.size, hole) for hole in image.held_out):
                return PatchLocation(number, plane, row, column)


def _overlaps(origin: tuple[int, int], size: int, rectangle: Rectangle) -> bool:
    return all(start < span.stop and span.start < start + size for start, span in zip(origin, rectangle, strict=True))


def has_room(area: Rectangle, held_out: Sequence[Rectangle], size: int) -> bool:
    """Return whether a patch of this size fits into an area without overlapping held-out rectangles of it."""
    # A patch that fits anywhere can be moved up and left until it meets the border of the area or of a hole.
    tops, lefts = (
        [at for at in (area[axis].start, *(hole[axis].stop for hole in held_out)) if _fits(at, size, area[axis])]
        for axis in (0, 1)
    )
    return any(not any(_overlaps((y, x), size, hole) for hole in held_out) for y in tops for x in lefts)


def _fits(start: int, size: int, span: Span) -> bool:
    return span.start <= start and start + size <= span.stop


def corner_rectangles(area: Rectangle, size: int) -> list[Rectangle]:
    """Return the four corners of an area: about a tenth of it, at least a patch, at most 1024 pixels a side."""
    sides = [min(max(size, round(len(span) * 0.32)), 1024, len(span)) for span in area]
    rows_and_columns: list[list[Span]] = [
        [Span(span.start, span.start + side), Span(span.stop - side, span.stop)]
        for span, side in zip(area, sides, strict=True)
    ]
    return [(rows, columns) for rows in rows_and_columns[0] for columns in rows_and_columns[1]]
