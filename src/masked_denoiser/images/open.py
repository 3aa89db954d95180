"""Opens any image as a source; the libraries behind a format load only when one is opened."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.base import Found, find_array, to_source
from masked_denoiser.images.source import Lazy, Source


def open_image(source: str | os.PathLike[str] | Lazy | Source, *, axes: str | None = None, level: int = 0) -> Source:
    """Opens an image without reading its pixels.

    Args:
        source: a TIFF of any kind (ImageJ, OME, BigTIFF, SVS), a PNG or JPEG, a zarr array or OME-Zarr group
            on disk or at an http, https or s3 address, an array in memory (numpy, dask, zarr), or a source. Files are
            opened for reading only.
        axes: one letter of TCZYXS a dimension, such as "ZYX"; None takes them from the metadata or guesses them,
            and a guess stands in the source's `notes`.
        level: the pyramid level to take as full resolution; finer ones are left out.

    Returns:
        A source, which any thread may read. Close it, or use it in a `with` statement.

    Raises:
        ImageError: before anything is read, where the image is missing, unreadable, truncated, empty, not an image,
            of complex or structured pixels, or does not have these axes or this level.
    """
    if isinstance(source, Source):
        if axes is None and level == 0:
            return source
        return replace(to_source(_found_again(source), axes, level), selection=source.selection)
    found = _find(os.fspath(source)) if isinstance(source, str | os.PathLike) else _find_in_memory(source)
    try:
        return to_source(found, axes, level)
    except ImageError:
        if found.closer is not None:
            found.closer()
        raise


def _find(name: str) -> Found:
    if "://" in name:
        from masked_denoiser.images.readers.zarr_remote import find_remote

        return find_remote(name)
    path = Path(name).expanduser()
    _check_readable(path)
    if path.is_dir():
        from masked_denoiser.images.readers.zarr import find_zarr

        return find_zarr(path)
    from masked_denoiser.images.readers.png_jpeg import find_photo, is_photo

    if is_photo(path):
        return find_photo(path)
    from masked_denoiser.images.readers.tiff import find_tiff

    return find_tiff(path)


def _check_readable(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ImageError(f"{path}: cannot be found ({error.strerror}); check the path") from error
    if not os.access(path, os.R_OK):
        raise ImageError(f"{path}: may not be read; ask for the right to, or copy it")
    if path.is_file() and size == 0:
        raise ImageError(f"{path}: is an empty file; copy or export the image again")


def _find_in_memory(array: Lazy) -> Found:
    # The type's module tells a zarr array without loading zarr for those who have none.
    if type(array).__module__.partition(".")[0] == "zarr":
        from masked_denoiser.images.readers.zarr import find_zarr_object

        return find_zarr_object(array)
    return find_array(array)


def _found_again(source: Source) -> Found:
    return Found(
        source.levels,
        source.name,
        source.axes,
        source.rgb,
        _steps_of_levels(source),
        source.units,
        source.channel_names,
        source.channel_colours,
        source.windows,
        source.path,
        source.inputs,
        source.notes,
        _origins_of_levels(source),
        source.closer,
        source.url,
        source.fill_values,
    )


def _steps_of_levels(source: Source) -> tuple[dict[str, float], ...]:
    return tuple(
        {a: step * source.sizes[a] / data.shape[source.axes.index(a)] for a, step in source.pixel_size.items()}
        for data in source.levels
    )


def _origins_of_levels(source: Source) -> tuple[dict[str, float], ...]:
    """A pixel of a lower level lies over those that it is the mean of; where no size is known, it is the unit."""
    letters = dict.fromkeys((*source.pixel_size, *source.origin))
    origins = []
    for data in source.levels:
        ratios = {a: source.sizes[a] / data.shape[source.axes.index(a)] for a in letters}
        shifted = {
            a: source.origin.get(a, 0.0) + source.pixel_size.get(a, 1.0) * (r - 1) / 2 for a, r in ratios.items()
        }
        origins.append({a: at if a in source.pixel_size else at / ratios[a] for a, at in shifted.items()})
    return tuple(origins)
