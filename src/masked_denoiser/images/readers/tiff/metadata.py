"""Pixel size, units, channels and values of a TIFF, in the conventions of the programs that write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from tifffile import PHOTOMETRIC, TiffFile, TiffPageSeries

from masked_denoiser.images.readers.tiff import microscopes
from masked_denoiser.images.readers.tiff.calibration import Calibration
from masked_denoiser.images.readers.tiff.imagej import read_imagej
from masked_denoiser.images.readers.tiff.ome.calibration import read_ome
from masked_denoiser.images.readers.tiff.ome.sets import missing_metadata_note
from masked_denoiser.images.readers.tiff.slides import from_aperio, from_leica, from_perkin_elmer, from_ventana

_INCH_UNIT, _CENTIMETER_UNIT = 2, 3
_MICROMETERS_PER_CENTIMETER = 10_000.0
_XMP_TAG = 700
#: Default pixels per inch of programs, which are unrelated to the specimen.
_DEFAULT_DPI = (1, 72, 96, 300)
#: Flag and metadata of tifffile for a microscope, to what reads them.
_MICROSCOPES: dict[str, Callable[[Mapping[str, Any]], Calibration]] = {
    "fei": microscopes.from_fei,
    "sem": microscopes.from_zeiss_sem,
    "sis": microscopes.from_olympus_sis,
    "tvips": microscopes.from_tvips,
    "stk": microscopes.from_metamorph,
    "lsm": microscopes.from_lsm,
}


def read_calibration(tif: TiffFile, series: TiffPageSeries) -> Calibration:
    """Return the calibration of the full-resolution pixels of a series."""
    if tif.is_ome and tif.ome_metadata:
        if not (missing := missing_metadata_note(tif)):
            return read_ome(tif, series)
        resolution = _from_resolution(int(series.keyframe.resolutionunit), *_pixels_per_unit(series.keyframe))
        return replace(resolution, notes=(missing,))
    if tif.is_imagej and tif.imagej_metadata:
        page = series.keyframe
        inverted = page.photometric == PHOTOMETRIC.MINISWHITE and 262 in page.tags
        return read_imagej(
            tif.imagej_metadata,
            _imagej_pixels_per_unit(tif.imagej_metadata, page),
            np.dtype(series.dtype),
            page.colormap,
            min_is_white=inverted,
        )
    if tif.is_svs:
        return from_aperio(series.keyframe.description)
    if tif.is_scn:
        return from_leica(tif.pages.first.description, tif.series.index(series))
    if tif.is_bif:
        return from_ventana(page.aspage().tags.valueof(_XMP_TAG) for page in tif.pages)
    from_tags = _from_resolution(int(series.keyframe.resolutionunit), *_pixels_per_unit(series.keyframe))
    if tif.is_qpi:
        pages = (page.aspage() for page in series.pages if page is not None)
        found = from_perkin_elmer((page.description for page in pages), tif.filename)
        return replace(found, steps=from_tags.steps, units=from_tags.units)
    return _from_microscope(tif, from_tags)


def _from_microscope(tif: TiffFile, from_tags: Calibration) -> Calibration:
    """Return what a microscope declares, with the pixel size from the resolution tags if it declares none."""
    for kind, read in _MICROSCOPES.items():
        metadata = getattr(tif, f"{kind}_metadata") if getattr(tif, f"is_{kind}") else None
        if isinstance(metadata, Mapping):
            found = read(metadata)
            return found if found.steps else replace(found, steps=from_tags.steps, units=from_tags.units)
    return from_tags


def _from_resolution(unit: int, x_per_unit: float, y_per_unit: float) -> Calibration:
    micrometers = {_INCH_UNIT: 25_400.0, _CENTIMETER_UNIT: _MICROMETERS_PER_CENTIMETER}.get(unit, 0.0)
    steps = {a: micrometers * _inverse(n) for a, n in (("Y", y_per_unit), ("X", x_per_unit))}
    if not all(steps.values()) or all(round(25_400 / step, 1) in _DEFAULT_DPI for step in steps.values()):
        return Calibration()
    return Calibration(steps, dict.fromkeys(steps, "micrometer"))


def _pixels_per_unit(page: Any) -> tuple[float, float]:
    """Return the resolution tags along X and Y; 0 for missing or broken ones."""
    ratios = (page.tags.valueof(tag, default=(0, 1)) for tag in ("XResolution", "YResolution"))
    x, y = (numerator / denominator if denominator else 0.0 for numerator, denominator in ratios)
    return x, y


def _imagej_pixels_per_unit(metadata: Mapping[str, Any], page: Any) -> tuple[float, float]:
    """Return the resolution tags in the unit of the ImageJ metadata.

    Micro-Manager states a resolution per centimeter next to the unit "um"; `ij.io.FileOpener` converts this pair alone.
    """
    mixed = metadata.get("unit") == "um" and int(page.resolutionunit) == _CENTIMETER_UNIT
    x, y = _pixels_per_unit(page)
    return (x / _MICROMETERS_PER_CENTIMETER, y / _MICROMETERS_PER_CENTIMETER) if mixed else (x, y)


def _inverse(number: float) -> float:
    return 1 / number if number else 0.0
