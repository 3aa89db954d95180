"""Patches of images that are kept on the device: crops by index, so that nothing is done for each of them in Python."""

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
from masked_denoiser.training.data.patch_source import Patches, downscale, downscaled_count, shuffled
from masked_denoiser.training.data.patches import FLAT, Patch, PatchSampler, Rectangle, TrainingImage
from masked_denoiser.training.recipe import TrainingRecipe

#: Bytes of images that are kept in a machine's own memory.
_MOST_BYTES = 2**30
#: Pixels of the largest plane that is kept: some times as much memory is needed to find where crops may lie.
_LARGEST_PLANE = 2**26
#: Share of a GPU's free memory that images may take.
_GPU_SHARE = 0.4
#: Crops begin at every so manieth pixel of a patch's side.
_PLACES = 16
#: Pixels of an 8-bit image are kept as they are if that changes none of them by more than this.
_EXACT = 1e-6
#: Keys the random numbers of this file, so that they are not those of others with the same seed and step.
_KEY = 12

Numbers = NDArray[np.int64]


def fits_on_device(pool: PatchSampler, device: torch.device) -> bool:
    """Return whether all images of a pool can be kept in a device's memory."""
    if any(len(image.area[0]) * len(image.area[1]) > _LARGEST_PLANE for image in pool.images):
        return False
    wanted = sum(image.pixels * image.channels * _bytes(image) for image in pool.images)
    if device.type == "cuda":
        return wanted < _GPU_SHARE * free_memory(device)
    return wanted < _MOST_BYTES


def _bytes(image: TrainingImage) -> int:
    """Of a sample and, in a pair, its truth."""
    return (1 if image.source.dtype == np.uint8 else 4) * (1 if image.truth is None else 2)


@dataclass(frozen=True, eq=False)
class _Places:
    """Where crops of one size may begin.

    Attributes:
        first: [N] index of a crop's first pixel among all pixels.
        width: [N] pixels of a row of its plane.
        cumulative: [N] sums of the probabilities, up to 1.
    """

    first: Numbers
    width: Numbers
    cumulative: NDArray[np.float64]

    def draw(self, count: int, choices: np.random.Generator) -> Numbers:
        """Draw crops: [3, count], the first pixel, the width of a row, and one of the eight orientations."""
        at = np.searchsorted(self.cumulative, choices.random(count), side="right").clip(max=len(self.first) - 1)
        return np.stack([self.first[at], self.width[at], choices.integers(8, size=count)])


class ResidentPatches:
    """All pixels of the images in one tensor on the device; see `PatchSource`.

    Images are drawn as `PatchSampler.weights` says, and flat places of them less often, as in `PatchSampler`.

    Args:
        pool: what to draw from; every plane of it is read.
        recipe: the training.
        device: where pixels are kept.

    Raises:
        TrainingError: for an image with NaN or infinite values wherever a patch could lie.
    """

    def __init__(self, pool: PatchSampler, recipe: TrainingRecipe, device: torch.device) -> None:
        self._recipe, self._size = recipe, pool.size
        planes = list(_read_planes(pool))
        self._pixels = _flat([plane.pixels for plane in planes], device)
        pairs = [plane.truth for plane in planes if plane.truth is not None]
        self._truths = _flat(pairs, device) if pairs else None
        places = _places(pool, planes, pool.size)
        assert places is not None, "a pool has images, and each has places"
        self._places = places
        coarse = pool.coarser() if recipe.downscaled else None
        self._coarse = _places(coarse, planes, coarse.size, every=False) if coarse else None

    def get(self, step: int, cancel: threading.Event | None = None) -> Patches:
        """See `PatchSource.get`; nothing is waited for."""
        choices = np.random.default_rng([self._recipe.seed, step, 0, _KEY])
        if self._truths is not None:
            index = self._index(self._places.draw(self._recipe.batch, choices), self._size)
            return _take(self._pixels, index), _take(self._truths, index)
        count = downscaled_count(self._recipe, choices) if self._coarse else 0
        parts = []
        if count < self._recipe.batch:
            index = self._index(self._places.draw(self._recipe.batch - count, choices), self._size)
            parts.append(_take(self._pixels, index))
        if self._coarse and count:
            index = self._index(self._coarse.draw(count, choices), 2 * self._size)
            parts.append(downscale(_take(self._pixels, index), choices))
        return shuffled(torch.cat(parts), choices), None

    def close(self) -> None:
        """Nothing: the memory is freed with this object."""

    def _index(self, drawn: Numbers, size: int) -> Tensor:
        """Which pixels crops consist of: [B, size, size]."""
        first, width, turn = torch.from_numpy(drawn).to(self._pixels.device, non_blocking=True)[..., None, None]
        steps = torch.arange(size, device=self._pixels.device)
        rows, columns = steps[:, None], steps[None, :]
        flip_rows, flip_columns, transpose = ((turn & bit) > 0 for bit in (1, 2, 4))
        y, x = torch.where(transpose, columns, rows), torch.where(transpose, rows, columns)
        y, x = torch.where(flip_rows, size - 1 - y, y), torch.where(flip_columns, size - 1 - x, x)
        index: Tensor = first + y * width + x
        return index


