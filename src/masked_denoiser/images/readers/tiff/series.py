"""Choice of the image of a TIFF to open, and notes on the others."""

from __future__ import annotations

import re
from pathlib import Path

from tifffile import TiffFile, TiffPageSeries

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.registry import one_part
from masked_denoiser.images.readers.tiff.ome.sets import is_companion

_ASSOCIATED_IMAGES = {"label", "macro", "map", "thumbnail", "overview"}


def choose_series(tif: TiffFile, path: Path, part: str = "") -> tuple[TiffPageSeries, tuple[str, ...]]:
    """Return an image and a note on omitted images.

    The files of a set of OME-TIFF each describe the images of all; only if this one has no pixels is an image of
    another file returned.

    Args:
        tif: the open file.
        path: of the file.
        part: name of the image, or its number from 0; "" for the largest that is no label or thumbnail, of several the
            first.

    Raises:
        ImageError: if there is no image, or no such image.
    """
    listed, complete = _images(tif, path)
    equal = _positions(complete)
    largest = complete[one_part(path, part, _names(complete))] if part else equal[0]
    others = [_described(s, complete, path) for s in listed if s is not largest]
    file = largest.keyframe.parent.filename
    is_stored = _has_pages_in(tif, largest)
    elsewhere = () if is_stored or is_companion(path) else (f"it has no pixels of its own; those of {file} are read",)
    if part or not others:
        return largest, elsewhere
    opened = f"image {listed.index(largest) + 1} of {len(listed)} was opened; omitted: {', '.join(others)}"
    if len(equal) > 1:
        opened += f"; '{path.name}::{_names(complete)[complete.index(equal[1])]}' is the next one"
    return largest, (opened, *elsewhere)


def positions(tif: TiffFile, path: Path) -> list[str]:
    """Return the names of the images of a file that are as large as the largest, such as the positions of a stage.

    Raises:
        ImageError: if there is no image.
    """
    _, complete = _images(tif, path)
    names = _names(complete)
    return [names[complete.index(series)] for series in _positions(complete)]


def _described(image: TiffPageSeries, complete: list[TiffPageSeries], path: Path) -> str:
    """Return the name of an image, or how to open one that has none."""
    number = next((i for i, other in enumerate(complete) if other is image), None)
    return image.name or ("an image without pixels" if number is None else f"'{path.name}::{number}'")


def _names(images: list[TiffPageSeries]) -> list[str]:
    """Return the names of images, or their numbers if these are not different."""
    names = [series.name for series in images]
    return names if len({*names}) == len(names) and all(names) else [str(number) for number in range(len(names))]


def _positions(images: list[TiffPageSeries]) -> list[TiffPageSeries]:
    # Whole words, and only if images remain: an image may be called "label-free" or "macrophages".
    kept = [s for s in images if not _ASSOCIATED_IMAGES & set(re.split(r"[\W_]+", s.name.lower()))] or images
    largest = max(series.size for series in kept)
    return [series for series in kept if series.size == largest]


def _images(tif: TiffFile, path: Path) -> tuple[list[TiffPageSeries], list[TiffPageSeries]]:
    """Return all images of a file, and those with pixels.

    Raises:
        ImageError: if there are none.
    """
    stored = [s for s in tif.series if _has_pages_in(tif, s)]
    listed = stored or tif.series
    complete = [s for s in listed if s.size and len(s.keyframe.dataoffsets)]
    if not complete:
        raise ImageError(f"{path}: contains no image, or is truncated; copy or export it again")
    return listed, complete


def _has_pages_in(tif: TiffFile, series: TiffPageSeries) -> bool:
    return any(page.parent is tif for page in series.pages if page is not None)


def undeclared_pages_note(tif: TiffFile, series: TiffPageSeries) -> tuple[str, ...]:
    """Return a note on pages that are in the file but not in its OME-XML, as after an edited or aborted acquisition."""
    if series.kind != "ome" or not _has_pages_in(tif, series):
        return ()
    pages = [page for one in tif.series for level in one.levels for page in level.pages if page is not None]
    declared = {page.offset for page in pages if page.parent is tif}
    count = len(tif.pages)
    omitted = sum(page.offset not in declared for page in tif.pages)
    if not omitted:
        return ()
    return (f"{omitted} of {count} pages of the file are not declared in its OME-XML and are omitted",)
