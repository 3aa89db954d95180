"""Reader of every TIFF that tifffile supports: plain, ImageJ, OME, BigTIFF, tiled, and slides such as SVS."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TIFF, TiffFile, TiffFileError, TiffPageSeries

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import UNKNOWN
from masked_denoiser.images.metadata.declared_fill_values import GDAL_NODATA, fill_values_of
from masked_denoiser.images.metadata.level_geometry import first_centre, level_ratios
from masked_denoiser.images.metadata.own_attributes import stored_metadata
from masked_denoiser.images.metadata.value_calibration import calibration_notes
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.converted import Conversion, LevelArray
from masked_denoiser.images.readers.orientation import (
    ORIENTATION,
    is_transposed,
    orientation_note,
    upright_level,
    valid_orientation,
)
from masked_denoiser.images.readers.tiff.calibration import Calibration
from masked_denoiser.images.readers.tiff.colour import read_colour
from masked_denoiser.images.readers.tiff.metadata import read_calibration
from masked_denoiser.images.readers.tiff.ome.sets import further_files, open_tiff
from masked_denoiser.images.readers.tiff.pixels import cache_note, open_levels
from masked_denoiser.images.readers.tiff.series import choose_series, positions, undeclared_pages_note
from masked_denoiser.images.source import AXES
from masked_denoiser.images.validation.ome_xml import own_attributes_in
from masked_denoiser.images.validation.tiff import check_complete, missing_pages_note

_UNSTITCHED = "tiles may overlap at seams: they are placed side by side, as the scanner stored them"
_EXCHANGED = str.maketrans("YX", "XY")


class NotTiffError(ImageError):
    """A file that does not begin like a TIFF."""


def read_tiff(path: Path, part: str = "") -> ReaderResult:
    """Open an image of a TIFF; uncompressed pixels are read directly from the file.

    Args:
        path: of the file.
        part: name of the image, or its number from 0; "" for the largest.

    Raises:
        NotTiffError: if it does not begin like a TIFF.
        ImageError: if it is truncated, corrupt, without image, of an unknown compression, or of colours
            that cannot be converted.
    """
    with _wrap_tiff_errors(path), ExitStack() as stack:
        tif = stack.enter_context(open_tiff(path))
        series, notes = choose_series(tif, path, part)
        found = _describe(tif, series, path, notes, stack)
        return replace(found, closer=stack.pop_all().close)


def list_positions(path: Path) -> list[str]:
    """Return the names of the images of a TIFF that are as large as the largest.

    Raises:
        ImageError: see `read_tiff`.
    """
    with _wrap_tiff_errors(path), open_tiff(path) as tif:
        # Listing the images of a set would open all of its files, for each of them.
        several = len(re.findall(r"<(?:\w+:)?Image[ >]", tif.ome_metadata or "")) > 1
        return positions(tif, path) if several else []


@contextmanager
def _wrap_tiff_errors(path: Path) -> Iterator[None]:
    """Raise errors of tifffile as ImageError with a one-line message."""
    try:
        yield
    except ImageError:
        raise
    except TiffFileError as error:
        if "not a TIFF file" in str(error):
            raise NotTiffError(f"{path}: is of no supported format; convert it to TIFF or OME-Zarr") from error
        raise ImageError(f"{path}: is a broken TIFF ({str(error)[:300]}); copy or export it again") from error
    except (
        struct.error,
        ValueError,
        LookupError,
        AssertionError,  # raised by tifffile for contradictory tags
        OSError,
        ArithmeticError,
        AttributeError,
        TypeError,
        RuntimeError,
    ) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ImageError(f"{path}: is a truncated or broken TIFF ({reason}); copy or export it again") from error


@dataclass(frozen=True)
class _Level:
    """A pyramid level: its stored samples, and how they become pixels."""

    series: TiffPageSeries
    conversions: tuple[Conversion, ...]

    @property
    def axes(self) -> str:
        """Axes of the pixels, as tifffile names them."""
        axes = self.series.axes
        for conversion in self.conversions:
            axes = conversion.of_axes(axes)
        return axes

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the pixels."""
        return self.conversions[-1].dtype if self.conversions else np.dtype(self.series.dtype)


