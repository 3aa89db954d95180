"""Patches of images resident on the device, cropped by one index operation for the whole batch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masked_denoiser.errors import TrainingError
from masked_denoiser.images.planes import Plane
from masked_denoiser.inference.device import free_memory
from masked_denoiser.training.data.patch_source import Patches, downscale, downscaled_count, shuffled, to_device
from masked_denoiser.training.data.patches import (
    FLAT_PROBABILITY,
    UNSTRETCHED,
    Patch,
    PatchSampler,
    Rectangle,
    TrainingImage,
)
from masked_denoiser.training.recipe import TrainingRecipe

#: Most bytes of images kept in main memory.
_MAX_BYTES = 2**30
#: Most pixels of a plane; finding crop origins takes a multiple of the plane's memory.
_MAX_PLANE_PIXELS = 2**26
#: Share of the free memory of a GPU that images may take.
_GPU_MEMORY_SHARE = 0.4
#: Grid of crop origins: this many along the side of a patch.
_ORIGINS_PER_SIDE = 16
#: Largest error of pixels in [0, 1] at which they are stored as uint8.
_UINT8_TOLERANCE = 1e-6
#: Key of this module's random numbers, which keeps them apart from others of the same seed and step.
_KEY = 12

Indices = NDArray[np.int64]
#: Pixels of a plane [C, H, W], float32 in [0, 1] or uint8 codes of which 255 is 1.
PlanePixels = Patch | NDArray[np.uint8]


def fits_on_device(sampler: PatchSampler, device: torch.device) -> bool:
    """Return whether all images of a sampler fit into a device's memory."""
    if any(len(image.area[0]) * len(image.area[1]) > _MAX_PLANE_PIXELS for image in sampler.images):
        return False
    # `_flatten` keeps bytes only if all images are of 8 bits.
    truths = [image.truth for image in sampler.images if image.truth is not None]
    sources = [image.source for image in sampler.images]
    per_sample = sum(1 if all(s.dtype == np.uint8 for s in each) else 4 for each in (sources, truths) if each)
    needed = per_sample * sum(image.pixel_count * image.channels for image in sampler.images)
    if device.type == "cuda":
        return needed < _GPU_MEMORY_SHARE * free_memory(device)
    return needed < _MAX_BYTES


@dataclass(frozen=True, eq=False)
class _CropOrigins:
    """Origins of the crops of one size.

    Attributes:
        first: [N] index of a crop's first pixel among all pixels.
        width: [N] row length of its plane in pixels.
        plane: [N] number of its plane.
        cumulative: [N] cumulative probabilities, up to 1.
    """

    first: Indices
    width: Indices
    plane: Indices
    cumulative: NDArray[np.float64]

    def draw(self, count: int, rng: np.random.Generator) -> Indices:
        """Draw crops [4, count]: the first pixel, the row length, one of the eight symmetries, and the plane."""
        at = np.searchsorted(self.cumulative, rng.random(count), side="right").clip(max=len(self.first) - 1)
        return np.stack([self.first[at], self.width[at], rng.integers(8, size=count), self.plane[at]])


