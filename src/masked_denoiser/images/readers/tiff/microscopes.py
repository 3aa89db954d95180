"""Metadata of microscopes, as tifffile parses them: FEI, Zeiss, Olympus, TVIPS and MetaMorph.

Each function takes unvalidated metadata, and returns an empty calibration if they declare no pixel size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from masked_denoiser.images.metadata.units import unit_name
from masked_denoiser.images.readers.tiff.calibration import Calibration, in_micrometers, positive

_PER_METER = 1e6
_MICROMETERS = {
    "meter": 1e6, "centimeter": 1e4, "millimeter": 1e3, "micrometer": 1.0, "nanometer": 1e-3, "angstrom": 1e-4,
    "picometer": 1e-6,
}  # fmt: skip


def from_fei(metadata: Mapping[str, Any]) -> Calibration:
    """Return the calibration of an FEI (Thermo Fisher) electron microscope: the pixel of its scan, in meters."""
    scan = metadata.get("Scan")
    values = scan if isinstance(scan, Mapping) else {}
    height, width = (positive(values.get(key)) * _PER_METER for key in ("PixelHeight", "PixelWidth"))
    return in_micrometers(Y=height, X=width)


def from_zeiss_sem(metadata: Mapping[str, Any]) -> Calibration:
    """Return the calibration of a Zeiss electron microscope: (name, size, unit) of the pixels, which are square."""
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        entry = metadata.get(key)
        if isinstance(entry, tuple) and len(entry) == 3:
            size = positive(entry[1]) * _MICROMETERS.get(unit_name(entry[2]), 0.0)
            if size:
                return in_micrometers(Y=size, X=size)
    return Calibration()


def from_olympus_sis(metadata: Mapping[str, Any]) -> Calibration:
    """Return the calibration of Olympus' SIS software: pixel sizes in meters."""
    height, width = (positive(metadata.get(key)) * _PER_METER for key in ("pixelsizey", "pixelsizex"))
    return in_micrometers(Y=height, X=width)


def from_tvips(metadata: Mapping[str, Any]) -> Calibration:
    """Return the calibration of a TVIPS camera on an electron microscope: pixel sizes in nanometers."""
    height, width = (_nanometers(positive(metadata.get(key))) for key in ("PixelSizeY", "PixelSizeX"))
    return in_micrometers(Y=height / 1000, X=width / 1000)


def _nanometers(size: float) -> float:
    """Return a size of tifffile, which gave meters before version 2025.6.1; no microscope has pixels of 1e-6 nm."""
    return size * 1e9 if size < 1e-6 else size


def from_metamorph(metadata: Mapping[str, Any]) -> Calibration:
    """Return the calibration of a MetaMorph stack, if its pixels are calibrated."""
    unit = unit_name(metadata.get("CalibrationUnits"))
    x = positive(metadata.get("XCalibration"))
    y = positive(metadata.get("YCalibration")) or x
    if not (x and unit):
        return Calibration()
    steps = {"Y": y, "X": x} | ({"Z": z} if (z := _common(metadata.get("ZDistance"))) else {})
    return Calibration(steps, dict.fromkeys(steps, unit))


def _common(distances: Any) -> float:
    """Return the distance of the planes of a stack; 0 if there is none or it changes."""
    found = {positive(distance) for distance in np.ravel(distances)} if distances is not None else set()
    return found.pop() if len(found) == 1 else 0.0


def from_lsm(metadata: Mapping[str, Any]) -> Calibration:
    """Return the calibration of a Zeiss LSM: voxel sizes in meters, times in seconds, names and colours of channels."""
    z, y, x = (positive(metadata.get(f"VoxelSize{axis}")) * _PER_METER for axis in "ZYX")
    sizes = in_micrometers(Z=z, Y=y, X=x, T=positive(metadata.get("TimeIntervall")))  # sic, in the format
    channels = metadata.get("ChannelColors")
    declared = channels if isinstance(channels, Mapping) else {}
    names = tuple(str(name) for name in declared.get("ColorNames", ()))
    colours = tuple(_hex_of_rgba(colour) for colour in declared.get("Colors", ()))
    return Calibration(sizes.steps, sizes.units, names, colours if all(colours) else ())


def _hex_of_rgba(colour: Any) -> str:
    """Return the hex digits of red, green and blue of a colour; "" for anything else."""
    parts = [int(part) for part in colour[:3]]
    return "".join(f"{part:02X}" for part in parts) if len(parts) == 3 and all(0 <= p < 256 for p in parts) else ""
