"""Reader of Olympus OIB and OIF by the library oiffile: planes are TIFFs in the OIB, or in a folder next to the OIF."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from oiffile import OifFile
from tifffile import TiffFile, TiffSequence

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import UNKNOWN
from masked_denoiser.images.metadata.units import unit_name
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.chunk_cache import ChunkedArray
from masked_denoiser.images.readers.library_errors import wrap_errors
from masked_denoiser.images.readers.microscopes.names import unique_names
from masked_denoiser.images.readers.open_files import close_all, closed_on_error
from masked_denoiser.images.readers.registry import one_part
from masked_denoiser.images.source import AXES
from masked_denoiser.images.validation.compound_file import check_compound_file
from masked_denoiser.images.validation.size_limits import MAX_PLANES, check_decoded_size, check_length

#: Axes of which settings are numbered in the main file.
_NUMBERED_AXES = 8
#: Order of the axes around a plane, after any others.
_ORDER = "TCZ"
#: File names of reference images, such as "s_C001-R001.tif".
_REFERENCE = re.compile(r"-R\d+\.tif$", re.IGNORECASE)
#: Characters for which oiffile finds no planes, as it looks for them by a pattern.
_PATTERN = set("*?[")
_REMEDY = "copy it again, an OIF with its folder of the same name"
_PER_MICROMETER = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3}
_PER_SECOND = {"millisecond": 1e-3, "second": 1.0, "minute": 60.0}


def read(path: Path, part: str = "") -> ReaderResult:
    """Open a series of planes.

    Args:
        path: of the OIB or OIF.
        part: name of the series; "" for the only one.

    Raises:
        ImageError: if the file is damaged, its folder is missing, or it has no such series.
    """
    with wrap_errors(path, "an Olympus file", remedy=_REMEDY), closed_on_error(_open(path)) as file:
        series = _series(file)
        names = _names(series)
        return _describe(path, file, series[one_part(path, part, names)])


def list_parts(path: Path) -> list[str]:
    """Return the names of the series. Reference images are omitted, unless there is nothing else.

    Raises:
        ImageError: if the file is damaged.
    """
    with wrap_errors(path, "an Olympus file", remedy=_REMEDY), _open(path) as file:
        return _names(_series(file))


def _open(path: Path) -> OifFile:
    if path.suffix.lower() == ".oib":
        check_compound_file(path)
    elif _PATTERN & set(str(path.absolute())):
        characters = " ".join(sorted(_PATTERN))
        raise ImageError(f"{path}: has one of {characters} in its path, with which an OIF is not found; rename it")
    return OifFile(path)


def _series(file: OifFile) -> list[TiffSequence]:
    found = list(file.series)
    images = [series for series in found if not _REFERENCE.search(str(series[0]))]
    return images or found


def _names(series: list[TiffSequence]) -> list[str]:
    """Return names without the numbers of the planes: "s_C" for "s_C001.tif" and "s_C002.tif"."""
    stems = [Path(str(one[0]).replace("\\", "/")).stem for one in series]
    return unique_names([re.sub(r"\d+", "", stem) for stem in stems], "series")


def _describe(path: Path, file: OifFile, series: TiffSequence) -> ReaderResult:
    outer, files = _planes(series)
    check_length(len(files), MAX_PLANES, "planes", str(path))
    side, dtype = _plane_shape(file, series[0])
    check_pixels((*outer.values(), *side), dtype, str(path))
    check_decoded_size(side, dtype.itemsize, "a plane", str(path))
    lock = Lock()  # the planes of an OIB are read by one file handle

    def fetch(index: tuple[int, ...]) -> np.ndarray[Any, Any]:
        name = files.get(index[: len(outer)])
        if name is None:
            raise ValueError(f"the plane {index[: len(outer)]} is missing")
        with lock:
            if _plane_shape(file, name) != (side, dtype):
                raise ValueError(f"the plane {name} differs in shape or type from the first")
            pixels = file.asarray(name)
        return pixels.reshape(*(1,) * len(outer), *side)

    axes = "".join(a if a in AXES else UNKNOWN for a in outer) + ("YX" if len(side) == 2 else "YXS")
    array = ChunkedArray((*outer.values(), *side), dtype, (*(1,) * len(outer), *side), fetch)
    steps = {a: step for a, step in _pixel_sizes(file.mainfile).items() if a in axes}

    return ReaderResult(
        (array,),
        axes,
        name=path.name,
        path=path,
        inputs=_inputs(path),
        pixel_sizes=(steps,),
        units={a: "second" if a == "T" else "micrometer" for a in steps},
        channel_names=_channel_names(file.mainfile, outer.get("C", 1)),
        closer=close_all(array, file),
    )


def _planes(series: TiffSequence) -> tuple[dict[str, int], dict[tuple[int, ...], str]]:
    """Return the axes around the planes with their lengths, if above 1, and the file of each position.

    oiffile takes order and lengths from the names of the files, and since version 2026.10.15 from the main file, which
    also counts planes that were not recorded. Here both are those of the files.
    """
    positions = np.array(series.indices, dtype=int).reshape(len(series), -1)
    spans = dict(zip(series.axes, positions.T, strict=True)) if series.axes and positions.size else {}
    starts = {axis: int(span.min()) for axis, span in spans.items()}
    lengths = {axis: int(span.max()) - starts[axis] + 1 for axis, span in spans.items()}
    outer = {axis: lengths[axis] for axis in sorted(lengths, key=_ORDER.find) if lengths[axis] > 1}
    places = zip(*(spans[axis] - starts[axis] for axis in outer), strict=True) if outer else [()]
    return outer, {tuple(map(int, at)): str(file) for at, file in zip(places, series, strict=False)}


def _plane_shape(file: OifFile, name: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and data type of the TIFF of a plane, from its header."""
    with file.open_file(str(name)) as opened, TiffFile(opened, name=str(name)) as tif:
        series = tif.series[0]
        return tuple(series.shape), np.dtype(series.dtype)


