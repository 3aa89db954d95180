"""The images to learn from: patches are read where they lie, in files of any size, when a step wants them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity import IntensityRange, measure_recipe_ranges
from masked_denoiser.images.planes import Channels, Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.tiling.plan import Span
from masked_denoiser.training.events import StoppedEarlyError
from masked_denoiser.training.recipe import TrainingError

Patch = NDArray[np.float32]
#: Rows and columns of a plane.
Rectangle = tuple[Span, Span]

#: A flat patch is taken with this probability, one with at least the usual texture always.
_FLAT = 0.1
#: Places that are tried for a patch before the best of them is taken.
_TRIES = 6
#: Places that are tried at most, if all of them held NaN.
_MOST_TRIES = 200
#: Side of the squares that tell whether two images are the same.
_SAME = 24
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

    def finite(self, place: Place, size: int) -> bool:
        """Whether a patch, and its truth, have numbers only."""
        sources = [source for source in (self.source, self.truth) if source is not None and source.dtype.kind == "f"]
        ys, xs = slice(place.row, place.row + size), slice(place.column, place.column + size)
        return all(bool(np.isfinite(source.read(place.plane, ys, xs)).all()) for source in sources)

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

    def draw(self, rng: np.random.Generator) -> Place:
        """A place for a patch.

        Raises:
            TrainingError: if an image has nothing but NaN wherever it was tried.
        """
        number = int(rng.choice(len(self.images), p=self._weights))
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
            if texture >= usual or rng.random() < _FLAT + (1 - _FLAT) * texture / usual:
                return place
            if texture > most:
                best, most = place, texture
        if best is None:
            raise TrainingError(
                f"{self.images[number].name} holds NaN or infinite values nearly everywhere; leave it out"
            )
        return best

    def read(self, place: Place, truth: bool = False) -> Patch:
        """The pixels of a place, see `TrainingImage.read`."""
        return self.images[place.image].read(place, self.size, truth)

    def texture(self, place: Place) -> float:
        """Standard deviation of a patch; NaN where it, or its truth, holds NaN or infinite values."""
        image = self.images[place.image]
        if not image.finite(place, self.size):
            return float("nan")
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
            textures = np.array([self.texture(self._somewhere(number, rng)) for _ in range(_SAMPLES)])
            textures = textures[np.isfinite(textures)]
            self._medians[number] = max(float(np.median(textures)) if textures.size else 0.0, 1e-6)
        return self._medians[number]

    def _somewhere(self, number: int, rng: np.random.Generator) -> Place:
        """A place of an image that does not touch what is held out."""
        image = self.images[number]
        plane = image.planes[int(rng.integers(len(image.planes)))]
        rows, columns = image.area
        while True:
            row = int(rng.integers(rows.start, rows.stop - self.size + 1))
            column = int(rng.integers(columns.start, columns.stop - self.size + 1))
            if not any(_touch((row, column), self.size, hole) for hole in image.held_out):
                return Place(number, plane, row, column)


def check_images(images: Sequence[TrainingImage], size: int, cancel: threading.Event | None = None) -> None:
    """Refuses images that nothing can be learned from, before training begins.

    Raises:
        StoppedEarlyError: if `cancel` is set meanwhile.
        TrainingError: for an image smaller than a patch, a constant one, NaN, or a pair that is none.
    """
    for image in images:
        stop_early(cancel)
        rows, columns = image.area
        if min(len(rows), len(columns)) < size:
            raise TrainingError(
                f"{image.name} has {len(rows)} x {len(columns)} pixels to learn from, less than a patch of "
                f"{size} x {size}; choose a smaller patch or leave it out"
            )
        _check_pixels(image, image.source, size)
        if image.region is None and any(scale.has_nonfinite for scale in image.ranges.values()):
            raise TrainingError(f"{image.name} holds NaN or infinite values; replace them before training")
        if image.truth is not None:
            _check_pair(image, image.truth, size)


def stop_early(cancel: threading.Event | None) -> None:
    """Raises `StoppedEarlyError` if `cancel` is set: preparing a large folder takes a while."""
    if cancel is not None and cancel.is_set():
        raise StoppedEarlyError


def _check_pair(image: TrainingImage, truth: Source, size: int) -> None:
    name = truth.path or truth.name
    source = image.source
    if truth.sizes != source.sizes or truth.rgb != source.rgb:
        raise TrainingError(
            f"{image.name} and {name} are no pair: {source.axes} {source.shape} against {truth.axes} {truth.shape}"
        )
    if truth.dtype != source.dtype:
        raise TrainingError(
            f"{image.name} is {source.dtype} and {name} is {truth.dtype}: pairs need one intensity scale; convert one"
        )
    if same_pixels(source, truth):
        raise TrainingError(f"{image.name} and {name} are the same image; give the noisy one and the clean one")
    _check_pixels(image, truth, size)


def _check_pixels(image: TrainingImage, source: Source, size: int) -> None:
    """Looks at a grid of patches all over some planes."""
    name = source.path or source.name
    if source.dtype.kind not in "uif":
        raise TrainingError(f"{name} has dtype {source.dtype}; only integers and real numbers can be learned")
    constant = True
    for plane in _some(image.planes):
        low, high = _ends(source, plane, image.area, size)
        if not np.isfinite([low, high]).all():
            raise TrainingError(f"{name} holds NaN or infinite values; replace them before training")
        constant &= high <= low
    if constant:
        raise TrainingError(f"{name} is constant; there is nothing to learn from it: leave it out")


def same_pixels(one: Source, other: Source) -> bool:
    """Whether two sources are the same image, as far as a few of their pixels tell."""
    if one.data is other.data:
        return True
    if one.axes != other.axes or one.shape != other.shape or one.dtype != other.dtype:
        return False
    height, width = one.size_yx
    for plane in _some(tuple(list_planes(one.axes, one.sizes, one.rgb))):
        for row in {0, height // 2, max(0, height - _SAME)}:
            for column in {0, width // 2, max(0, width - _SAME)}:
                at = (plane, slice(row, min(height, row + _SAME)), slice(column, min(width, column + _SAME)))
                if not np.array_equal(one.read(*at), other.read(*at), equal_nan=one.dtype.kind == "f"):
                    return False
    return True


def _some(planes: Sequence[Plane]) -> Iterator[Plane]:
    """A few planes over the whole length."""
    yield from (planes[i] for i in sorted({round(i) for i in np.linspace(0, len(planes) - 1, 8)}))


def _ends(source: Source, plane: Plane, area: Rectangle, size: int) -> tuple[float, float]:
    """Lowest and highest value of a grid of patches; NaN if there is one."""
    rows, columns = area
    low, high = np.inf, -np.inf
    for row in np.linspace(rows.start, rows.stop - size, 8).astype(int):
        for column in np.linspace(columns.start, columns.stop - size, 8).astype(int):
            pixels = source.read(plane, slice(row, row + size), slice(column, column + size))
            low, high = float(np.minimum(low, pixels.min())), float(np.maximum(high, pixels.max()))
    return low, high


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
