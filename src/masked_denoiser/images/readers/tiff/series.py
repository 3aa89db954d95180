"""Choice of the image of a TIFF to open, and notes on the others."""

from __future__ import annotations

import re
from pathlib import Path

from tifffile import TiffFile, TiffPageSeries

from masked_denoiser.errors import ImageError

_ASSOCIATED_IMAGES = {"label", "macro", "map", "thumbnail", "overview"}


def choose_series(tif: TiffFile, path: Path) -> tuple[TiffPageSeries, tuple[str, ...]]:
    """Return the largest image that is no label or thumbnail, the first of equals, and a note on omitted images.

    Raises:
        ImageError: if there is no image.
    """
    complete = [s for s in tif.series if s.size and len(s.keyframe.dataoffsets)]
    if not complete:
        raise ImageError(f"{path}: contains no image, or is truncated; copy or export it again")
    # Whole words, and only if images remain: an image may be called "label-free" or "macrophages".
    images = [s for s in complete if not _ASSOCIATED_IMAGES & set(re.split(r"[\W_]+", s.name.lower()))]
    largest = max(images or complete, key=lambda s: s.size)
    others = [s.name or f"image {i}" for i, s in enumerate(tif.series) if s is not largest]
    if not others:
        return largest, ()
    number = tif.series.index(largest) + 1
    return largest, (f"image {number} of {len(tif.series)} was opened; omitted: {', '.join(others)}",)


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


def file_paths(series: TiffPageSeries) -> tuple[Path, ...]:
    """Return all files of a series, as an OME-TIFF may be distributed over several."""
    if not series.is_multifile:
        return ()
    return tuple(sorted({Path(page.parent.filehandle.path) for page in series.pages if page is not None}))
