"""Choice of the image of a TIFF to open, and notes on the others."""

from __future__ import annotations

import re
from pathlib import Path

from tifffile import TiffFile, TiffPageSeries

from masked_denoiser.errors import ImageError

_ASSOCIATED_IMAGES = {"label", "macro", "map", "thumbnail", "overview"}


def choose_series(tif: TiffFile, path: Path) -> tuple[TiffPageSeries, tuple[str, ...]]:
    """Return the largest image that is no label or thumbnail, the first of equals, and a note on omitted images.

    The files of a set of OME-TIFF each describe the images of all; only if this one has no pixels is an image of
    another file returned.

    Raises:
        ImageError: if there is no image.
    """
    stored = [s for s in tif.series if _has_pages_in(tif, s)]
    listed = stored or tif.series
    complete = [s for s in listed if s.size and len(s.keyframe.dataoffsets)]
    if not complete:
        raise ImageError(f"{path}: contains no image, or is truncated; copy or export it again")
    # Whole words, and only if images remain: an image may be called "label-free" or "macrophages".
    images = [s for s in complete if not _ASSOCIATED_IMAGES & set(re.split(r"[\W_]+", s.name.lower()))]
    largest = max(images or complete, key=lambda s: s.size)
    others = [s.name or f"image {i}" for i, s in enumerate(listed) if s is not largest]
    file = largest.keyframe.parent.filename
    elsewhere = () if stored else (f"it has no pixels of its own; those of {file} are read",)
    if not others:
        return largest, elsewhere
    opened = f"image {listed.index(largest) + 1} of {len(listed)} was opened; omitted: {', '.join(others)}"
    return largest, (opened, *elsewhere)


def _has_pages_in(tif: TiffFile, series: TiffPageSeries) -> bool:
    return any(page.parent is tif for page in series.pages if page is not None)


def undeclared_pages_note(tif: TiffFile, series: TiffPageSeries) -> tuple[str, ...]:
    """Return a note on pages that are in the file but not in its OME-XML, as after an edited or aborted acquisition."""
    if series.kind != "ome":
        return ()
    pages = [page for one in tif.series for level in one.levels for page in level.pages if page is not None]
    declared = {page.offset for page in pages if page.parent is tif}
    count = len(tif.pages)
    omitted = sum(page.offset not in declared for page in tif.pages)
    if not omitted:
        return ()
    return (f"{omitted} of {count} pages of the file are not declared in its OME-XML and are omitted",)


def other_files(tif: TiffFile, series: TiffPageSeries) -> tuple[Path, ...]:
    """Return the files other than the opened one that pixels of a series are in, as of a set of OME-TIFF."""
    pages = (page for level in series.levels for page in level.pages if page is not None)
    return tuple(sorted({Path(page.parent.filehandle.path) for page in pages if page.parent is not tif}))
