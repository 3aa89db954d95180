"""Which images `masked-denoiser evaluate` looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from masked_denoiser.errors import EvaluationError
from masked_denoiser.images.discovery import images_in, is_zarr


def list_images(given: Sequence[str]) -> list[Path]:
    """Return files as they are, and the images of folders in the order of their names.

    Raises:
        EvaluationError: if nothing was given, or a path does not exist.
        ImageError: if a folder holds no images.
    """
    if not given:
        raise EvaluationError("no images; name a folder of clean images, or --noisy and --clean")
    found: list[Path] = []
    for path in map(Path, given):
        if not path.exists():
            raise EvaluationError(f"{path} does not exist; check the path")
        found += map(Path, images_in(path)) if path.is_dir() and not is_zarr(path) else [path]
    return found


def list_pairs(noisy: str | None, clean: str | None) -> tuple[list[Path], list[Path]]:
    """Return the noisy images and the clean ones of two folders, in the order of their names.

    Raises:
        EvaluationError: if one of the folders is missing.
    """
    if not (noisy and clean):
        raise EvaluationError("pairs need both folders: --noisy FOLDER --clean FOLDER")
    return list_images([noisy]), list_images([clean])
