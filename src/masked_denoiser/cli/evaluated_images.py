"""Selection of the images for `masked-denoiser evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from masked_denoiser.errors import EvaluationError
from masked_denoiser.images.discovery import images_in, is_image_folder, stem_of


def list_images(inputs: Sequence[str]) -> list[Path]:
    """Return files unchanged, and the images of folders sorted by name.

    Raises:
        EvaluationError: if there are no inputs, or a path does not exist.
        ImageError: if a folder holds no images.
    """
    if not inputs:
        raise EvaluationError("no images given; name a folder of clean images, or use --noisy and --clean")
    images: list[Path] = []
    for path in map(Path, inputs):
        if not path.exists():
            raise EvaluationError(f"{path} does not exist; check the path")
        images += map(Path, images_in(path)) if path.is_dir() and not is_image_folder(path) else [path]
    return images


def list_pairs(noisy: str | None, clean: str | None) -> tuple[list[Path], list[Path]]:
    """Return the noisy and the clean images of two folders, each in the order of the names.

    Raises:
        EvaluationError: if one of the folders is not given, or names contradict the order.
    """
    if not (noisy and clean):
        raise EvaluationError("pairs need both folders: --noisy FOLDER --clean FOLDER")
    images, truths = list_images([noisy]), list_images([clean])
    if len(images) == len(truths):  # else another error follows
        _check_names(images, truths)
    return images, truths


def _check_names(noisy: Sequence[Path], clean: Sequence[Path]) -> None:
    """Raise an error if a noisy image has the name of another clean image than the one at its position."""
    named = {stem_of(str(path)): path for path in clean}
    for image, truth in zip(noisy, clean, strict=True):
        stem = stem_of(str(image))
        if stem in named and stem != stem_of(str(truth)):
            raise EvaluationError(
                f"{image.name} would be compared with {truth.name}, as images are paired in order of name, although "
                f"there is a clean {named[stem].name}; remove images without a partner, or rename them"
            )
