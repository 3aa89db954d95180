"""Training images as the user names them: files and folders opened, noisy and clean images matched to pairs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from masked_denoiser.errors import TrainingError
from masked_denoiser.images.discovery import images_in, is_image_folder, skipped_files
from masked_denoiser.images.open import open_image
from masked_denoiser.images.readers.chunk_cache import ChunkedArray
from masked_denoiser.images.readers.converted import LevelView
from masked_denoiser.images.source import LazyArray, Source
from masked_denoiser.training.data.checks import raise_if_cancelled
from masked_denoiser.training.data.patches import Rectangle, TrainingImage

#: An image, or a folder of images, as the user names it.
ImageInput = str | os.PathLike[str] | LazyArray | Source

#: Bytes of decoded chunks that the caches of all images may keep together.
_CACHE_BYTES = 2**30
#: Generous estimate of the files that a process opens in addition to its images.
_OTHER_FILES = 256


@dataclass(frozen=True)
class TrainingImages:
    """Images to train with, as `open_images` accepts them.

    Attributes:
        images: clean images; noisy ones where the recipe's `way` is "noisy" or "pairs".
        clean: clean images of pairs.
        validation: images for validation; empty to hold out a part of `images`.
        validation_clean: clean images of `validation`, for pairs.
        axes: axes of images whose files do not name them.
        regions: for each of `images` the rectangles of rows and columns that training is confined to, empty for the
            whole image; an empty tuple if no image is confined.
        reader: plugin that opens the files; see `open_image`.
    """

    images: tuple[ImageInput, ...]
    clean: tuple[ImageInput, ...] = ()
    validation: tuple[ImageInput, ...] = ()
    validation_clean: tuple[ImageInput, ...] = ()
    axes: str | None = None
    regions: tuple[tuple[Rectangle, ...], ...] = ()
    reader: str = ""


def open_images(
    inputs: Iterable[ImageInput],
    files: ExitStack,
    axes: str | None = None,
    cancel: threading.Event | None = None,
    reader: str = "",
) -> list[Source]:
    """Open files, zarr folders, arrays, and every image of other folders, sorted by name.

    Args:
        inputs: what to open; sources are returned unchanged.
        files: closes what is opened here.
        axes: axes of images whose files do not name them.
        cancel: checked before each file.
        reader: plugin that opens files, and decides which files of a folder are images; see `open_image`.

    Raises:
        StoppedEarlyError: if `cancel` is set.
        TrainingError: if there is nothing to open.
        ImageError: if an image cannot be opened, or a folder contains none.
    """
    images = _expand_folders(inputs, reader)
    _allow_open_files(len(images))
    sources = []
    for image in images:
        raise_if_cancelled(cancel)
        source = open_image(image, axes=axes, reader=reader if isinstance(image, str | os.PathLike) else "")
        if not isinstance(image, Source):
            files.callback(source.close)
        sources.append(source)
    if not sources:
        raise TrainingError("there are no images to train with; name files or folders")
    for source in sources:
        if isinstance(source.data, ChunkedArray | LevelView):
            source.data.limit_cache(_CACHE_BYTES // len(sources))
    return sources


def first_input(inputs: Iterable[ImageInput], reader: str = "") -> list[ImageInput]:
    """Return the first image of all inputs, in a list; an empty list if there are no inputs.

    Raises:
        ImageError: if a folder contains no images.
    """
    return _expand_folders(inputs, reader)[:1]


def skipped_notes(images: TrainingImages) -> list[str]:
    """Return notes on files in folders that look like images but have unknown suffixes, and are not used."""
    if images.reader:
        return []
    return skipped_files((*images.images, *images.clean, *images.validation, *images.validation_clean))


def _allow_open_files(count: int) -> None:
    """Raise the process limit of open files to what a large folder needs.

    Raises:
        TrainingError: if the system does not allow that many.
    """
    if sys.platform == "win32":  # no such limit there
        return
    import resource

    needed = count + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise TrainingError(
            f"{count} images are too many: the system allows {hard} open files; raise that limit "
            f"(ulimit -n {needed}) or combine the images into stacks"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _expand_folders(inputs: Iterable[ImageInput], reader: str) -> list[ImageInput]:
    """Return all inputs, with folders replaced by the images in them."""
    images: list[ImageInput] = []
    for item in inputs:
        folder = Path(item).expanduser() if isinstance(item, str | os.PathLike) else None
        is_folder = folder is not None and folder.is_dir() and not is_image_folder(folder, reader)
        images += [Path(path) for path in images_in(folder, reader)] if folder and is_folder else [item]
    return images


def make_images(
    noisy: Sequence[Source], clean: Sequence[Source], channels: int, *, stretched: bool = False
) -> list[TrainingImage]:
    """Return training images, or pairs of images matched by their order.

    Args:
        noisy: noisy images of pairs, or all images where there are no pairs.
        clean: clean images of pairs, or nothing.
        channels: channels of the network.
        stretched: whether patches are in units of the range in which a network denoises their image.

    Raises:
        TrainingError: if the lists differ in length.
    """
    if clean and len(clean) != len(noisy):
        raise TrainingError(
            f"{len(noisy)} noisy images and {len(clean)} clean ones do not form pairs, which are matched by the order "
            "of their names; remove images without a partner"
        )
    truths: Sequence[Source | None] = clean or [None] * len(noisy)
    pairs = zip(noisy, truths, strict=True)
    return [TrainingImage(source, channels, truth, stretched=stretched) for source, truth in pairs]


def confine_to_regions(images: list[TrainingImage], regions: tuple[tuple[Rectangle, ...], ...]) -> list[TrainingImage]:
    """Return one training image for each region; images without regions are returned whole.

    Raises:
        TrainingError: for a region outside its image, or regions of a folder, whose images have none.
    """
    if len(images) != len(regions):
        raise TrainingError(f"{len(regions)} lists of regions for {len(images)} images; give one list for each image")
    confined = []
    for image, rectangles in zip(images, regions, strict=True):
        confined += [replace(image, region=rectangle) for rectangle in rectangles] or [image]
        size_yx = image.source.size_yx
        for rows, columns in rectangles:
            if any(not 0 <= s.start < s.stop <= side for s, side in zip((rows, columns), size_yx, strict=True)):
                raise TrainingError(
                    f"the region of rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop} is not "
                    f"inside {image.name}, which has {size_yx[0]} x {size_yx[1]} pixels; draw it inside the image"
                )
    return confined
