"""Checks of training images, before a training begins."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np

from masked_denoiser.errors import StoppedEarlyError, TrainingError
from masked_denoiser.images.planes import Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.training.data.patches import Rectangle, TrainingImage

#: Side of the squares that tell whether two images are the same.
_SAME = 24


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
