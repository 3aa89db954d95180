"""Lazy reader of TIFF, SVS, zarr and OME-Zarr: napari layers that read only what is displayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masked_denoiser.images.discovery import stem_of
from masked_denoiser.images.readers.medical.folders import is_dicom_folder
from masked_denoiser.images.readers.registry import READERS, find_reader
from masked_denoiser.images.zarr_files import ZARR_FILES
from masked_denoiser.plugin.layers.lazy_view import source_levels
from masked_denoiser.plugin.layers.source import AFFINE_KEY, CHANNEL_KEY, MODALITY_KEY

if TYPE_CHECKING:
    from masked_denoiser.images.source import LazyArray, Source

#: Data, settings and type of a layer, as a napari reader returns them.
LayerData = tuple[Any, dict[str, Any], str]

#: Order of the axes of a layer.
_ORDER = "TCZYXS"

#: Maximum side in pixels of the sample from which contrast limits are measured.
_SAMPLE_SIDE = 1024


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """Return the reader of a file, a zarr folder or a folder of DICOM files.

    Returns:
        None for other folders, several paths, and formats whose library is not installed, which leaves them to other
        plugins.
    """
    if not isinstance(path, str):
        return None
    if Path(path).is_dir():
        is_image = any(Path(path, name).is_file() for name in ZARR_FILES) or is_dicom_folder(Path(path))
        return read if is_image and (READERS[0].is_installed or not is_dicom_folder(Path(path))) else None
    reader = find_reader(Path(path)) if Path(path).is_file() else None
    return read if reader is None or reader.is_installed else None


def read(path: str) -> list[LayerData]:
    """Open an image lazily; only a sample of its pixels is read, for the contrast limits.

    What was guessed, left out or is missing in the file is shown as notifications.

    Raises:
        ImageError: if the image cannot be read.
    """
    from napari.utils.notifications import show_info

    from masked_denoiser.images.open import open_image

    source = open_image(path)
    for note in _notes(source):
        show_info(note)
    return [to_layer_data(source)]


def to_layer_data(source: Source) -> LayerData:
    """Return a source as layer data: dask arrays, multiscale if it has several levels, a layer per channel."""
    axes = _layer_axes(source)
    views = source_levels(source, axes)
    levels = [_to_dask(view, level, source.axes, axes) for view, level in zip(views, source.levels, strict=True)]
    channel = _channel_axis(source, axes)
    dimensions = "".join(letter for letter in axes if letter != channel and not (source.rgb and letter == axes[-1]))
    settings: dict[str, Any] = {
        "name": _name(source),
        "multiscale": len(levels) > 1,
        "rgb": source.rgb,
        "axis_labels": tuple(dimensions.lower()),
        "translate": tuple(source.origin.get(letter, 0.0) for letter in dimensions),
        "scale": tuple(source.pixel_size.get(letter, 1.0) for letter in dimensions),
        "units": tuple(_napari_unit(source.units.get(letter, "")) or "pixel" for letter in dimensions),
        "metadata": {"notes": _notes(source)} | _medical(source),
    }
    data = levels if len(levels) > 1 else levels[0]
    sample = _read_sample(levels[-1], axes)
    if channel:
        at, count = axes.index(channel), source.sizes[channel]
        names = source.channel_names or tuple(f"{channel} {number}" for number in range(count))
        settings |= {"channel_axis": at, "name": [f"{_name(source)} {name}" for name in names]}
        settings["metadata"] = [settings["metadata"] | {CHANNEL_KEY: f"{channel}={number}"} for number in range(count)]
        settings["contrast_limits"] = [contrast_limits(sample.take(number, at)) for number in range(count)]
    else:
        window = source.windows[0] if source.windows and source.modality else None  # such as that of soft tissue
        settings["contrast_limits"] = window or contrast_limits(sample)
    return data, settings, "image"


def _notes(source: Source) -> list[str]:
    """Return the notes of a source, and one on each unit that napari, which refuses such layers, does not know."""
    unknown = dict.fromkeys(unit for unit in source.units.values() if unit and not _napari_unit(unit))
    axes = {unit: ", ".join(a for a in source.axes if source.units.get(a) == unit) for unit in unknown}
    return [
        *source.notes,
        *(f"napari does not know the unit {unit!r} of {axes[unit]}: the layer is in pixels there" for unit in unknown),
    ]


def _napari_unit(unit: str) -> str:
    """Return a unit as napari's registry spells it: unchanged or in lower case; "" if it has none of the name."""
    import pint

    registry = pint.get_application_registry()  # type: ignore[no-untyped-call]
    for name in (unit, unit.lower()):
        if not name.isidentifier():  # the registry would compute other text as an expression
            continue
        try:
            registry.parse_expression(name)
        except (pint.UndefinedUnitError, pint.OffsetUnitCalculusError):
            continue
        return name
    return ""


def _medical(source: Source) -> dict[str, Any]:
    """Return the entries of a layer's metadata that only medical images have."""
    affine = {AFFINE_KEY: [list(row) for row in source.affine]} if source.affine else {}
    return affine | ({MODALITY_KEY: source.modality} if source.modality else {})


def contrast_limits(sample: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return the contrast limits: 0 to 255 for uint8, otherwise the 0.01 and 99.99 percentiles of the sample."""
    if sample.dtype == np.uint8:
        return 0.0, 255.0
    finite = sample[np.isfinite(sample)].astype(np.float64)
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, (0.01, 99.99)))
    return (low, high) if low < high else (low, low + 1.0)


def _name(source: Source) -> str:
    """Return the name of a source without its suffix."""
    return stem_of(source.name)


def _layer_axes(source: Source) -> str:
    """Return the axes in the order of a layer: Y and X last, followed by RGB samples."""
    axes = "".join(letter for letter in _ORDER if letter in source.axes)
    if not source.rgb:
        return axes if "S" not in axes else "S" + axes.replace("S", "")
    colour = "S" if "S" in axes else "C"
    return axes.replace(colour, "") + colour


def _channel_axis(source: Source, axes: str) -> str:
    """Return the axis that is split into layers, or "" for none."""
    if source.rgb:
        return ""
    return next((letter for letter in "CS" if letter in axes), "")


def _to_dask(view: LazyArray, level: LazyArray, source_axes: str, layer_axes: str) -> Any:
    """Return a level as a dask array with the chunks of the level."""
    from dask import array as da

    chunks: Any = getattr(level, "chunks", "auto")
    if chunks != "auto":
        chunks = tuple(chunks[source_axes.index(letter)] for letter in layer_axes)
    # Without a name: dask would pickle file handles to derive one from the content.
    return da.from_array(view, chunks=chunks, name=False)  # type: ignore[no-untyped-call]


def _read_sample(level: Any, axes: str) -> np.ndarray[Any, Any]:
    """Return the centre of the middle plane of every channel, at most `_SAMPLE_SIDE` pixels wide and high."""
    key = []
    for letter, side in zip(axes, level.shape, strict=True):
        radius = _SAMPLE_SIDE // 2 if letter in "YX" else 0
        centre = (
            slice(max(0, side // 2 - radius), side // 2 + radius) if letter in "YX" else slice(side // 2, side // 2 + 1)
        )
        key.append(slice(None) if letter in "CS" or (letter in "YX" and side <= _SAMPLE_SIDE) else centre)
    return np.asarray(level[tuple(key)])
