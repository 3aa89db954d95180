"""Split of the images into one patch sampler for training and one for validation."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from masked_denoiser.errors import TrainingError
from masked_denoiser.images.source import Source
from masked_denoiser.network.build import NetworkConfig
from masked_denoiser.training.data.checks import (
    check_disjoint,
    check_distinct,
    check_images,
    raise_if_cancelled,
    smaller_patch_remedy,
)
from masked_denoiser.training.data.dataset import TrainingImages, confine_to_regions, make_images, open_images
from masked_denoiser.training.data.patches import PatchSampler, Rectangle, TrainingImage, corner_rectangles, has_room
from masked_denoiser.training.data.related import related_groups
from masked_denoiser.training.recipe import TrainingRecipe

#: From this number of images on, a tenth of them is held out whole; of fewer images, a corner of each.
_MIN_IMAGES_TO_HOLD_OUT_WHOLE = 10
#: Most images that are held out whole.
_MAX_HELD_OUT_IMAGES = 16
#: Largest side of validation patches, in pixels.
_MAX_VALIDATION_SIDE = 96


def make_samplers(
    images: TrainingImages,
    sources: list[Source],
    files: ExitStack,
    recipe: TrainingRecipe,
    config: NetworkConfig,
    cancel: threading.Event | None,
) -> tuple[PatchSampler, PatchSampler]:
    """Return the samplers for training and for validation.

    Args:
        images: what the user named.
        sources: `images.images`, opened.
        files: closes the other images, which are opened here.
        recipe: how to train.
        config: the network.
        cancel: checked before each image.

    Raises:
        StoppedEarlyError: if `cancel` is set.
        TrainingError: for images that do not match, or that cannot be trained with.
    """
    if (recipe.way == "pairs") != bool(images.clean):
        raise TrainingError("clean images (--clean) and --way pairs belong together; give both or neither")
    clean = open_images(images.clean, files, images.axes, cancel, images.reader) if images.clean else []
    has_own_noise = recipe.stretch and recipe.way != "clean"  # else patches are stretched after noise is added
    training = make_images(sources, clean, config.channels, stretched=has_own_noise)
    if images.regions:
        training = confine_to_regions(training, images.regions)
    if not images.validation:
        return split_for_validation(training, recipe.patch, config.grid, cancel)
    others = open_images(images.validation, files, images.axes, reader=images.reader)
    check_disjoint(sources, others)
    truths: list[Source] = []
    if images.validation_clean:
        truths = open_images(images.validation_clean, files, images.axes, reader=images.reader)
    if recipe.way == "pairs" and not truths:
        raise TrainingError("validation images of pairs need their clean images; give them with --validation-clean")
    validation = make_images(others, truths, config.channels, stretched=has_own_noise)
    check_images(training, recipe.patch, config.grid, cancel)
    check_images(validation, recipe.patch, config.grid, cancel)
    return PatchSampler(tuple(training), recipe.patch), validation_sampler(validation, config.grid)


def split_for_validation(
    images: list[TrainingImage], patch: int, window: int, cancel: threading.Event | None = None
) -> tuple[PatchSampler, PatchSampler]:
    """Return the samplers for training and for validation, with a part of the images held out.

    Of many images a tenth is held out whole, together with all images of the same scene. Of few images, or of many
    that all show the same scene, the most textured corner of each is held out, in all planes.

    Args:
        images: all images.
        patch: side of a training patch in pixels.
        window: side of the network's windows in pixels, of which validation patches are multiples.
        cancel: checked before each image.

    Raises:
        StoppedEarlyError: if `cancel` is set.
        TrainingError: for images that cannot be trained with, or are too small to hold anything out.
    """
    check_images(images, patch, window, cancel)
    check_distinct(images)
    if len(images) >= _MIN_IMAGES_TO_HOLD_OUT_WHOLE and not any(image.region for image in images):
        validation = _whole_images(images)
        if validation:
            training = [image for image in images if image not in validation]
            return PatchSampler(tuple(training), patch), validation_sampler(validation, window)
    corners = _corners(images, patch, cancel)
    training = [replace(image, held_out=_held_out_of(image, images, corners)) for image in images]
    training = [image for image in training if has_room(image.area, image.held_out, patch)]
    validation = [replace(image, region=corner) for image, corner in zip(images, corners, strict=True) if corner]
    if not validation or not training:
        room = max(len(span) for image in images for span in image.area) // 2
        raise TrainingError(
            f"the images are too small to hold a part of them out for validation: at least one side must be as long as "
            f"two patches of {patch} pixels{smaller_patch_remedy(room, window)} give validation images"
        )
    return PatchSampler(tuple(training), patch), validation_sampler(validation, window)


def validation_sampler(images: list[TrainingImage], window: int) -> PatchSampler:
    """Return the sampler of validation patches, whose side is as many windows as fit into the smallest image."""
    sides = [len(span) for image in images for span in image.area]
    return PatchSampler(tuple(images), max(window, min(_MAX_VALIDATION_SIDE, *sides) // window * window))


def _whole_images(images: list[TrainingImage]) -> list[TrainingImage]:
    """Return a tenth of the images, in whole groups of related ones; empty if all images are related."""
    groups = related_groups([image.source for image in images])
    count = max(1, min(_MAX_HELD_OUT_IMAGES, len(images) // _MIN_IMAGES_TO_HOLD_OUT_WHOLE))
    step = max(1, len(groups) // count)
    held_out: list[TrainingImage] = []
    for group in groups[step - 1 :: step]:
        if len(held_out) < count and len(held_out) + len(group) <= len(images) // 2:
            held_out += [images[number] for number in group]
    return held_out


def _corners(images: list[TrainingImage], patch: int, cancel: threading.Event | None) -> list[Rectangle | None]:
    """Return the corner of each image that is held out: the same one for related images of equal area.

    In crops and shifted copies that corner shows another part of the scene; where there are many images, related ones
    are held out whole.
    """
    corners: list[Rectangle | None] = [None] * len(images)
    for group in related_groups([image.source for image in images]):
        corner_of_area: dict[Rectangle, Rectangle | None] = {}
        for number in group:
            area = images[number].area
            if area not in corner_of_area:
                corner_of_area[area] = _most_textured_corner(images[number], patch, cancel)
            corners[number] = corner_of_area[area]
    return corners


def _held_out_of(
    image: TrainingImage, images: Sequence[TrainingImage], corners: Sequence[Rectangle | None]
) -> tuple[Rectangle, ...]:
    """Return the corners held out of the source that this image, or region of an image, belongs to."""
    pairs = zip(images, corners, strict=True)
    return tuple(corner for other, corner in pairs if corner is not None and other.source is image.source)


def _most_textured_corner(image: TrainingImage, patch: int, cancel: threading.Event | None) -> Rectangle | None:
    """Return the corner with the most texture; None where no room for a training patch would remain."""
    raise_if_cancelled(cancel)
    corners = [c for c in corner_rectangles(image.area, patch) if has_room(image.area, [c], patch)]
    return max(corners, key=lambda corner: _texture(image, corner), default=None)


def _texture(image: TrainingImage, rectangle: Rectangle) -> float:
    """Return the standard deviation of a rectangle of the middle plane."""
    plane = image.planes[len(image.planes) // 2]
    pixels = image.source.read(plane, rectangle[0].index, rectangle[1].index)
    return float(np.std(pixels, dtype=np.float64))
