"""OME-Zarr sink: a result as an OME-Zarr pyramid, 0.4 or 0.5, written chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc
from zarr.codecs import BloscCodec

from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress
from masked_denoiser.images.writers.layout import Layout, OmeZarr
from masked_denoiser.images.writers.ome_zarr_metadata import (
    ATTRIBUTE,
    ZARR_FORMATS,
    group_attributes,
    known_windows,
    window,
)
from masked_denoiser.images.writers.zarr_pyramid import ZarrFolder, make_folder


class OmeZarrSink(Sink):
    """A result in an OME-Zarr folder.

    The same content gives the same bytes, in whatever order it was written and however often a job was
    interrupted: chunks are compressed by one thread each (zarr calls blosc off the main thread, where it
    does not split them), nothing holds a time, and leftovers of killed writes are removed at the end.
    """

    def __init__(self, path: Path, source: Source, layout: Layout, version: OmeZarr = "0.5") -> None:
        """Opens a folder made by `make_ome_zarr`.

        Raises:
            ImageError: if it is none, is of another version, or its arrays do not fit `layout`.
        """
        self._folder = ZarrFolder(path, layout, ZARR_FORMATS[version])
        self._windows_known = bool(known_windows(source, layout))

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Puts [channels, height, width] at (y, x) of `plane`."""
        self._folder.write(plane, y, x, pixels)

    def finish(self, follow: ProgressCallback = no_progress) -> None:
        """Builds the pyramid, sets the contrast windows from its last level, and tidies up."""
        self._folder.build_pyramid(follow)
        self._set_windows()
        self._folder.remove_strays()

    def note(self, values: Mapping[str, Any]) -> None:
        """Adds to the group attribute `ATTRIBUTE`."""
        attributes: Any = self._folder.group.attrs.asdict()
        attributes[ATTRIBUTE] |= values
        self._folder.set_attributes(attributes)

    def close(self) -> None:
        """Nothing is held open."""

    def _set_windows(self) -> None:
        layout = self._folder.layout
        if self._windows_known or layout.dtype == np.uint8 or (layout.colour and layout.dtype.kind in "iu"):
            return  # the source's, or what the dtype can hold, is what a viewer should show
        attributes: Any = self._folder.group.attrs.asdict()
        channels = attributes.get("ome", attributes)["omero"]["channels"]
        smallest = self._folder.levels[-1]
        apart = "C" in layout.axes and not layout.colour  # one window for all keeps the hue
        windows = _windows(smallest, layout.axes.index("C") if apart else None)
        for channel, ends in zip(channels, windows if apart else repeat(windows[0]), strict=False):
            channel["window"] = window(layout.dtype, *ends)
        self._folder.set_attributes(attributes)


def make_ome_zarr(
    path: Path, source: Source, layout: Layout, attributes: Mapping[str, Any], version: OmeZarr = "0.5"
) -> None:
    """Makes the folder with all metadata and empty arrays.

    Args:
        path: where; must not exist.
        source: whose name, pixel size, units, channel names, colours and contrast windows are kept.
        layout: from `zarr_layout`.
        attributes: JSON values to keep with the image.
        version: of OME-Zarr.
    """

    def make(folder: Path) -> None:
        described = group_attributes(source, layout, dict(attributes), version)
        group = zarr.create_group(folder, zarr_format=ZARR_FORMATS[version], attributes=described)
        for number, level in enumerate(layout.levels):
            group.create_array(
                str(number),
                shape=level.shape,
                chunks=level.chunks,
                shards=level.shards,
                dtype=layout.dtype,
                **_how(layout, version),
            )

    make_folder(path, make)


def _how(layout: Layout, version: OmeZarr) -> dict[str, Any]:
    """Compression, and how chunks are named: nested, as both versions want it."""
    if version == "0.4":
        nested = {"name": "v2", "separator": "/"}
        return {"chunk_key_encoding": nested, "compressors": Blosc("zstd", clevel=3, shuffle=Blosc.SHUFFLE)}
    named = [letter.lower() for letter in layout.axes]
    return {"dimension_names": named, "compressors": BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")}


def _windows(array: Any, axis: int | None) -> list[tuple[float, float] | tuple[()]]:
    """Contrast windows from the smallest to the largest finite value, none for constants; a plane in memory at once.

    Args:
        array: a level of the pyramid, zarr.
        axis: of the channels, which get a window each; None for one window in all.
    """
    ends = [(np.inf, -np.inf)] * (1 if axis is None else array.shape[axis])
    for index in np.ndindex(array.shape[:-2]):
        pixels = array[index]
        finite = pixels[np.isfinite(pixels)]
        if finite.size:
            at = 0 if axis is None else index[axis]
            low, high = ends[at]
            ends[at] = min(low, float(finite.min())), max(high, float(finite.max()))
    return [(low, high) if low < high else () for low, high in ends]
