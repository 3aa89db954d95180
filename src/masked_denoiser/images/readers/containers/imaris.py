"""Layout of Imaris in HDF5: a pyramid of channels and time points, padded to whole blocks.

See https://imaris.oxinst.com/support/imaris-5-5-file-format.
"""

from __future__ import annotations

import re
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.metadata.units import unit_name
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.chunk_cache import ChunkedArray
from masked_denoiser.images.readers.containers.hdf5_pixels import check_dataset
from masked_denoiser.images.readers.open_files import close_all
from masked_denoiser.images.validation.size_limits import MAX_PLANES, check_length

_FIRST = "DataSet/ResolutionLevel 0/TimePoint 0/Channel 0"
_IMAGE = "DataSetInfo/Image"
_MAX_LEVELS = 64


def is_imaris(file: h5py.File) -> bool:
    """Return whether a file has the layout of Imaris."""
    return f"{_FIRST}/Data" in file and _IMAGE in file


def read_imaris(path: Path, file: h5py.File) -> ReaderResult:
    """Describe the image of an Imaris file as TCZYX.

    Raises:
        ImageError: if channels or time points are missing or differ in size.
    """
    count = _count(file["DataSet"], "ResolutionLevel")
    check_length(count, _MAX_LEVELS, "levels", str(path))
    levels = tuple(_level(path, file[f"DataSet/ResolutionLevel {number}"]) for number in range(count))
    sizes = tuple(_pixel_sizes(file, level.shape) for level in levels)
    unit = unit_name(_attribute(file[_IMAGE], "Unit")) or "micrometer"
    units = dict.fromkeys("ZYX", unit) | {"T": "second"}
    channels = [file.get(f"DataSetInfo/Channel {number}") for number in range(levels[0].shape[1])]

    return ReaderResult(
        levels,
        "TCZYX",
        name=path.name,
        path=path,
        pixel_sizes=sizes,
        origins=tuple(_origin(file, size) for size in sizes),
        units={a: name for a, name in units.items() if a in sizes[0]},
        channel_names=_complete([_attribute(channel, "Name") for channel in channels]),
        channel_colours=_complete([_colour(_attribute(channel, "Color")) for channel in channels]),
        windows=_windows([_numbers(_attribute(channel, "ColorRange")) for channel in channels]),
        closer=close_all(*levels, file),
    )


def _level(path: Path, group: h5py.Group) -> ChunkedArray:
    times = _count(group, "TimePoint")
    first = group["TimePoint 0"]
    count = _count(first, "Channel")
    check_length(times * count, MAX_PLANES, "time points and channels", str(path))
    data = first["Channel 0/Data"]
    shape = _real_shape(first["Channel 0"], data.shape)
    check_pixels((*shape, times, count), data.dtype, str(path))

    check_dataset(path, data)
    blocks = data.chunks or (1, *data.shape[1:])

    def fetch(index: tuple[int, ...]) -> np.ndarray[Any, Any]:
        stored = group[f"TimePoint {index[0]}/Channel {index[1]}/Data"]
        if stored.shape != data.shape or stored.dtype != data.dtype:
            raise ValueError(f"{stored.name} is {stored.dtype} of {stored.shape}, unlike the first channel")
        check_dataset(path, stored)
        block = tuple(slice(i * b, (i + 1) * b) for i, b in zip(index[2:], blocks, strict=True))
        return np.asarray(stored[block])[np.newaxis, np.newaxis]

    return ChunkedArray((times, count, *shape), data.dtype, (1, 1, *(int(side) for side in blocks)), fetch)


def _real_shape(channel: h5py.Group, stored: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape without the padding to whole blocks."""
    sizes = [_numbers(_attribute(channel, f"ImageSize{axis}")) for axis in "ZYX"]
    if len(stored) != 3 or not all(len(size) == 1 for size in sizes):
        return tuple(stored)
    return tuple(min(side, int(size[0])) if size[0] >= 1 else side for size, side in zip(sizes, stored, strict=True))


def _pixel_sizes(file: h5py.File, shape: tuple[int, ...]) -> dict[str, float]:
    """Return the pixel sizes of a level [T, C, Z, Y, X]: its extent divided by its sides."""
    steps: dict[str, float] = {}
    for number, axis in enumerate("XYZ"):
        ends = [_numbers(_attribute(file[_IMAGE], f"Ext{end}{number}")) for end in ("Min", "Max")]
        if all(len(end) == 1 for end in ends):
            steps[axis] = abs(ends[1][0] - ends[0][0]) / shape[4 - number]
    interval = _interval(file, shape[0])
    return steps | ({"T": interval} if interval else {})


def _origin(file: h5py.File, steps: dict[str, float]) -> dict[str, float]:
    """Return the centre of the first pixel; extents end at the borders of pixels."""
    starts = {a: _numbers(_attribute(file[_IMAGE], f"ExtMin{number}")) for number, a in enumerate("XYZ")}
    return {a: start[0] + steps[a] / 2 for a, start in starts.items() if a in steps and len(start) == 1 and start[0]}


def _interval(file: h5py.File, times: int) -> float:
    """Return the seconds between time points; 0 if there is one, or they are not regular to a millisecond."""
    info = file.get("DataSetInfo/TimeInfo")
    texts = [_attribute(info, f"TimePoint{number}") for number in range(1, times + 1)] if info is not None else []
    try:
        moments = [datetime.fromisoformat(text.strip()) for text in texts]
    except ValueError:
        return 0.0
    gaps = [(after - before).total_seconds() for before, after in pairwise(moments)]
    return gaps[0] if gaps and max(gaps) - min(gaps) < 2e-3 else 0.0


def _count(group: h5py.Group, name: str) -> int:
    """Return the number of children called "NAME 0", "NAME 1" and so on.

    Raises:
        ImageError: if one is missing.
    """
    numbers = sorted(int(key.rpartition(" ")[2]) for key in group if re.fullmatch(f"{name} [0-9]{{1,9}}", key))
    if numbers != list(range(len(numbers))):
        raise ImageError(f"{group.file.filename}: a {name} is missing in {group.name}; copy or export it again")
    return len(numbers)


def _attribute(item: Any, name: str) -> str:
    """Return an attribute, which Imaris stores as an array of characters; "" if it is missing or not text."""
    value = item.attrs.get(name) if item is not None else None
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        value = b"".join(value.ravel().tolist())
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _numbers(text: str) -> list[float]:
    """Return the numbers in a text; [] if it has anything else."""
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        return []
    return numbers if np.isfinite(numbers).all() else []


def _colour(text: str) -> str:
    """Return six hex digits of a colour as red, green and blue from 0 to 1; "" for anything else."""
    parts = _numbers(text)
    valid = len(parts) == 3 and all(0 <= part <= 1 for part in parts)
    return "".join(f"{round(part * 255):02X}" for part in parts) if valid else ""


def _complete(values: list[str]) -> tuple[str, ...]:
    return tuple(values) if all(values) else ()


def _windows(ranges: list[list[float]]) -> tuple[tuple[float, float], ...]:
    valid = all(len(ends) == 2 and ends[0] < ends[1] for ends in ranges)
    return tuple((ends[0], ends[1]) for ends in ranges) if valid else ()
