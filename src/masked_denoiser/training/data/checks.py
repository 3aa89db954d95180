"""Checks of the images before a training starts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.errors import StoppedEarlyError, TrainingError
from masked_denoiser.images.planes import Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.training.data.patches import Rectangle, TrainingImage
from masked_denoiser.training.recipe import LIMITS

#: Side in pixels of the squares by which two images are compared.
_COMPARED_SIDE = 24

#: Least share of the range of a clean image that its noisy image covers, and of their spans, if their dtypes differ.
_MIN_OVERLAP = 0.02

#: Side in pixels of the blocks whose means show the scales of a pair, and the least correlation of these means.
_BLOCK, _MIN_CORRELATION = 8, 0.8

#: Largest ratio of the contrasts of a pair, and largest difference of their means as a share of the clean contrast.
_MAX_GAIN, _MAX_SHIFT = 1.5, 0.25


def check_images(
    images: Sequence[TrainingImage], size: int, smallest: int, cancel: threading.Event | None = None
) -> None:
    """Reject images that cannot be trained with.

    Args:
        images: the images.
        size: side of a patch in pixels.
        smallest: that the network accepts.
        cancel: checked before each image.

    Raises:
        StoppedEarlyError: if `cancel` is set.
        TrainingError: for an image smaller than a patch, a constant image, NaN, or images that do not form a pair.
    """
    for image in images:
        raise_if_cancelled(cancel)
        rows, columns = image.area
        if (room := min(len(rows), len(columns))) < size:
            raise TrainingError(
                f"{image.name} has {len(rows)} x {len(columns)} pixels to train with, less than a patch of "
                f"{size} x {size}{smaller_patch_remedy(room, smallest)} remove the image"
            )
        _check_pixels(image, image.source, size)
        if image.region is None and any(scale.has_nonfinite for scale in image.ranges.values()):
            raise TrainingError(f"{image.name} contains NaN or infinite values; replace them before training")
        if image.truth is not None:
            _check_pair(image, image.truth, size)


def smaller_patch_remedy(room: int, smallest: int) -> str:
    """Return the beginning of a remedy for images that are too small, before what else may be done.

    Args:
        room: side in pixels of the largest square that the images have room for.
        smallest: that the network accepts, and of which all sides of patches are multiples.
    """
    side = room // smallest * smallest
    if side < LIMITS["patch"][0]:
        return ", and this model has no patch that fits;"
    return f"; choose a smaller patch (--set patch={side}), or"


def check_disjoint(training: Sequence[Source], validation: Sequence[Source]) -> None:
    """Reject validation with an image that is also trained with.

    Raises:
        TrainingError: naming the first image that is in both lists.
    """
    files = {path.resolve() for source in training for path in source.inputs}
    for source in validation:
        same_file = any(path.resolve() in files for path in source.inputs)
        if same_file or any(same_pixels(source, other) for other in training):
            raise TrainingError(
                f"{source.path or source.name} is used for both training and validation; remove it from one of them"
            )


def check_distinct(images: Sequence[TrainingImage]) -> None:
    """Reject duplicate images, of which one could be held out while the other is trained with.

    Raises:
        TrainingError: naming the two images.
    """
    candidates: dict[tuple[object, ...], list[Source]] = {}
    for source in {id(image.source): image.source for image in images}.values():
        key = (source.axes, source.shape, source.dtype, _centre_pixels(source))
        for other in candidates.setdefault(key, []):
            if same_pixels(source, other):
                names = f"{source.path or source.name} and {other.path or other.name}"
                raise TrainingError(f"{names} are the same image; give it once")
        candidates[key].append(source)


def raise_if_cancelled(cancel: threading.Event | None) -> None:
    """Raise `StoppedEarlyError` if `cancel` is set, as preparing a large folder may take long."""
    if cancel is not None and cancel.is_set():
        raise StoppedEarlyError


def same_pixels(first: Source, second: Source) -> bool:
    """Return whether two sources are the same image, by a few squares of a few planes."""
    if first.data is second.data:
        return True
    if first.axes != second.axes or first.shape != second.shape or first.dtype != second.dtype:
        return False
    height, width = first.size_yx
    for plane in _sample_planes(tuple(list_planes(first.axes, first.sizes, first.rgb))):
        for row in {0, height // 2, max(0, height - _COMPARED_SIDE)}:
            for column in {0, width // 2, max(0, width - _COMPARED_SIDE)}:
                starts = ((row, height), (column, width))
                rows, columns = (slice(start, min(side, start + _COMPARED_SIDE)) for start, side in starts)
                pixels, others = (source.read(plane, rows, columns) for source in (first, second))
                if not np.array_equal(pixels, others, equal_nan=first.dtype.kind == "f"):
                    return False
    return True


def _centre_pixels(source: Source) -> bytes:
    """Return 8 x 8 pixels of the first plane, from its centre on."""
    plane = next(iter(list_planes(source.axes, source.sizes, source.rgb)))
    height, width = source.size_yx
    return source.read(plane, slice(height // 2, height // 2 + 8), slice(width // 2, width // 2 + 8)).tobytes()


def _check_pair(image: TrainingImage, truth: Source, size: int) -> None:
    name = truth.path or truth.name
    source = image.source
    if truth.sizes != source.sizes or truth.rgb != source.rgb:
        raise TrainingError(
            f"{image.name} ({source.axes} {source.shape}) and {name} ({truth.axes} {truth.shape}) do not form a pair; "
            "give images of equal axes and shape"
        )
    if same_pixels(source, truth):
        raise TrainingError(f"{image.name} and {name} are the same image; give the noisy one and the clean one")
    _check_pixels(image, truth, size)
    if truth.dtype != source.dtype:
        _check_ranges(image, truth, size)
    _check_scale(image, truth, size)


def _check_scale(image: TrainingImage, truth: Source, size: int) -> None:
    """Check that a pair has one intensity scale, as a clean image of a longer exposure does not.

    Means of blocks are compared, in which there is little noise; where they are not related, nothing is known.
    """
    plane = image.planes[len(image.planes) // 2]
    noisy, clean = (_block_means(source, plane, image.area, size) for source in (image.source, truth))
    finite = np.isfinite(noisy) & np.isfinite(clean)
    noisy, clean = noisy[finite], clean[finite]
    if not finite.any() or min(np.ptp(noisy), np.ptp(clean)) <= 0 or np.corrcoef(noisy, clean)[0, 1] < _MIN_CORRELATION:
        return
    gain, shift = clean.std() / noisy.std(), clean.mean() - noisy.mean()
    if 1 / _MAX_GAIN <= gain <= _MAX_GAIN and abs(shift) <= _MAX_SHIFT * np.ptp(clean):
        return
    name = truth.path or truth.name
    raise TrainingError(
        f"{name} has {gain:.3g} times the contrast of {image.name}, and means of {clean.mean():.4g} and "
        f"{noisy.mean():.4g}: pairs need one intensity scale; multiply {name} by {1 / gain:.4g} and add "
        f"{noisy.mean() - clean.mean() / gain:.4g}"
    )


def _block_means(source: Source, plane: Plane, area: Rectangle, size: int) -> NDArray[np.float64]:
    """Return the means of blocks in a grid of patches of a plane; NaN where a block contains NaN."""
    means = []
    for rows, columns in _patch_grid(area, size):
        patch = source.read(plane, rows, columns).astype(np.float64)
        height, width = (side // _BLOCK * _BLOCK for side in patch.shape[1:])
        blocks = patch[:, :height, :width].reshape(len(patch), height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
        means.append(blocks.mean(axis=(2, 4)).ravel())
    return np.concatenate(means)


def _check_ranges(image: TrainingImage, truth: Source, size: int) -> None:
    """Check that the intensities of a pair of different dtypes are on one scale: the ranges of both overlap."""
    plane = image.planes[len(image.planes) // 2]
    (low, high), (true_low, true_high) = (_extremes(s, plane, image.area, size) for s in (image.source, truth))
    overlap = min(high, true_high) - max(low, true_low)
    if overlap < _MIN_OVERLAP * (true_high - true_low):
        raise TrainingError(
            f"{image.name} ({image.source.dtype}) has values from {low:g} to {high:g}, {truth.path or truth.name} "
            f"({truth.dtype}) from {true_low:g} to {true_high:g}: pairs need one intensity scale; convert one"
        )
    if high - low > (true_high - true_low) / _MIN_OVERLAP:
        raise TrainingError(
            f"{image.name} ({image.source.dtype}) spans {high - low:g} intensities, {truth.path or truth.name} "
            f"({truth.dtype}) only {true_high - true_low:g}: pairs need one intensity scale; convert one"
        )


def _check_pixels(image: TrainingImage, source: Source, size: int) -> None:
    """Check the dtype, and a grid of patches of a few planes for NaN, infinity and a constant value."""
    name = source.path or source.name
    if source.dtype.kind not in "uif":
        raise TrainingError(f"{name} has dtype {source.dtype}; only integer and floating-point images can be used")
    constant = True
    for plane in _sample_planes(image.planes):
        low, high = _extremes(source, plane, image.area, size)
        if not np.isfinite([low, high]).all():
            raise TrainingError(f"{name} contains NaN or infinite values; replace them before training")
        constant &= high <= low
    if constant:
        raise TrainingError(f"{name} is constant and cannot be trained with; remove it")


def _sample_planes(planes: Sequence[Plane]) -> Iterator[Plane]:
    """Yield up to 8 evenly spaced planes."""
    yield from (planes[i] for i in sorted({round(i) for i in np.linspace(0, len(planes) - 1, 8)}))


def _extremes(source: Source, plane: Plane, area: Rectangle, size: int) -> tuple[float, float]:
    """Return the lowest and highest value of a grid of patches; NaN if a patch contains NaN."""
    low, high = np.inf, -np.inf
    for rows, columns in _patch_grid(area, size):
        pixels = source.read(plane, rows, columns)
        low, high = float(np.minimum(low, pixels.min())), float(np.maximum(high, pixels.max()))
    return low, high


def _patch_grid(area: Rectangle, size: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of 8 x 8 patches that are evenly spaced over an area."""
    rows, columns = area
    for row in np.linspace(rows.start, rows.stop - size, 8).astype(int):
        for column in np.linspace(columns.start, columns.stop - size, 8).astype(int):
            yield slice(row, row + size), slice(column, column + size)