def _describe(
    tif: TiffFile, series: TiffPageSeries, path: Path, notes: tuple[str, ...], stack: ExitStack
) -> ReaderResult:
    _check_readable(tif, series, path)
    colour, calibration = read_colour(tif, series, path), read_calibration(tif, series)
    levels = _levels(tif, series, calibration, path)
    orientation = valid_orientation(series.keyframe.tags.valueof(ORIENTATION))
    stored = open_levels(series, [level.series for level in levels], stack)
    ratios = level_ratios(series.axes, [level.series.shape for level in levels])
    geometry = [_geometry(calibration, ratio) for ratio in ratios]
    found = ReaderResult(
        tuple(_to_pixels(array, level, orientation) for array, level in zip(stored, levels, strict=True)),
        "".join(a if a in AXES else UNKNOWN for a in levels[0].axes),
        rgb=colour.rgb,
        pixel_sizes=tuple(_exchange_if_transposed(steps, orientation) for steps, _ in geometry),
        origins=tuple(_exchange_if_transposed(origin, orientation) for _, origin in geometry),
        name=path.name,
        units=_exchange_if_transposed(calibration.units, orientation),
        channel_names=calibration.channel_names,
        channel_colours=calibration.channel_colours or ((colour.channel_colour,) if colour.channel_colour else ()),
        windows=calibration.windows,
        path=path,
        inputs=further_files(tif, series, path),
        fill_values=_fill_values(levels[0]),
        alpha=colour.alpha,
        value_calibration=calibration.value_calibration,
        notes=(
            *notes,
            *_completeness_notes(tif, series),
            *cache_note(stored[0]),
            *colour.notes,
            *calibration.notes,
            *orientation_note(orientation),
        ),
    )
    return _with_stored_metadata(found, tif, levels[0].dtype)


def _with_stored_metadata(found: ReaderResult, tif: TiffFile, dtype: np.dtype[Any]) -> ReaderResult:
    """Return what was found together with what an output of this program stored."""
    own = own_attributes_in(tif.ome_metadata or "", tif.filename) if tif.is_ome else {}
    stored = stored_metadata(own, dtype)
    return replace(found, **stored, notes=(*found.notes, *calibration_notes(stored.get("value_calibration", {}))))


def _check_readable(tif: TiffFile, series: TiffPageSeries, path: Path) -> None:
    """Check dtype, compression and length.

    Raises:
        ImageError: if one of them prevents reading.
    """
    check_pixels(series.shape, series.dtype, str(path))
    compression = series.keyframe.compression
    if compression not in TIFF.DECOMPRESSORS:
        raise ImageError(f"{path}: its compression {compression!r} is not supported; export it with another")
    for level in series.levels:
        check_complete(tif, level, path)


def _levels(tif: TiffFile, series: TiffPageSeries, calibration: Calibration, path: Path) -> list[_Level]:
    """Return the levels whose pixels have the axes and the dtype of full resolution."""
    offset = (_add(calibration.offset),) if calibration.offset else ()
    levels = [
        _Level(level, (*read_colour(tif, level, path).conversions, *offset))
        for level in series.levels
        if level.ndim == series.ndim
    ]
    return [level for level in levels if (level.axes, level.dtype) == (levels[0].axes, levels[0].dtype)]


def _add(offset: int) -> Conversion:
    """Return the conversion of uint16 to int16 by adding a negative offset."""
    return Conversion(lambda stored: (stored.astype(np.int32) + offset).astype(np.int16), np.dtype(np.int16))


def _to_pixels(stored: LevelArray, level: _Level, orientation: int) -> LevelArray:
    pixels = stored
    for conversion in level.conversions:
        pixels = conversion.apply_to(pixels)
    return upright_level(pixels, level.axes, orientation)


def _exchange_if_transposed(values: dict[str, Any], orientation: int) -> dict[str, Any]:
    """Return values by axis letter, with those of Y and X exchanged if rows and columns are."""
    if not is_transposed(orientation):
        return values
    return {axis.translate(_EXCHANGED): value for axis, value in values.items()}


def _completeness_notes(tif: TiffFile, series: TiffPageSeries) -> Sequence[str]:
    stitched = (_UNSTITCHED,) if tif.is_bif else ()
    return (*missing_pages_note(series), *undeclared_pages_note(tif, series), *stitched)


def _fill_values(level: _Level) -> tuple[float, ...]:
    """Return the fill value that the first page declares, as GDAL writes it, in the pixels that it becomes."""
    tag = level.series.keyframe.tags.get(GDAL_NODATA)
    dtype = np.dtype(level.series.dtype)
    values = () if tag is None else fill_values_of([tag.value], dtype)
    for conversion in level.conversions:
        values, dtype = conversion.of_values(values, dtype), conversion.dtype
    return values


def _geometry(calibration: Calibration, ratios: dict[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Return pixel size and origin of a level by axis letter, from its `level_ratios`."""
    steps = {a: step for a, step in calibration.steps.items() if a in ratios}
    origin = {a: first_centre(calibration.origin.get(a, 0.0), step, ratios[a]) for a, step in steps.items()}
    return {a: step * ratios[a] for a, step in steps.items()}, calibration.origin | origin