class ResidentPatches:
    """All pixels of the images in one tensor on the device; see `PatchSource`.

    As in `PatchSampler`, images are drawn with its weights, and flat crops less often.

    Args:
        sampler: images and patch size; every plane is read.
        recipe: how to train.
        device: where the pixels are kept.

    Raises:
        TrainingError: for an image with NaN or infinite values in every possible crop.
    """

    def __init__(self, sampler: PatchSampler, recipe: TrainingRecipe, device: torch.device) -> None:
        self._recipe, self._size = recipe, sampler.size
        planes = list(_read_planes(sampler))
        self._pixels = _flatten([plane.pixels for plane in planes], device)
        stretches = [plane.image.stretch(plane.plane) if recipe.stretch else UNSTRETCHED for plane in planes]
        self._stretches = torch.tensor(stretches, dtype=torch.float32, device=device)
        truths = [plane.truth for plane in planes if plane.truth is not None]
        self._truths = _flatten(truths, device) if truths else None
        origins = _crop_origins(sampler, planes, sampler.size)
        assert origins is not None, "a sampler has images, and each has crop origins"
        self._origins = origins
        large = sampler.with_doubled_size() if recipe.downscaled_share else None
        self._large = _crop_origins(large, planes, large.size, required=False) if large else None

    def get(self, step: int, cancel: threading.Event | None = None) -> Patches:
        """Return the patches of a step without waiting; see `PatchSource.get`."""
        rng = np.random.default_rng([self._recipe.seed, step, 0, _KEY])
        if self._truths is not None:
            index, stretches = self._draw(self._origins, self._recipe.batch, self._size, rng)
            return Patches(_crop(self._pixels, index), _crop(self._truths, index), stretches)
        count = downscaled_count(self._recipe, rng) if self._large else 0
        parts, stretches_of_parts = [], []
        if count < self._recipe.batch:
            index, stretches = self._draw(self._origins, self._recipe.batch - count, self._size, rng)
            parts.append(_crop(self._pixels, index))
            stretches_of_parts.append(stretches)
        if self._large and count:
            index, stretches = self._draw(self._large, count, 2 * self._size, rng)
            parts.append(downscale(_crop(self._pixels, index), rng))
            stretches_of_parts.append(stretches)
        return shuffled(torch.cat(parts), torch.cat(stretches_of_parts), rng)

    def close(self) -> None:
        """Do nothing: the memory is freed with this object."""

    def _draw(self, origins: _CropOrigins, count: int, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the indices of the pixels of random crops, [count, size, size], and their stretches [count, 2]."""
        crops = to_device(origins.draw(count, rng), self._pixels.device)
        return self._pixel_index(crops[:3], size), self._stretches[crops[3]]

    def _pixel_index(self, crops: Tensor, size: int) -> Tensor:
        """Return the indices of the pixels of crops, [B, size, size]."""
        first, width, symmetry = crops[..., None, None]
        steps = torch.arange(size, device=self._pixels.device)
        rows, columns = steps[:, None], steps[None, :]
        flip_rows, flip_columns, transpose = ((symmetry & bit) > 0 for bit in (1, 2, 4))
        y, x = torch.where(transpose, columns, rows), torch.where(transpose, rows, columns)
        y, x = torch.where(flip_rows, size - 1 - y, y), torch.where(flip_columns, size - 1 - x, x)
        index: Tensor = first + y * width + x
        return index


@dataclass(frozen=True, eq=False)
class _LoadedPlane:
    """Plane in memory.

    Attributes:
        image: image of the plane.
        plane: the plane.
        offset: number of pixels of the planes before it.
        pixels: pixels of the plane.
        truth: the same plane of a pair's truth.
        usable: [H, W], False where a pixel is held out, NaN or infinite.
    """

    image: TrainingImage
    plane: Plane
    offset: int
    pixels: PlanePixels
    truth: PlanePixels | None
    usable: NDArray[np.bool_]


def _read_planes(sampler: PatchSampler) -> Iterator[_LoadedPlane]:
    offset = 0
    for image in sampler.images:
        for plane in image.planes:
            yield (loaded := _read_plane(image, plane, sampler, offset))
            offset += loaded.usable.size


def _read_plane(image: TrainingImage, plane: Plane, sampler: PatchSampler, offset: int) -> _LoadedPlane:
    pixels = image.read_compact(plane, image.area)
    truth = image.read_compact(plane, image.area, truth=True) if image.truth is not None else None
    usable: NDArray[np.bool_] = np.asarray(np.isfinite(pixels).all(axis=0))
    if truth is not None:
        usable &= np.asarray(np.isfinite(truth).all(axis=0))
    if not usable.all():
        sampler.skipped.add(image.name)
    for hole in image.held_out:
        usable[_relative_to(hole, image.area)] = False
    return _LoadedPlane(image, plane, offset, _compact(pixels), None if truth is None else _compact(truth), usable)


def _relative_to(rectangle: Rectangle, area: Rectangle) -> tuple[slice, slice]:
    """Return a rectangle of a plane as slices of an area of the plane."""
    rows, columns = (
        slice(max(0, part.start - whole.start), max(0, part.stop - whole.start))
        for part, whole in zip(rectangle, area, strict=True)
    )
    return rows, columns


def _compact(pixels: PlanePixels) -> PlanePixels:
    """Return pixels as uint8 where that is exact, with zeros for NaN and infinity."""
    if pixels.dtype == np.uint8:
        return pixels
    finite: Patch = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    codes = np.rint(finite * 255)
    exact = bool((np.abs(codes - finite * 255) < 255 * _UINT8_TOLERANCE).all())
    return codes.astype(np.uint8) if exact and codes.min() >= 0 and codes.max() <= 255 else finite


def _flatten(planes: list[PlanePixels], device: torch.device) -> Tensor:
    """Return all pixels of all planes [N, C], uint8 if all planes are, else float32 in [0, 1]."""
    exact = all(plane.dtype == np.uint8 for plane in planes)
    parts = [plane if exact or plane.dtype != np.uint8 else plane.astype(np.float32) / 255 for plane in planes]
    return torch.cat([torch.from_numpy(part.reshape(len(part), -1).T.copy()).to(device) for part in parts])


def _crop(pixels: Tensor, index: Tensor) -> Tensor:
    """Return crops [B, C, size, size] float32 of pixels [N, C]."""
    crops = pixels[index].permute(0, 3, 1, 2).contiguous()
    return crops.float().div_(255) if crops.dtype == torch.uint8 else crops


def _crop_origins(
    sampler: PatchSampler, planes: list[_LoadedPlane], size: int, *, required: bool = True
) -> _CropOrigins | None:
    """Return the origins and probabilities of the crops of all images; None if there are no crops.

    Args:
        sampler: the images.
        planes: their planes.
        size: side of a crop in pixels.
        required: whether every image must have crops.

    Raises:
        TrainingError: for an image without crops, if `required`.
    """
    first, width, numbers, probabilities = [], [], [], []
    for image, weight in zip(sampler.images, sampler.weights, strict=True):
        image_planes = [(number, plane) for number, plane in enumerate(planes) if plane.image is image]
        crops = [_crops(plane, size) for _, plane in image_planes]
        if not required and not any(len(at) for at, _ in crops):
            continue
        probabilities.append(_crop_probabilities(np.concatenate([texture for _, texture in crops]), image) * weight)
        for (number, plane), (at, _) in zip(image_planes, crops, strict=True):
            first.append(plane.offset + at)
            width.append(np.full(len(at), plane.usable.shape[1]))
            numbers.append(np.full(len(at), number))
    if not probabilities:
        return None
    cumulative = np.concatenate(probabilities).cumsum()
    at, row_length, number_of_plane = (np.concatenate(parts) for parts in (first, width, numbers))
    return _CropOrigins(at, row_length, number_of_plane, cumulative / cumulative[-1])


def _crop_probabilities(texture: NDArray[np.float64], image: TrainingImage) -> NDArray[np.float64]:
    """Return the probability of each crop of an image from its standard deviation, lower for flat crops."""
    if not texture.size:
        raise TrainingError(f"{image.name} contains NaN or infinite values nearly everywhere; remove it")
    median = max(float(np.median(texture)), 1e-6)
    probabilities: NDArray[np.float64] = np.minimum(1.0, FLAT_PROBABILITY + (1 - FLAT_PROBABILITY) * texture / median)
    probabilities /= probabilities.sum()
    return probabilities


def _crops(plane: _LoadedPlane, size: int) -> tuple[Indices, NDArray[np.float64]]:
    """Return the first pixels of the crops of a plane without unusable pixels, and their standard deviations."""
    _, height, width = plane.pixels.shape
    if min(height, width) < size:
        return np.zeros(0, np.int64), np.zeros(0)
    gray = plane.pixels.mean(axis=0, dtype=np.float64) * (1 / 255 if plane.pixels.dtype == np.uint8 else 1.0)
    rows, columns = (
        _starts(side, size, plane, axis)[(slice(None), None) if axis == 0 else (None, slice(None))]
        for axis, side in enumerate((height, width))
    )
    unusable, total, squares = (_box_sums(a, rows, columns, size) for a in (~plane.usable, gray, gray * gray))
    variance = squares / size**2 - (total / size**2) ** 2
    usable = unusable < 0.5
    return (rows * width + columns)[usable], np.sqrt(np.maximum(variance, 0.0))[usable]


def _starts(side: int, size: int, plane: _LoadedPlane, axis: int) -> Indices:
    """Return the first rows or columns of crops: a grid, the last one, and those next to held-out rectangles."""
    holes = [hole[axis] for hole in plane.image.held_out]
    origin = plane.image.area[axis].start
    extra = [at - origin for hole in holes for at in (hole.stop, hole.start - size)]
    step = max(1, size // _ORIGINS_PER_SIDE) | 1  # odd: the blocks of a JPEG must not always begin at the same pixel
    starts = np.array([*range(0, side - size + 1, step), side - size, *extra], np.int64)
    return np.unique(starts[(starts >= 0) & (starts <= side - size)])


def _box_sums(values: NDArray[np.generic], rows: Indices, columns: Indices, size: int) -> NDArray[np.float64]:
    """Return sums over squares that start at these rows [R, 1] and columns [1, K]: [R, K]."""
    sums = np.pad(values.astype(np.float64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    last_rows, last_columns = rows + size, columns + size
    inside: NDArray[np.float64] = (
        sums[last_rows, last_columns] - sums[rows, last_columns] - sums[last_rows, columns] + sums[rows, columns]
    )
    return inside
