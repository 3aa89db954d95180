"""The lazy reader: TIFF of any kind, SVS, zarr and OME-Zarr as napari layers that read what is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masked_denoiser.images.writers.output_path import TIFF_SUFFIXES, ZARR_SUFFIXES
from masked_denoiser.images.zarr_files import ZARR_FILES
from masked_denoiser.plugin.layers.lazy_view import shown_levels
from masked_denoiser.plugin.layers.source import CHANNEL

if TYPE_CHECKING:
    from masked_denoiser.images.source import Lazy, Source

#: Data, settings for `Image`, and the kind of layer, as napari wants them of a reader.
LayerData = tuple[Any, dict[str, Any], str]

_ORDER = "TCZYXS"

#: Side of the square that contrast limits are taken from, where there is no lower level.
_SAMPLE = 1024


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """The reader of one file or zarr folder; None for anything else."""
    if not isinstance(path, str):
        return None
    if Path(path).is_dir() and not any(Path(path, name).is_file() for name in ZARR_FILES):
        return None
    return read


def read(path: str) -> list[LayerData]:
    """Opens an image without reading its pixels, but for a sample that fixes the contrast.

    Raises:
        ImageError: if it cannot be read.
    """
    from masked_denoiser.images.open import open_image

    return [source_layer(open_image(path))]


def source_layer(source: Source) -> LayerData:
    """A source as data for napari: dask arrays, multiscale where it has levels, channels as layers of their own."""
    axes = _seen_axes(source)
    seen = shown_levels(source, axes)
    levels = [_dask(view, level, source.axes, axes) for view, level in zip(seen, source.levels, strict=True)]
    channel = _channel_axis(source, axes)
    plain = "".join(letter for letter in axes if letter != channel and not (source.rgb and letter == axes[-1]))
    settings: dict[str, Any] = {
        "name": _name(source),
        "multiscale": len(levels) > 1,
        "rgb": source.rgb,
        "axis_labels": tuple(plain.lower()),
        "translate": tuple(source.origin.get(letter, 0.0) for letter in plain),
        "scale": tuple(source.pixel_size.get(letter, 1.0) for letter in plain),
        "units": tuple(source.units.get(letter, "pixel") for letter in plain),
        "metadata": {"notes": list(source.notes)},
    }
    data = levels if len(levels) > 1 else levels[0]
    smallest = _sample(levels[-1], axes)
    if channel:
        at, count = axes.index(channel), source.sizes[channel]
        names = source.channel_names or tuple(f"{channel} {number}" for number in range(count))
        settings |= {"channel_axis": at, "name": [f"{_name(source)} {name}" for name in names]}
        settings["metadata"] = [settings["metadata"] | {CHANNEL: f"{channel}={number}"} for number in range(count)]
        settings["contrast_limits"] = [contrast_limits(smallest.take(number, at)) for number in range(count)]
    else:
        settings["contrast_limits"] = contrast_limits(smallest)
    return data, settings, "image"


def contrast_limits(sample: np.ndarray[Any, Any]) -> tuple[float, float]:
    """From black to white: all of 8 bits, else what occurs in a sample."""
    if sample.dtype == np.uint8:
        return 0.0, 255.0
    finite = sample[np.isfinite(sample)].astype(np.float64)
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, (0.01, 99.99)))
    return (low, high) if low < high else (low, low + 1.0)


def _name(source: Source) -> str:
    """The source's name without its ending."""
    endings = (*ZARR_SUFFIXES, *TIFF_SUFFIXES, ".svs", ".btf")
    ending = next((ending for ending in endings if source.name.lower().endswith(ending)), "")
    return source.name[: len(source.name) - len(ending)] or source.name


def _seen_axes(source: Source) -> str:
    """The order in which napari shows the axes: Y and X last, colour behind them."""
    axes = "".join(letter for letter in _ORDER if letter in source.axes)
    if not source.rgb:
        return axes if "S" not in axes else "S" + axes.replace("S", "")
    colour = "S" if "S" in axes else "C"
    return axes.replace(colour, "") + colour


def _channel_axis(source: Source, axes: str) -> str:
    """The axis whose positions become layers, or ""."""
    if source.rgb:
        return ""
    return next((letter for letter in "CS" if letter in axes), "")


def _dask(view: Lazy, level: Lazy, stored: str, seen: str) -> Any:
    """A level as a dask array that reads by the level's own chunks."""
    from dask import array as da

    chunks: Any = getattr(level, "chunks", "auto")
    if chunks != "auto":
        chunks = tuple(chunks[stored.index(letter)] for letter in seen)
    # No name from the content: dask would pickle file handles to find one.
    return da.from_array(view, chunks=chunks, name=False)  # type: ignore[no-untyped-call]


def _sample(level: Any, axes: str) -> np.ndarray[Any, Any]:
    """The middle of a level: one plane of every channel, at most a square of it."""
    key = []
    for letter, side in zip(axes, level.shape, strict=True):
        half = _SAMPLE // 2 if letter in "YX" else 0
        whole = slice(max(0, side // 2 - half), side // 2 + half) if letter in "YX" else slice(side // 2, side // 2 + 1)
        key.append(slice(None) if letter in "CS" or (letter in "YX" and side <= _SAMPLE) else whole)
    return np.asarray(level[tuple(key)])
