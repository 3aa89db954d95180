"""Which images a list of files, folders, patterns and addresses stands for."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from masked_denoiser.errors import ImageError
from masked_denoiser.images.writers.output_path import TIFF_SUFFIXES, ZARR_SUFFIXES
from masked_denoiser.images.zarr_files import ZARR_FILES

#: What is taken for an image in a folder, by its ending; whatever is named by itself is tried all the same.
SUFFIXES = (".tif", ".tiff", ".btf", ".svs", ".ndpi", ".scn", ".bif", ".png", ".jpg", ".jpeg", ".zarr")

#: What jobs of ours leave beside an output while they are unfinished.
_WORKING = (".partial", ".creating", ".journal", ".journal.new", ".lock")


def find_images(given: Sequence[str]) -> list[str]:
    """The images that are meant, each once: those of a folder or a pattern in the order of their names.

    Args:
        given: files, zarr folders, other folders (the images right in them), patterns as for a shell, quoted or not
            ("in/*.tif", "in/**/*.tif"), and addresses ("https://..."), which are taken as they are. A file whose name
            has the signs of a pattern is that file.

    Raises:
        ImageError: if one of them is not there or holds no image.
    """
    found: dict[str, str] = {}
    for text in given:
        for image in _meant(text):
            # Links are not followed: two names are two images.
            found.setdefault(image if is_address(image) else os.path.normpath(Path.cwd() / image), image)
    return list(found.values())


def is_address(text: str) -> bool:
    """Whether an image is on the net."""
    return "://" in text


def is_pattern(text: str) -> bool:
    """Whether a text has the signs of a pattern and is no file of that name."""
    return any(sign in text for sign in "*?[") and not is_address(text) and not Path(text).expanduser().exists()


def is_zarr(path: Path) -> bool:
    """Whether a folder is one image."""
    return path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in ZARR_FILES)


def name_of(image: str) -> str:
    """The name of a file, or the last part of an address."""
    return PurePosixPath(urlsplit(image).path).name if is_address(image) else Path(image).name


def stem_of(image: str) -> str:
    """The name of an image without its ending: "in/scan.v2.ome.tif" -> "scan.v2"."""
    name = name_of(image)
    endings = sorted((*ZARR_SUFFIXES, *TIFF_SUFFIXES, *SUFFIXES), key=len, reverse=True)
    ending = next((ending for ending in endings if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)] or name


def _meant(text: str) -> list[str]:
    if is_address(text):
        return [text]
    if is_pattern(text):
        return _matching(text)
    path = Path(text).expanduser()
    if not path.exists():
        raise ImageError(f"{text}: cannot be found; check the path, or leave it out of the list")
    return images_in(path) if path.is_dir() and not is_zarr(path) else [str(path)]


def _matching(pattern: str) -> list[str]:
    """What a shell would make of a pattern, without plain folders and the pieces of a zarr."""
    paths = map(Path, sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True)))  # noqa: PTH207 - absolute, too
    found: dict[Path, str] = {}
    for path in filter(_is_own_image, paths):  # a folder comes before what is in it
        inside = any(parent in found for parent in path.parents)
        if not inside and (path.is_dir() or not any(map(is_zarr, path.parents))):
            found[path] = str(path)
    if not found:
        raise ImageError(f"nothing matches {pattern}; check the folder and the ending")
    return list(found.values())


def images_in(folder: Path) -> list[str]:
    """The images right in a folder, in the order of their names.

    Raises:
        ImageError: if it cannot be read or holds none.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ImageError(f"folder {folder} cannot be read ({error.strerror}); check its permissions") from error
    found = [path for path in paths if _is_own_image(path) and path.suffix.lower() in SUFFIXES]
    if not found:
        raise ImageError(f"folder {folder} holds no images; known are {', '.join(SUFFIXES)}")
    return [str(path) for path in found]


def _is_own_image(path: Path) -> bool:
    """Not hidden, not something that a job of ours is still at, not a plain folder."""
    if path.name.startswith(".") or path.name.lower().endswith(_WORKING):
        return False
    return is_zarr(path) if path.is_dir() else path.is_file()
