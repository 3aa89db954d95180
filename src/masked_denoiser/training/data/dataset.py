"""From what a user names to the images to learn from: folders opened, pairs matched, a part held out."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from masked_denoiser.errors import TrainingError
from masked_denoiser.images.discovery import images_in, is_zarr
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.readers.chunk_cache import ChunkedArray
from masked_denoiser.images.source import Lazy, Source
from masked_denoiser.training.data.checks import check_images, same_pixels, stop_early
from masked_denoiser.training.data.patches import PatchSampler, Rectangle, TrainingImage, corner_rectangles, fits_beside
from masked_denoiser.training.data.related import related_groups

#: What `images` may be given as.
Given = str | os.PathLike[str] | Lazy | Source

#: From this number on whole images are held out, a tenth of them; of fewer a corner of each.
_MANY = 10
#: Decoded bytes that all images together keep.
_CACHE_BYTES = 2**30
#: Files that a process has open beside its images, generously.
_OTHER_FILES = 256
#: Most images that are held out whole.
_MOST_HELD_OUT = 16

#: Largest side of validation patches, in pixels.
_LARGEST = 96


def open_images(
    given: Iterable[Given], files: ExitStack, axes: str | None = None, cancel: threading.Event | None = None
) -> list[Source]:
    """Opens files, zarr folders, arrays, and every image of other folders, in the order of their names.

    Args:
        given: what to open; sources are taken as they are.
        files: closes what is opened here.
        axes: of the images, where their files do not name them.
        cancel: looked at before each file.

    Raises:
        StoppedEarlyError: if `cancel` is set.
        TrainingError: if there is nothing to open.
        ImageError: if one of them cannot be opened, or a folder holds none.
    """
    wanted = [one for item in given for one in _unfolded(item)]
    _allow_open_files(len(wanted))
    sources = []
    for one in wanted:
        stop_early(cancel)
        source = open_image(one, axes=axes)
        if source is not one:
            files.callback(source.close)
        sources.append(source)
    if not sources:
        raise TrainingError("there are no images to learn from; name files or folders")
    for source in sources:
        if isinstance(source.data, ChunkedArray):
            source.data.limit(_CACHE_BYTES // len(sources))
    return sources


def first_of(given: Iterable[Given]) -> list[Given]:
    """The first image of all that is given, to look at.

    Raises:
        ImageError: if a folder holds none.
    """
    return [one for item in given for one in _unfolded(item)][:1]


def _allow_open_files(count: int) -> None:
    """Asks the system for as many open files as a large folder needs.

    Raises:
        TrainingError: if it allows fewer.
    """
    if sys.platform == "win32":  # no such limit there
        return
    import resource

    wanted = count + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise TrainingError(
            f"{count} images are too many: the system allows {hard} open files; raise that limit (ulimit -n {wanted}), "
            "or put the images together into stacks"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _unfolded(item: Given) -> list[Given]:
    if not isinstance(item, str | os.PathLike):
        return [item]
    folder = Path(item).expanduser()
    return list(map(Path, images_in(folder))) if folder.is_dir() and not is_zarr(folder) else [item]


def make_images(noisy: Sequence[Source], clean: Sequence[Source], channels: int) -> list[TrainingImage]:
    """Images, or pairs of them in the order of the lists.

    Args:
        noisy: the images; in the way "clean" the clean ones.
        clean: the truths of pairs, or nothing.
        channels: of the network.

    Raises:
        TrainingError: if the lists differ in length.
    """
    if clean and len(clean) != len(noisy):
        raise TrainingError(
            f"{len(noisy)} noisy images and {len(clean)} clean ones are no pairs; they are matched by order of "
            "names: leave out what has no partner"
        )
    truths: Sequence[Source | None] = clean or [None] * len(noisy)
    return [TrainingImage(source, channels, truth) for source, truth in zip(noisy, truths, strict=True)]


def split(
    images: list[TrainingImage], patch: int, window: int, cancel: threading.Event | None = None
) -> tuple[PatchSampler, PatchSampler]:
    """What is learned from, and what is held out for validation.

    Of many images a tenth is held out whole, with all that show the same thing; of a few, or of many that all do, the
    corner of each with the most texture, through all planes.

    Raises:
        TrainingError: for images that nothing can be learned from, or too small to hold anything out.
    """
    check_images(images, patch, cancel)
    check_distinct(images)
    if len(images) >= _MANY and not any(image.region for image in images):
        held = _whole_images(images)
        if held:
            learned = [image for image in images if image not in held]
            return PatchSampler(tuple(learned), patch), held_out_sampler(held, window)
    corners = _corners(images, patch, cancel)
    learned = [replace(image, held_out=_holes(image, images, corners)) for image in images]
    learned = [image for image in learned if fits_beside(image.area, image.held_out, patch)]
    held = [replace(image, region=corner) for image, corner in zip(images, corners, strict=True) if corner]
    if not held or not learned:
        raise TrainingError(
            f"the images are too small to hold a part of them out for validation: at least one side must have two "
            f"patches of {patch} pixels; choose a smaller patch, or give validation images"
        )
    return PatchSampler(tuple(learned), patch), held_out_sampler(held, window)


def _whole_images(images: list[TrainingImage]) -> list[TrainingImage]:
    """A tenth of the images, whole groups of related ones; none if they are all related."""
    groups = related_groups([image.source for image in images])
    most = max(1, min(_MOST_HELD_OUT, len(images) // _MANY))
    every = max(1, len(groups) // most)
    held: list[TrainingImage] = []
    for group in groups[every - 1 :: every]:
        if len(held) < most and len(held) + len(group) <= len(images) // 2:
            held += [images[number] for number in group]
    return held


def _corners(images: list[TrainingImage], patch: int, cancel: threading.Event | None) -> list[Rectangle | None]:
    """The corner of each image that is held out: the same one of all of one size that show the same thing.

    Of crops and copies that are shifted it is another place; those are held out whole, where there are many images.
    """
    corners: list[Rectangle | None] = [None] * len(images)
    for group in related_groups([image.source for image in images]):
        of_area: dict[Rectangle, Rectangle | None] = {}
        for number in group:
            area = images[number].area
            if area not in of_area:
                of_area[area] = _corner(images[number], patch, cancel)
            corners[number] = of_area[area]
    return corners


def _holes(
    image: TrainingImage, images: Sequence[TrainingImage], corners: Sequence[Rectangle | None]
) -> tuple[Rectangle, ...]:
    """What is held out of the image that this one is, or is a region of."""
    pairs = zip(images, corners, strict=True)
    return tuple(corner for other, corner in pairs if corner is not None and other.source is image.source)


def held_out_sampler(images: list[TrainingImage], window: int) -> PatchSampler:
    """The pool that validation draws from."""
    sides = [len(span) for image in images for span in image.area]
    return PatchSampler(tuple(images), validation_side(sides, window))


def check_apart(learned: Sequence[Source], validated: Sequence[Source]) -> None:
    """Refuses to validate with what is learned from.

    Raises:
        TrainingError: naming the first image that is in both.
    """
    files = {path.resolve() for source in learned for path in source.inputs}
    for source in validated:
        again = any(path.resolve() in files for path in source.inputs)
        if again or any(same_pixels(source, other) for other in learned):
            raise TrainingError(
                f"{source.path or source.name} is both learned from and validated with; leave it out of one of them"
            )


def check_distinct(images: Sequence[TrainingImage]) -> None:
    """Refuses an image that is given twice: one of the two might be held out, and be learned all the same.

    Raises:
        TrainingError: naming it.
    """
    alike: dict[tuple[object, ...], list[Source]] = {}
    for source in {id(image.source): image.source for image in images}.values():
        key = (source.axes, source.shape, source.dtype, _first_pixels(source))
        for other in alike.setdefault(key, []):
            if same_pixels(source, other):
                names = f"{source.path or source.name} and {other.path or other.name}"
                raise TrainingError(f"{names} are the same image; give it once")
        alike[key].append(source)


def _first_pixels(source: Source) -> bytes:
    plane = next(iter(list_planes(source.axes, source.sizes, source.rgb)))
    height, width = source.size_yx
    return source.read(plane, slice(height // 2, height // 2 + 8), slice(width // 2, width // 2 + 8)).tobytes()


def _corner(image: TrainingImage, patch: int, cancel: threading.Event | None) -> Rectangle | None:
    """The corner with the most texture; None where nothing would be left to learn from."""
    stop_early(cancel)
    corners = [c for c in corner_rectangles(image.area, patch) if fits_beside(image.area, [c], patch)]
    return max(corners, key=lambda corner: _texture(image, corner), default=None)


def _texture(image: TrainingImage, rectangle: Rectangle) -> float:
    plane = image.planes[len(image.planes) // 2]
    pixels = image.source.read(plane, rectangle[0].index, rectangle[1].index)
    return float(np.std(pixels, dtype=np.float64))


def validation_side(sides: Sequence[int], window: int) -> int:
    """Side of the patches: whole windows, as many as fit into the smallest of these sides."""
    return max(window, min(_LARGEST, *sides) // window * window)
