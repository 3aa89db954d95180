"""Minimal writer of Imaris files with h5py: a pyramid, padded to whole chunks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

_PADDED_TO = (4, 16, 16)


def write_imaris(path: Path, pixels: Any) -> Path:
    """Write pixels [T, C, Z, Y, X] of 1 x 0.5 x 0.25 micrometers every 3 seconds, and a level of every other pixel."""
    times, channels, depth, height, width = pixels.shape
    with h5py.File(path, "w") as file:
        ends = {"ExtMax0": width / 4, "ExtMax1": height / 2, "ExtMax2": depth + 2.0}
        texts = {"ExtMin0": "0", "ExtMin1": "0", "ExtMin2": "2", "Unit": "um"} | {k: str(v) for k, v in ends.items()}
        _set(file.create_group("DataSetInfo/Image"), texts)
        for number in range(channels):
            about = {"Name": f"channel {number}", "Color": f"1.000 0.500 {number}.000", "ColorRange": "0.000 200.000"}
            _set(file.create_group(f"DataSetInfo/Channel {number}"), about)
        moments = {f"TimePoint{t + 1}": f"2011-03-01 15:23:{42 + 3 * t}.000" for t in range(times)}
        _set(file.create_group("DataSetInfo/TimeInfo"), moments)
        for level, step in enumerate((1, 2)):
            for t, c in np.ndindex(times, channels):
                group = file.create_group(f"DataSet/ResolutionLevel {level}/TimePoint {t}/Channel {c}")
                _write_channel(group, pixels[t, c, :, ::step, ::step])
    return path


def _write_channel(group: h5py.Group, pixels: Any) -> None:
    _set(group, {f"ImageSize{axis}": str(side) for axis, side in zip("ZYX", pixels.shape, strict=True)})
    padding = [(0, -side % to) for side, to in zip(pixels.shape, _PADDED_TO, strict=True)]
    group.create_dataset("Data", data=np.pad(pixels, padding), chunks=_PADDED_TO, compression="gzip")


def _set(group: h5py.Group, values: dict[str, str]) -> None:
    for name, text in values.items():
        group.attrs[name] = np.frombuffer(text.encode(), "S1")
