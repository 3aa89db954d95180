"""Discovery of images from files, folders, patterns and network addresses."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from masked_denoiser.errors import ImageError
from masked_denoiser.images.writers.output_path import TIFF_SUFFIXES, ZARR_SUFFIXES
from masked_denoiser.images.zarr_files import ZARR_FILES

#: File name suffixes of images in a folder; files named explicitly may have any suffix.
IMAGE_SUFFIXES = (".tif", ".tiff", ".btf", ".svs", ".ndpi", ".scn", ".bif", ".png", ".jpg", ".jpeg", ".zarr")

#: Suffixes of files that unfinished jobs keep next to their output.
_UNFINISHED_SUFFIXES = (".partial", ".creating", ".journal", ".journal.new", ".lock")


def find_images(inputs: Sequence[str]) -> list[str]:
    """Return the images that the inputs stand for, without duplicates, sorted by name within a folder or pattern.

    Args:
        inputs: files, zarr folders, other folders (the images directly in them), shell patterns ("in/*.tif",
            "in/**/*.tif"), and addresses ("https://..."), which are returned unchanged. An existing file whose name
            has wildcard characters is that file.

    Raises:
        ImageError: if an input does not exist or holds no image.
    """
    images: dict[str, str] = {}
    for text in inputs:
        for image in _expand(text):
            # Links are not resolved: two names are two images.
            images.setdefault(image if is_address(image) else os.path.normpath(Path.cwd() / image), image)
    return list(images.values())


def is_address(text: str) -> bool:
    """Return whether an image is named by a network address."""
    return "://" in text


def is_pattern(text: str) -> bool:
    """Return whether a string has wildcard characters and does not name an existing file."""
    return any(wildcard in text for wildcard in "*?[") and not is_address(text) and not Path(text).expanduser().exists()


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a zarr, thus one image."""
    return path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in ZARR_FILES)


def name_of(image: str) -> str:
    """Return the name of a file, or the last part of an address."""
    return PurePosixPath(urlsplit(image).path).name if is_address(image) else Path(image).name


def stem_of(image: str) -> str:
    """Return the name of an image without its suffix: "in/scan.v2.ome.tif" -> "scan.v2"."""
    name = name_of(image)
    suffixes = sorted((*ZARR_SUFFIXES, *TIFF_SUFFIXES, *IMAGE_SUFFIXES), key=len, reverse=True)
    suffix = next((suffix for suffix in suffixes if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)] or name


def _expand(text: str) -> list[str]:
    if is_address(text):
        return [text]
    if is_pattern(text):
        return _expand_pattern(text)
    path = Path(text).expanduser()
    if not path.exists():
        raise ImageError(f"{text}: cannot be found; check the path, or remove it from the list")
    return images_in(path) if path.is_dir() and not is_zarr(path) else [str(path)]


def _expand_pattern(pattern: str) -> list[str]:
    """Return the matches of a shell pattern, except plain folders and files inside a zarr."""
    paths = map(Path, sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True)))  # noqa: PTH207 - may be absolute
    images: dict[Path, str] = {}
    for path in filter(_is_image, paths):  # a folder is sorted before its contents
        inside = any(parent in images for parent in path.parents)
        if not inside and (path.is_dir() or not any(map(is_zarr, path.parents))):
            images[path] = str(path)
    if not images:
        raise ImageError(f"nothing matches {pattern}; check the folder and the suffix")
    return list(images.values())


def images_in(folder: Path) -> list[str]:
    """Return the images directly in a folder, sorted by name.

    Raises:
        ImageError: if the folder cannot be read or holds no image.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ImageError(f"folder {folder} cannot be read ({error.strerror}); check its permissions") from error
    images = [path for path in paths if _is_image(path) and path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise ImageError(f"folder {folder} holds no images; supported suffixes: {', '.join(IMAGE_SUFFIXES)}")
    return [str(path) for path in images]


def _is_image(path: Path) -> bool:
    """Return whether a path is neither hidden, nor part of an unfinished job, nor a plain folder."""
    if path.name.startswith(".") or path.name.lower().endswith(_UNFINISHED_SUFFIXES):
        return False
    return is_zarr(path) if path.is_dir() else path.is_file()
