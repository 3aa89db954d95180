"""Sources from all that tifffile reads: plain, ImageJ, OME, Big, tiled TIFF, and slides such as SVS."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from tifffile import PHOTOMETRIC, TIFF, TiffFile, TiffFileError, TiffPageSeries

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import UNKNOWN
from masked_denoiser.images.declared_fill_values import GDAL_NODATA, fill_values_of
from masked_denoiser.images.readers.base import Found, check_pixels
from masked_denoiser.images.readers.chunk_cache import CACHE_BYTES, ChunkedArray, cached
from masked_denoiser.images.readers.raw_file import RawChunk, RawFile
from masked_denoiser.images.readers.tiff_metadata import read_calibration
from masked_denoiser.images.source import AXES
from masked_denoiser.images.validation.tiff import check_text, check_whole, guard_pieces, missing_pages

_ASSOCIATED = {"label", "macro", "map", "thumbnail", "overview"}
_UNSTITCHED = "its tiles may overlap at seams; they are taken side by side, as the scanner stored them"
#: Strips are fetched together up to so many rows, since a fetch costs more than a thin strip,
_BLOCK_ROWS = 128
#: and kept for at least so many, or each tile of a row of tiles would decode them again.
_BAND_ROWS = 1024


def find_tiff(path: Path) -> Found:
    """An image file, opened with its largest image; uncompressed pixels are read from where they lie.

    Raises:
        ImageError: if it is no TIFF, truncated, corrupt, holds no image, or is compressed in an unknown way.
    """
    with _explained(path), ExitStack() as stack:
        tif = stack.enter_context(TiffFile(path))
        check_text(tif, path)
        series, notes = _chosen(tif, path)
        found = _found(tif, series, path, notes, stack)
        return Found(**{**vars(found), "closer": stack.pop_all().close})


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Says what tifffile says in one line."""
    try:
        yield
    except ImageError:
        raise
    except TiffFileError as error:
        if "not a TIFF file" in str(error):
            raise ImageError(f"{path}: is no TIFF, PNG or JPEG; convert it to one, or to OME-Zarr") from error
        raise ImageError(f"{path}: is a broken TIFF ({str(error)[:300]}); copy or export it again") from error
    except (
        struct.error,
        ValueError,
        LookupError,
        AssertionError,  # tifffile's own, on tags that contradict each other
        OSError,
        ArithmeticError,
        AttributeError,
        TypeError,
        RuntimeError,
    ) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ImageError(f"{path}: is a truncated or broken TIFF ({reason}); copy or export it again") from error


def _chosen(tif: TiffFile, path: Path) -> tuple[TiffPageSeries, tuple[str, ...]]:
    """The largest image that is no label or thumbnail, the first of equals; and what was left out."""
    whole = [s for s in tif.series if s.size and len(s.keyframe.dataoffsets)]
    if not whole:
        raise ImageError(f"{path}: holds no image, or is truncated; copy or export it again")
    # By whole words, and not if nothing were left: an image may be called "label-free" or "macrophages".
    images = [s for s in whole if not _ASSOCIATED & set(re.split(r"[\W_]+", s.name.lower()))]
    best = max(images or whole, key=lambda s: s.size)
    others = [s.name or f"image {i}" for i, s in enumerate(tif.series) if s is not best]
    if not others:
        return best, ()
    at = tif.series.index(best) + 1
    return best, (f"image {at} of {len(tif.series)} was opened; left out: {', '.join(others)}",)


def _found(tif: TiffFile, series: TiffPageSeries, path: Path, notes: tuple[str, ...], stack: ExitStack) -> Found:
    levels = [level for level in series.levels if level.ndim == series.ndim]
    keyframe = series.keyframe
    check_pixels(series.shape, series.dtype, str(path))
    if keyframe.compression not in TIFF.DECOMPRESSORS:
        raise ImageError(f"{path}: its compression {keyframe.compression!r} cannot be read; export it with another")
    for level in levels:
        check_whole(tif, level, path)
    known = read_calibration(tif, series)
    arrays = _arrays(series, levels, stack)
    return Found(
        arrays,
        path.name,
        "".join(a if a in AXES else UNKNOWN for a in series.axes),
        rgb=keyframe.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR),
        pixel_sizes=tuple(_scaled(known.steps, series, level) for level in levels),
        units=known.units,
        channel_names=known.channel_names,
        channel_colours=known.channel_colours,
        path=path,
        inputs=_files(series),
        fill_values=_fill_values(series),
        notes=(*notes, *missing_pages(series), *_heavy(arrays[0]), *([_UNSTITCHED] if tif.is_bif else [])),
    )


