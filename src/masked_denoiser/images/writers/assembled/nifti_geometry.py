"""Geometry of a NIfTI header: pixel sizes, units and affines, which are those of a NIfTI input where there is one.

See https://nifti.nimh.nih.gov/nifti-1/documentation/nifti1fields/nifti1fields_pages/qsform.html.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from nibabel.spatialimages import HeaderDataError

from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.assembled.first_pixel import first_pixel

Array = np.ndarray[Any, Any]

#: Millimeters per unit of length that NIfTI cannot name or where the affine needs millimeters.
_MILLIMETERS = {
    "millimeter": 1.0, "micrometer": 1e-3, "nanometer": 1e-6, "meter": 1e3, "centimeter": 10.0, "angstrom": 1e-7,
    "inch": 25.4,
}  # fmt: skip
_SECONDS = {
    "second": 1.0,
    "millisecond": 1e-3,
    "microsecond": 1e-6,
    "nanosecond": 1e-9,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
}


def set_geometry(header: Any, source: Source, shape: list[int], template: Any) -> None:
    """Set pixel sizes, units and affines of a header.

    Args:
        header: a copy of `template`, or a new one.
        source: image whose geometry is stored.
        shape: of the output, in the order X, Y, Z, T.
        template: header of the NIfTI that the source was read from, which keeps its own geometry: qform and sform may
            differ. None for other images.
    """
    if template is not None and _axes_of(template) == source.axes.strip("CS"):
        _move_to_part(header, source)
    else:
        _set_sizes(header, source, shape)
        codes = (int(header["qform_code"]), int(header["sform_code"])) if template is not None else (1, 1)
        if source.affine:
            _set_affine(header, np.array(source.affine), *codes)


def _axes_of(template: Any) -> str:
    """Return the axes of a NIfTI in the order of C; others were requested if the source has others."""
    return "TZYX"[-min(4, len(template.get_data_shape())) :]


def _move_to_part(header: Any, source: Source) -> None:
    """Move the first pixel in both affines to that of the part of the file that the source is."""
    starts = first_pixel(source)
    first = [starts.get(axis, 0) for axis in "XYZ"]
    if not any(first):
        return
    if header["sform_code"] > 0:
        for name, at in zip("xyz", header.get_sform() @ [*first, 1], strict=False):
            header[f"srow_{name}"][3] = at
    if header["qform_code"] > 0:
        try:
            qform = header.get_qform()
        except (HeaderDataError, ValueError):  # its quaternion is no rotation, so that it states no place
            header["qform_code"] = 0
            return
        for name, at in zip("xyz", qform @ [*first, 1], strict=False):
            header[f"qoffset_{name}"] = at


def _set_sizes(header: Any, source: Source, shape: list[int]) -> None:
    """Set pixel sizes and units.

    Lengths are in millimeters, or in micrometers if those are the unit of the image and its place is unknown.
    """
    known = [a for a in "XYZ" if a in source.pixel_size and source.units.get(a, "") in _MILLIMETERS]
    small = not source.affine and {source.units[a] for a in known} == {"micrometer"}
    unit = ("micron" if small else "mm") if {"X", "Y"} <= set(known) else "unknown"
    factor = {a: _MILLIMETERS[source.units[a]] * (1e3 if small else 1) if a in known else 1.0 for a in "XYZ"}
    seconds = _SECONDS.get(source.units.get("T", ""), 0.0)
    zooms = [source.pixel_size.get(a, 1.0) * (factor[a] if unit != "unknown" else 1.0) for a in "XYZ"]
    header.set_zooms([*zooms, source.pixel_size.get("T", 1.0) * (seconds or 1.0)][: len(shape)])
    header.set_xyzt_units(unit, "sec" if seconds else "unknown")


def _set_affine(header: Any, affine: Array, qform: int, sform: int) -> None:
    if qform:
        header.set_qform(affine, qform, strip_shears=True)
    if sform or not qform:
        header.set_sform(affine, sform or 1)