@dataclass(frozen=True, eq=False)
class _PlanePixels:
    """A plane that was read.

    Attributes:
        image: whose plane it is.
        offset: pixels of the planes before it.
        pixels: [C, H, W] uint8, or float32 in units of the network.
        truth: the same of a pair's truth.
        usable: [H, W], false where a pixel is held out or no number.
    """

    image: TrainingImage
    offset: int
    pixels: Patch | NDArray[np.uint8]
    truth: Patch | NDArray[np.uint8] | None
    usable: NDArray[np.bool_]


def _read_planes(pool: PatchSampler) -> Iterator[_PlanePixels]:
    offset = 0
    for image in pool.images:
        for plane in image.planes:
            yield (read := _read_plane(image, plane, pool, offset))
            offset += read.usable.size


def _read_plane(image: TrainingImage, plane: Plane, pool: PatchSampler, offset: int) -> _PlanePixels:
    pixels = image.read_codes(plane, image.area)
    truth = image.read_codes(plane, image.area, truth=True) if image.truth is not None else None
    usable: NDArray[np.bool_] = np.asarray(np.isfinite(pixels).all(axis=0))
    if truth is not None:
        usable &= np.asarray(np.isfinite(truth).all(axis=0))
    if not usable.all():
        pool.skipped.add(image.name)
    for hole in image.held_out:
        usable[_within(hole, image.area)] = False
    return _PlanePixels(image, offset, _compact(pixels), None if truth is None else _compact(truth), usable)


def _within(hole: Rectangle, area: Rectangle) -> tuple[slice, slice]:
    """A rectangle of a plane as slices of an area of it."""
    rows, columns = (
        slice(max(0, part.start - whole.start), max(0, part.stop - whole.start))
        for part, whole in zip(hole, area, strict=True)
    )
    return rows, columns


