"""What every reader finds, made into a source; and the arrays that are in memory already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import resolve_axes
from masked_denoiser.images.source import Lazy, Source
from masked_denoiser.images.validation.size_limits import MOST_PLANES, check_length

_DTYPES = "integers, or floats of 16 to 64 bits"


@dataclass(frozen=True)
class Found:
    """What a reader knows of an image before its axes are settled.

    Attributes:
        levels: the pyramid, full resolution first, all with the same number of dimensions.
        axes: see `resolve_axes`.
        rgb: whether colour is red, green, blue; None where nothing is said, and 3 or 4 samples are then.
        pixel_sizes: axis letter to step, a mapping a level; empty for none.
        channel_names, channel_colours, windows: as in `Source`; dropped where there is not one a channel.
        origins: axis letter to the place of the first pixel, a mapping a level; empty for none.
        fill_values: as in `Source`.
    """

    levels: tuple[Lazy, ...]
    name: str
    axes: str = ""
    rgb: bool | None = None
    pixel_sizes: tuple[Mapping[str, float], ...] = ()
    units: Mapping[str, str] | None = None
    channel_names: tuple[str, ...] = ()
    channel_colours: tuple[str, ...] = ()
    windows: tuple[tuple[float, float], ...] = ()
    path: Path | None = None
    inputs: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    origins: tuple[Mapping[str, float], ...] = ()
    closer: Callable[[], None] | None = None
    url: str = ""
    fill_values: tuple[float, ...] = ()


class Computed:
    """A dask array, or any other whose pieces must first be made numpy; computes only what is read."""

    def __init__(self, array: Lazy) -> None:
        self._array = array
        self.shape = tuple(int(side) for side in array.shape)
        self.dtype = np.dtype(array.dtype).newbyteorder("=")

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        """Computes a piece, in native byte order."""
        return np.asarray(self._array[key], dtype=self.dtype)


def find_array(array: Lazy, name: str = "array") -> Found:
    """An array in memory, or a lazy one such as dask's.

    Raises:
        ImageError: if it is no array.
    """
    if not all(hasattr(array, what) for what in ("shape", "dtype", "__getitem__")):
        raise ImageError(f"{type(array).__name__} is no image; give a path, or a numpy, dask or zarr array")
    native = isinstance(array, np.ndarray) and array.dtype.isnative
    return Found((array if native else Computed(array),), name)


def to_source(found: Found, asked: str | None, level: int) -> Source:
    """Makes a source of what was found, with `level` as its data.

    Raises:
        ImageError: if there is no such level, its pixels are of no use, or the axes do not fit.
    """
    if not 0 <= level < len(found.levels):
        raise ImageError(f"{found.name}: there is no level {level}; it has levels 0 to {len(found.levels) - 1}")
    data = found.levels[level]
    shape, dtype = tuple(int(side) for side in data.shape), data.dtype
    check_pixels(shape, dtype, found.name)
    axes, guess = resolve_axes(shape, np.dtype(dtype), asked=asked, found=found.axes, name=found.name)
    sizes = dict(zip(axes, shape, strict=True))
    check_length(prod(side for a, side in sizes.items() if a in "TCZ"), MOST_PLANES, "planes", found.name)
    steps = _usable(found.pixel_sizes[level] if found.pixel_sizes else {}, axes)
    rgb = _is_rgb(sizes, found.rgb if asked is None else found.rgb or None)
    count = sizes.get("C", 1 if rgb or "S" not in sizes else 0)
    return Source(
        data,
        axes,
        name=found.name,
        rgb=rgb,
        pixel_size=steps,
        units={a: unit for a, unit in (found.units or {}).items() if a in steps and unit},
        channel_names=found.channel_names if len(found.channel_names) == count else (),
        channel_colours=found.channel_colours if len(found.channel_colours) == count and not rgb else (),
        windows=found.windows if len(found.windows) == count else (),
        levels=found.levels[level:],
        path=found.path,
        inputs=found.inputs,
        notes=found.notes + guess,
        origin=_places(found.origins[level] if found.origins else {}, axes),
        closer=found.closer,
        url=found.url,
        fill_values=found.fill_values,
        asked_axes=asked,
        level=level,
    )


def check_pixels(shape: tuple[int, ...], dtype: Any, name: str) -> None:
    """Refuses what cannot be denoised.

    Raises:
        ImageError: for an empty array, and for complex, structured, text or object pixels.
    """
    kind, width = getattr(dtype, "kind", "O"), getattr(dtype, "itemsize", 0)
    if kind not in "buif" or width > 8:
        raise ImageError(f"{name}: pixels of type {dtype} cannot be denoised; convert them to {_DTYPES}")
    if 0 in shape:
        raise ImageError(f"{name}: the image is empty, its shape is {shape}; give one with pixels")


def _usable(steps: Mapping[str, float], axes: str) -> dict[str, float]:
    return {a: float(step) for a, step in steps.items() if a in axes and a in "TZYX" and isfinite(step) and step > 0}


def _places(origin: Mapping[str, float], axes: str) -> dict[str, float]:
    return {a: float(place) for a, place in origin.items() if a in axes and a in "TZYX" and isfinite(place) and place}


def _is_rgb(sizes: Mapping[str, int], said: bool | None) -> bool:
    """C is colour only where metadata say so; S is unless they deny it."""
    if "S" in sizes:
        return sizes["S"] in (3, 4) and said is not False
    return bool(said) and sizes.get("C") in (3, 4)
