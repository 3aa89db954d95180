"""Discovery of images from files, folders, patterns and network addresses."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from masked_denoiser.errors import ImageError
from masked_denoiser.images.locator import join_locator, matches, natural_order, split_locator
from masked_denoiser.images.readers.medical.folders import is_dicom_file, is_dicom_folder, nested_series
from masked_denoiser.images.readers.registry import find_reader
from masked_denoiser.images.readers.signatures import read_head
from masked_denoiser.images.suffixes import IMAGE_SUFFIXES, last_parts, suffix_of
from masked_denoiser.images.zarr_files import is_zarr

if TYPE_CHECKING:
    from masked_denoiser.images.readers.plugins.choose import PluginReader

#: Suffixes of files that unfinished jobs keep next to their output.
_UNFINISHED_SUFFIXES = (".partial", ".creating", ".journal", ".journal.new", ".lock")

#: First bytes of TIFF and BigTIFF in both byte orders.
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

#: Characters that some file system does not allow in names, or that shells and users trip over.
_NOT_IN_NAMES = re.compile(r"[^\w .+-]+")

#: Number of names that are listed of skipped files.
_LISTED = 3


def find_images(inputs: Sequence[str], reader: str = "") -> list[str]:
    """Return the images that the inputs stand for, without duplicates, sorted by name within a folder or pattern.

    Args:
        inputs: files, zarr folders, folders of DICOM files (their series), other folders (the images directly in
            them), shell patterns ("in/*.tif", "in/**/*.tif"), and addresses ("https://..."), which are returned
            unchanged. An existing file whose name has wildcard characters is that file. A file that holds several
            images stands for all of them, unless one is named, as in "stack.lif::Series 2".
        reader: as for `open_image`. A reader of another package decides which files of a folder are images, by their
            names, and whether a folder is one.

    Raises:
        ImageError: if an input does not exist or holds no image, or the reader is not installed.
    """
    plugin = _plugin(reader)
    images: dict[str, str] = {}
    for text in inputs:
        for image in _expand(text, plugin):
            images.setdefault(image if is_address(image) else _identity_of(image), image)
    return _omit_set_members(list(images.values())) if plugin is None else list(images.values())


def _omit_set_members(images: list[str]) -> list[str]:
    if len(images) < 2 or not any(".ome" in suffix_of(image) for image in images):
        return images
    from masked_denoiser.images.readers.tiff.ome.sets import omit_set_members

    return omit_set_members(images)


def _identity_of(image: str) -> str:
    """Return what two paths of one image have in common. A link is an image of its own, unlike its folder."""
    located, part = split_locator(image)
    path = Path(located).expanduser().absolute()
    return f"{path.parent.resolve() / path.name}\0{part}"


def is_address(text: str) -> bool:
    """Return whether an image is named by a network address."""
    return "://" in text


def is_image_folder(path: Path, reader: str = "") -> bool:
    """Return whether a folder is one image, or several series of DICOM files, rather than a folder of image files.

    Args:
        path: of the folder.
        reader: as for `find_images`.

    Raises:
        ImageError: if the reader is not installed.
    """
    return _is_image_folder(path, _plugin(reader))


def is_dicom(path: Path) -> bool:
    """Return whether a file, or one of the first files in a folder, is DICOM."""
    return is_dicom_folder(path) and not is_zarr(path) if path.is_dir() else is_dicom_file(path)


def is_pattern(text: str) -> bool:
    """Return whether a string has wildcard characters and does not name an existing file, or an image in one."""
    path = text if is_address(text) else split_locator(text)[0]
    return any(wildcard in path for wildcard in "*?[") and not is_address(text) and not Path(path).expanduser().exists()


def name_of(image: str) -> str:
    """Return the name of a file, or the last part of an address."""
    return PurePosixPath(urlsplit(image).path).name if is_address(image) else Path(image).name


def stem_of(image: str) -> str:
    """Return the name of an image without its suffix: "in/scan.v2.ome.tif" -> "scan.v2", "a.lif::B" -> "a_B"."""
    path, part = (image, "") if is_address(image) else split_locator(image)
    name = name_of(path)
    stem = name.removesuffix(suffix_of(name)) or name
    return f"{stem}_{_NOT_IN_NAMES.sub('-', part).strip('- ')}" if part else stem


def _plugin(reader: str) -> PluginReader | None:
    if not reader:
        return None
    from masked_denoiser.images.readers.plugins.choose import find_plugin

    return find_plugin(reader)


def _is_image_folder(path: Path, plugin: PluginReader | None) -> bool:
    if plugin is None:
        return is_zarr(path) or is_dicom_folder(path)
    if is_zarr(path) or not plugin.accepts(str(path)):
        return plugin.accepts(str(path))
    return not any(plugin.accepts(str(file)) for file in _list_folder(path, plugin))


def _expand(text: str, plugin: PluginReader | None) -> list[str]:
    if not text:
        raise ImageError("an input is empty, as of a variable that is not set; name an image or a folder")
    if is_address(text):
        return [text]
    if is_pattern(text):
        return _expand_pattern(text, plugin)
    located, part = split_locator(text)
    path = Path(located).expanduser()
    if not path.exists():
        raise ImageError(f"{text}: cannot be found; check the path, or remove it from the list")
    if part:
        return [join_locator(path, part)]
    if path.is_dir() and not _is_image_folder(path, plugin):
        return _images_read_by(plugin, path) if plugin is not None else images_in(path)
    return _parts_of(path, plugin)


def _parts_of(path: Path, plugin: PluginReader | None = None) -> list[str]:
    """Return the images in a file or folder; the path itself if it holds one or cannot be read."""
    try:
        parts = plugin.list_parts(str(path)) if plugin is not None else _list_parts(path)
    except (OSError, ImageError):
        parts = []
    return [join_locator(path, part) for part in parts] if len(parts) > 1 else [str(path)]


def _list_parts(path: Path) -> list[str]:
    if path.is_dir():
        from masked_denoiser.images.readers.medical.dicom_series import list_series

        return [] if is_zarr(path) else list_series(path)
    reader = find_reader(path)
    if reader is not None and reader.is_installed:
        return reader.list_parts(path)
    if ".ome" in suffix_of(path.name).lower():  # positions; other TIFFs have copies of one image
        from masked_denoiser.images.readers.tiff.reader import list_positions

        return list_positions(path)
    return [] if suffix_of(path.name) or _has_signature(path) else _list_other_parts(path)


def _list_other_parts(path: Path) -> list[str]:
    """Return the images in a file that the readers of this package do not know."""
    from masked_denoiser.images.readers.plugins.choose import choose_plugin

    plugin = choose_plugin(path)
    return plugin.list_parts(str(path)) if plugin is not None else []


def _images_read_by(plugin: PluginReader, folder: Path) -> list[str]:
    """Return the images in a folder that a reader of another package opens."""
    paths = [path for path in _list_folder(folder, plugin) if plugin.accepts(str(path))]
    if not paths:
        raise ImageError(f"folder {folder} holds no file that {plugin.description} reads; choose another --reader")
    return [part for path in paths for part in _parts_of(path, plugin)]


def _expand_pattern(pattern: str, plugin: PluginReader | None) -> list[str]:
    """Return the matches of a shell pattern, except plain folders and files inside a zarr."""
    images: list[Path] = []
    for path in _matches(Path(pattern).expanduser()):  # a folder is sorted before its contents
        if not _is_image(path, plugin):
            continue
        inside = any(parent in images for parent in path.parents)
        if not inside and (path.is_dir() or not any(map(is_zarr, path.parents))):
            images.append(path)
    if not images:
        raise ImageError(f"nothing matches {pattern}; check the folder and the suffix")
    return [part for path in images for part in _parts_of(path, plugin)]


def _matches(pattern: Path) -> list[Path]:
    """Return the matches of a shell pattern in `natural_order`; the name of an existing folder in it is no pattern."""
    return [Path(path) for path in sorted(matches(pattern), key=natural_order)]


def images_in(folder: Path, reader: str = "") -> list[str]:
    """Return the images directly in a folder, in `natural_order`.

    Args:
        folder: the folder.
        reader: as for `find_images`.

    Raises:
        ImageError: if the folder cannot be read or holds no image, or the reader is not installed.
    """
    plugin = _plugin(reader)
    if plugin is not None:
        return _images_read_by(plugin, folder)
    images = [path for path in _list_folder(folder) if suffix_of(path.name) or is_dicom_folder(path)]
    if not images:
        known = ", ".join(last_parts(IMAGE_SUFFIXES))
        others = "".join(f"; {note}" for note in skipped_files([folder])) + _nested_note(folder)
        raise ImageError(f"folder {folder} holds no images; supported suffixes: {known}{others}")
    return _omit_set_members([part for path in images for part in _parts_of(path)])


def _nested_note(folder: Path) -> str:
    """Return how to reach DICOM series in folders of a folder, as on a medium with an index; "" if there are none."""
    if (nested := nested_series(folder)) is None:
        return ""
    return f"; {nested.relative_to(folder)} holds a DICOM series: '{folder}/**' stands for all of them"


def skipped_files(inputs: Iterable[object]) -> list[str]:
    """Return notes on files in folders that are skipped: images with unknown suffixes, and links to what is not there.

    Args:
        inputs: as for `find_images`, or anything else. Only paths of folders matter; of the files in them that have
            an unknown suffix, the first bytes are read.

    Raises:
        ImageError: if a folder cannot be read.
    """
    folders = [Path(path).expanduser() for path in inputs if isinstance(path, str | os.PathLike)]
    notes = []
    for folder in (folder for folder in folders if folder.is_dir() and not is_image_folder(folder)):
        if names := list(_unknown_images(folder)):
            listed = ", ".join(names[:_LISTED]) + (" ..." if len(names) > _LISTED else "")
            notes.append(
                f"skipped {len(names)} {'file' if len(names) == 1 else 'files'} with unknown suffixes in {folder}: "
                f"{listed}; name or rename them to include them"
            )
        links = [path.name for path in sorted(folder.iterdir()) if path.is_symlink() and not path.exists()]
        if broken := [name for name in links if suffix_of(name)]:
            notes.append(f"skipped links in {folder} to files that are not there: {', '.join(broken[:_LISTED])}")
    return notes


def _unknown_images(folder: Path) -> Iterator[str]:
    """Yield the names of files and zarr folders that are images by their content, but not by their suffix."""
    for path in _list_folder(folder):
        if not suffix_of(path.name) and (is_zarr(path) if path.is_dir() else _is_other_image(path)):
            yield path.name


def _is_other_image(path: Path) -> bool:
    """Return whether a file begins like an image, and is not the .img of a NIfTI whose .hdr has a known suffix."""
    return _has_signature(path) and not (path.suffix.lower() == ".img" and path.with_suffix(".hdr").is_file())


def _has_signature(path: Path) -> bool:
    """Return whether a file begins like an image; False if it cannot be read."""
    try:
        return read_head(path).startswith(_TIFF_SIGNATURES) or find_reader(path) is not None
    except OSError:
        return False


def _list_folder(folder: Path, plugin: PluginReader | None = None) -> list[Path]:
    """Return the files and zarr folders in a folder in `natural_order`, except hidden and unfinished ones."""
    try:
        paths = sorted(folder.iterdir(), key=natural_order)
    except OSError as error:
        raise ImageError(f"folder {folder} cannot be read ({error.strerror}); check its permissions") from error
    return [path for path in paths if _is_image(path, plugin if path.is_file() else None)]


def _is_image(path: Path, plugin: PluginReader | None = None) -> bool:
    """Return whether a path is neither hidden, nor part of an unfinished job, nor a folder of other files."""
    if path.name.startswith(".") or path.name.lower().endswith(_UNFINISHED_SUFFIXES):
        return False
    return _is_image_folder(path, plugin) if path.is_dir() else path.is_file()