def _compact(unit: Patch | NDArray[np.uint8]) -> Patch | NDArray[np.uint8]:
    """As uint8 where that is exact; without NaN."""
    if unit.dtype == np.uint8:
        return unit
    finite: Patch = np.nan_to_num(unit, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    grey = np.rint(finite * 255)
    exact = bool((np.abs(grey - finite * 255) < 255 * _EXACT).all()) and grey.min() >= 0 and grey.max() <= 255
    return grey.astype(np.uint8) if exact else finite


def _flat(planes: list[Patch | NDArray[np.uint8]], device: torch.device) -> Tensor:
    """All pixels of all planes [N, C], uint8 if all planes are, else float32 in [0, 1]."""
    exact = all(plane.dtype == np.uint8 for plane in planes)
    parts = [plane if exact or plane.dtype != np.uint8 else plane.astype(np.float32) / 255 for plane in planes]
    return torch.cat([torch.from_numpy(part.reshape(len(part), -1).T.copy()).to(device) for part in parts])


def _take(pixels: Tensor, index: Tensor) -> Tensor:
    """Crops [B, C, size, size] float32 of pixels [N, C]."""
    crops = pixels[index].permute(0, 3, 1, 2).contiguous()
    return crops.float().div_(255) if crops.dtype == torch.uint8 else crops


def _places(pool: PatchSampler, planes: list[_PlanePixels], size: int, *, every: bool = True) -> _Places | None:
    """Where crops of this size may lie in the images of a pool, and how likely they are; None if there are none.

    Args:
        pool: the images.
        planes: theirs.
        size: of a crop.
        every: whether every image must have some.

    Raises:
        TrainingError: for an image without any, where every one must have some.
    """
    first, width, chance = [], [], []
    for image, weight in zip(pool.images, pool.weights, strict=True):
        own = [plane for plane in planes if plane.image is image]
        crops = [_crops(plane, size) for plane in own]
        if not every and not any(len(at) for at, _ in crops):
            continue
        likely = _likely(np.concatenate([contrast for _, contrast in crops]), image)
        chance.append(likely * weight)
        first += [plane.offset + at for plane, (at, _) in zip(own, crops, strict=True)]
        width += [np.full(len(at), plane.usable.shape[1]) for plane, (at, _) in zip(own, crops, strict=True)]
    if not chance:
        return None
    cumulative = np.concatenate(chance).cumsum()
    return _Places(np.concatenate(first), np.concatenate(width), cumulative / cumulative[-1])


def _likely(contrast: NDArray[np.float64], image: TrainingImage) -> NDArray[np.float64]:
    """How likely each crop of an image is, by its standard deviation: flat ones less often."""
    if not contrast.size:
        raise TrainingError(f"{image.name} holds NaN or infinite values nearly everywhere; leave it out")
    usual = max(float(np.median(contrast)), 1e-6)
    likely: NDArray[np.float64] = np.minimum(1.0, FLAT + (1 - FLAT) * contrast / usual)
    likely /= likely.sum()
    return likely


def _crops(plane: _PlanePixels, size: int) -> tuple[Numbers, NDArray[np.float64]]:
    """First pixels of the crops of a plane without unusable pixels, and the standard deviation of each."""
    _, height, width = plane.pixels.shape
    if min(height, width) < size:
        return np.zeros(0, np.int64), np.zeros(0)
    gray = plane.pixels.mean(axis=0, dtype=np.float64) * (1 / 255 if plane.pixels.dtype == np.uint8 else 1.0)
    rows, columns = (
        _starts(side, size, plane, axis)[(slice(None), None) if axis == 0 else (None, slice(None))]
        for axis, side in enumerate((height, width))
    )
    bad, total, squares = (_box_sums(a, rows, columns, size) for a in (~plane.usable, gray, gray * gray))
    variance = squares / size**2 - (total / size**2) ** 2
    good = bad < 0.5
    return (rows * width + columns)[good], np.sqrt(np.maximum(variance, 0.0))[good]


def _starts(side: int, size: int, plane: _PlanePixels, axis: int) -> Numbers:
    """First rows or columns of crops: a grid, the last one, and those next to what is held out."""
    holes = [hole[axis] for hole in plane.image.held_out]
    origin = plane.image.area[axis].start
    extra = [at - origin for hole in holes for at in (hole.stop, hole.start - size)]
    starts = np.array([*range(0, side - size + 1, max(1, size // _PLACES)), side - size, *extra], np.int64)
    return np.unique(starts[(starts >= 0) & (starts <= side - size)])


def _box_sums(values: NDArray[np.generic], rows: Numbers, columns: Numbers, size: int) -> NDArray[np.float64]:
    """Sums over squares that begin at these rows [R, 1] and columns [1, K]: [R, K]."""
    sums = np.pad(values.astype(np.float64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    last_rows, last_columns = rows + size, columns + size
    inside: NDArray[np.float64] = (
        sums[last_rows, last_columns] - sums[rows, last_columns] - sums[last_rows, columns] + sums[rows, columns]
    )
    return inside