def _fill_values(series: TiffPageSeries) -> tuple[float, ...]:
    """What the first page declares, as GDAL does."""
    tag = series.keyframe.tags.get(GDAL_NODATA)
    return () if tag is None else fill_values_of([tag.value], np.dtype(series.dtype))


def _files(series: TiffPageSeries) -> tuple[Path, ...]:
    """All files of a series: an OME-TIFF may be spread over several."""
    if not series.is_multifile:
        return ()
    return tuple(sorted({Path(page.parent.filehandle.path) for page in series.pages if page is not None}))


def _scaled(steps: dict[str, float], series: TiffPageSeries, level: TiffPageSeries) -> dict[str, float]:
    ratios = {a: full / side for a, full, side in zip(series.axes, series.shape, level.shape, strict=True)}
    return {a: step * ratios[a] for a, step in steps.items() if a in ratios}


def _arrays(series: TiffPageSeries, levels: list[TiffPageSeries], stack: ExitStack) -> tuple[ChunkedArray, ...]:
    flat = [_flat(level) for level in levels]
    if None in flat:
        store = stack.enter_context(series.aszarr())
        node = zarr.open(store, mode="r", zarr_format=2)
        nodes = [node] if isinstance(node, zarr.Array) else [node[str(series.levels.index(level))] for level in levels]
        for level in levels:
            guard_pieces(level)
        flat = [f or _decoded(n, level.axes) for f, n, level in zip(flat, nodes, levels, strict=True)]
    arrays = tuple(array for array in flat if array is not None)
    for array in arrays:
        stack.callback(array.close)
    return arrays


def _flat(series: TiffPageSeries) -> ChunkedArray | None:
    """Uncompressed pixels, read from where they lie in the file; None where there are others."""
    starts, inner = _contiguous(series)
    if not starts:
        return None
    outer = series.shape[: series.ndim - len(inner)]
    dtype = np.dtype(series.dtype).newbyteorder(series.keyframe.parent.byteorder)
    file = RawFile(Path(series.keyframe.parent.filehandle.path))

    def fetch(index: tuple[int, ...]) -> RawChunk:
        at = int(np.ravel_multi_index(index[: len(outer)], outer)) if outer else 0
        return RawChunk(file, starts[at], (1,) * len(outer) + inner, dtype)

    return ChunkedArray(series.shape, dtype, (1,) * len(outer) + inner, fetch, keep_bytes=0)


def _contiguous(series: TiffPageSeries) -> tuple[list[int], tuple[int, ...]]:
    """Where the uncompressed pixels of the series, or of each page, begin, and the shape of each; none otherwise."""
    pages = [page for page in series.pages if page is not None]
    if series.is_multifile or series.transform is not None or len(pages) < len(series.pages):
        return [], ()
    if not series.keyframe.is_final or not all(_in_one_piece(page) for page in pages):
        return [], ()
    if series.dataoffset is not None:
        return [series.dataoffset], series.shape
    inner = next(series.shape[i:] for i in range(series.ndim + 1) if prod(series.shape[:i]) >= len(pages))
    if prod(inner) != prod(series.keyframe.shape):
        return [], ()
    return [page.dataoffsets[0] for page in pages], inner


def _in_one_piece(page: Any) -> bool:
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    return bool(ends) and page.dataoffsets[0] > 0 and ends[:-1] == list(page.dataoffsets[1:])


def _decoded(array: Any, axes: str) -> ChunkedArray:
    """Compressed tiles as they are; strips in blocks of some rows, of which a band over the image is kept."""
    blocks = list(array.chunks)
    y, x = axes.find("Y"), axes.find("X")
    if min(y, x) < 0 or blocks[x] < array.shape[x]:
        return cached(array, tuple(blocks))
    blocks[y] = min(array.shape[y], blocks[y] * ceil(_BLOCK_ROWS / blocks[y]))
    return cached(array, tuple(blocks), max(CACHE_BYTES, _band_bytes(array, blocks, axes)))


def _band_bytes(array: Any, blocks: list[int], axes: str) -> int:
    rows = max(blocks[axes.index("Y")], min(_BAND_ROWS, array.shape[axes.index("Y")]))
    sides = {a: side for a, side in zip(axes, array.shape, strict=True) if a in "XS"}
    return int(rows * prod(sides.values()) * array.dtype.itemsize)


def _heavy(array: ChunkedArray) -> tuple[str, ...]:
    if array.keep_bytes <= CACHE_BYTES:
        return ()
    size = array.keep_bytes / 2**30
    return (f"its strips are long: {size:.1f} GB of them are kept in memory; a tiled TIFF or OME-Zarr needs less",)
