"""The result of every reader, and how it becomes a source; and the reader of arrays in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import resolve_axes
from masked_denoiser.images.metadata.level_geometry import first_centre, level_affine, level_ratios
from masked_denoiser.images.readers.arrays.files import files_of
from masked_denoiser.images.source import ImageMetadata, LazyArray, Source
from masked_denoiser.images.validation.size_limits import MAX_PLANES, check_length

_DTYPES = "integers, or floats of 16 to 64 bits"


@dataclass(frozen=True)
class ReaderResult(ImageMetadata):
    """What a reader found, before the axes are resolved.

    Attributes:
        levels: the pyramid, full resolution first, all with the same number of dimensions.
        axes: as the file names them, see `resolve_axes`.
        rgb: whether colour is red, green, blue; None where the file does not say, which 3 or 4 samples then are.
        pixel_sizes: axis letter to step, a mapping for each level; empty if unknown.
        origins: axis letter to the position of the first pixel, a mapping for each level; empty if unknown.
    """

    levels: tuple[LazyArray, ...]
    axes: str = ""
    rgb: bool | None = None
    pixel_sizes: tuple[Mapping[str, float], ...] = ()
    origins: tuple[Mapping[str, float], ...] = ()


class ComputedArray:
    """Wrapper of a dask array, or of any other whose pieces are not numpy arrays; computes only what is read."""

    def __init__(self, array: LazyArray) -> None:
        self._array = array
        self.shape = tuple(int(side) for side in array.shape)
        self.dtype = np.dtype(array.dtype).newbyteorder("=")

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        """Compute a piece, in native byte order."""
        return np.asarray(self._array[key], dtype=self.dtype)


def read_array(array: LazyArray, name: str = "array") -> ReaderResult:
    """Return the result for an array of NumPy, or one that is computed piece by piece such as dask's."""
    native = isinstance(array, np.ndarray) and array.dtype.isnative
    return ReaderResult((array if native else ComputedArray(array),), name=name, inputs=files_of(array))


def to_source(result: ReaderResult, requested_axes: str | None, level: int) -> Source:
    """Return a source of what a reader found, with `level` as its data.

    Raises:
        ImageError: if there is no such level, its pixels cannot be denoised, or the axes do not fit.
    """
    if not 0 <= level < len(result.levels):
        raise ImageError(f"{result.name}: there is no level {level}; it has levels 0 to {len(result.levels) - 1}")
    data = result.levels[level]
    shape, dtype = tuple(int(side) for side in data.shape), data.dtype
    check_pixels(shape, dtype, result.name)
    axes, guess = resolve_axes(shape, np.dtype(dtype), asked=requested_axes, found=result.axes, name=result.name)
    sizes = dict(zip(axes, shape, strict=True))
    check_length(prod(side for a, side in sizes.items() if a in "TCZ"), MAX_PLANES, "planes", result.name)
    steps = _positive(result.pixel_sizes[level] if result.pixel_sizes else {}, axes)
    rgb = _is_rgb(sizes, result.rgb if requested_axes is None else result.rgb or None)
    channels = sizes.get("C", 1 if rgb or "S" not in sizes else 0)
    fitting: dict[str, Any] = {
        name: _of_channels(getattr(result, name), channels) for name in ("channel_names", "windows")
    }
    fitting["channel_colours"] = () if rgb else _of_channels(result.channel_colours, channels)
    fitting["fill_values"] = _of_dtype(result.fill_values, np.dtype(dtype))
    fitting["units"] = {a: unit for a, unit in result.units.items() if a in steps and unit}
    ratios = level_ratios(axes, [one.shape for one in result.levels[: level + 1]])[-1]
    fitting["affine"] = level_affine(result.affine, ratios)
    fitting["level_paths"] = result.level_paths[level:]
    return Source(
        data,
        axes,
        rgb=rgb,
        pixel_size=steps,
        levels=result.levels[level:],
        origin=_nonzero(result.origins[level] if result.origins else {}, axes),
        requested_axes=requested_axes,
        level=level,
        **{**result.metadata(), **fitting, "notes": result.notes + guess},
    )


def to_reader_result(source: Source) -> ReaderResult:
    """Return what a reader would find of a source, to open it again with other axes or another level."""
    return ReaderResult(
        source.levels, source.axes, source.rgb, _pixel_sizes(source), _origins(source), **source.metadata()
    )


def _pixel_sizes(source: Source) -> tuple[dict[str, float], ...]:
    """Return the pixel size at each level."""
    return tuple({a: step * ratios[a] for a, step in source.pixel_size.items()} for ratios in _ratios_of(source))


def _origins(source: Source) -> tuple[dict[str, float], ...]:
    """Return the origin of each level; where the pixel size is unknown, pixels of the level are the unit."""
    letters = dict.fromkeys((*source.pixel_size, *source.origin))
    origins = []
    for ratios in _ratios_of(source):
        centres = {
            a: first_centre(source.origin.get(a, 0.0), source.pixel_size.get(a, 1.0), ratios[a]) for a in letters
        }
        origins.append({a: at if a in source.pixel_size else at / ratios[a] for a, at in centres.items()})
    return tuple(origins)


def _ratios_of(source: Source) -> list[dict[str, float]]:
    return level_ratios(source.axes, [data.shape for data in source.levels])


def check_pixels(shape: tuple[int, ...], dtype: Any, name: str) -> None:
    """Check that pixels can be denoised.

    Raises:
        ImageError: for an empty array, and for complex, structured, text or object pixels.
    """
    kind, width = getattr(dtype, "kind", "O"), getattr(dtype, "itemsize", 0)
    if kind not in "buif" or width > 8:
        raise ImageError(f"{name}: pixels of type {dtype} cannot be denoised; convert them to {_DTYPES}")
    if 0 in shape:
        raise ImageError(f"{name}: the image is empty, its shape is {shape}; give one with pixels")


def _positive(steps: Mapping[str, float], axes: str) -> dict[str, float]:
    return {a: float(step) for a, step in steps.items() if a in axes and a in "TZYX" and isfinite(step) and step > 0}


def _nonzero(origin: Mapping[str, float], axes: str) -> dict[str, float]:
    return {a: float(at) for a, at in origin.items() if a in axes and a in "TZYX" and isfinite(at) and at}


def _of_dtype(values: tuple[float, ...], dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return fill values as pixels have them: -99.9 of a file is another number in float32."""
    return tuple(float(dtype.type(value)) for value in values) if dtype.kind == "f" else values


def _of_channels(values: tuple[Any, ...], channels: int) -> tuple[Any, ...]:
    """Return the values if there is one for each channel, else none."""
    return values if len(values) == channels else ()


def _is_rgb(sizes: Mapping[str, int], declared: bool | None) -> bool:
    """Return whether channels are colours: C only if the metadata say so, S unless they deny it."""
    if "S" in sizes:
        return sizes["S"] in (3, 4) and declared is not False
    return bool(declared) and sizes.get("C") in (3, 4)