def _inputs(path: Path) -> tuple[Path, ...]:
    """Return the file and, for an OIF, the folder of its planes."""
    folder = path.with_name(f"{path.name}.files")
    return (path, folder) if folder.is_dir() else (path,)


def _pixel_sizes(settings: Mapping[str, Any]) -> dict[str, float]:
    """Return pixel sizes in micrometers and the interval in seconds, as the settings of the axes state them.

    Along X and Y the positions are those of the borders, along Z and T of the first and the last plane.
    """
    steps: dict[str, float] = {}
    for number in range(_NUMBERED_AXES):
        axis = settings.get(f"Axis {number} Parameters Common", {})
        code, count = str(axis.get("AxisCode", "")), _number(axis.get("MaxSize"))
        unit = unit_name(axis.get("UnitName"))
        factor = (_PER_SECOND if code == "T" else _PER_MICROMETER).get(unit, 0.0)
        gaps = count if code in ("X", "Y") else count - 1
        extent = abs(_number(axis.get("EndPosition")) - _number(axis.get("StartPosition")))
        step = extent / gaps if gaps > 0 else 0.0
        if code in ("Z", "T") and not step:
            step = abs(_number(axis.get("Interval")))
        if code in ("X", "Y", "Z", "T") and step * factor > 0:
            steps[code] = step * factor
    return steps


def _channel_names(settings: Mapping[str, Any], channels: int) -> tuple[str, ...]:
    """Return the dyes of the channels, or the names of the channels without one."""
    found = [settings.get(f"Channel {number} Parameters", {}) for number in range(1, channels + 1)]
    names = tuple(str(channel.get("DyeName") or channel.get("CH Name") or "") for channel in found)
    return names if all(names) else ()


def _number(value: Any) -> float:
    """Return a finite number; 0 for anything else."""
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else 0.0
