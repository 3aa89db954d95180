"""OME-Zarr sink: an OME-Zarr pyramid, version 0.4 or 0.5, written chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc
from zarr.codecs import BloscCodec

from masked_denoiser.images.choices import OmeZarr
from masked_denoiser.images.source import Source
from masked_denoiser.images.validation.completeness import COMPLETE_KEY, completeness_mark
from masked_denoiser.images.writers.base import ProgressCallback, no_progress
from masked_denoiser.images.writers.layout import Layout
from masked_denoiser.images.writers.ome_zarr_metadata import (
    ZARR_FORMATS,
    contrast_window,
    source_windows,
)
from masked_denoiser.images.writers.zarr_pyramid import FolderSink, ZarrFolder, make_folder
from masked_denoiser.images.zarr_files import OWN_ATTRIBUTE


class OmeZarrSink(FolderSink):
    """A sink that writes an OME-Zarr folder.

    Equal content gives equal bytes, for any order of writes and after any interruption: each chunk is compressed
    by one thread (zarr calls blosc off the main thread, where it does not split chunks), no file contains a time,
    and leftovers of killed writes are removed at the end.
    """

    def __init__(self, path: Path, source: Source, layout: Layout, version: OmeZarr = "0.5") -> None:
        """Open a folder created by `make_ome_zarr`.

        Raises:
            ImageError: if it is not an OME-Zarr of this version, or its arrays do not match `layout`.
        """
        super().__init__(ZarrFolder(path, layout, ZARR_FORMATS[version]))
        self._has_source_windows = bool(source_windows(source, layout))

    def finish(self, progress: ProgressCallback = no_progress) -> None:
        """Build the pyramid, set the contrast windows from its last level, remove leftovers, and mark it complete."""
        self._folder.build_pyramid(progress)
        self._set_windows()
        self._folder.remove_leftovers()
        self.note({COMPLETE_KEY: completeness_mark(self._folder.path, len(self._folder.levels))})

    def reopen(self) -> None:
        """Prepare for further writes: see `FolderSink.reopen`; the output is not complete any more."""
        super().reopen()
        attributes: Any = self._folder.group.attrs.asdict()
        if attributes[OWN_ATTRIBUTE].pop(COMPLETE_KEY, None) is not None:
            self._folder.set_attributes(attributes)

    def note(self, values: Mapping[str, Any]) -> None:
        """Add values to the group attribute `OWN_ATTRIBUTE`."""
        attributes: Any = self._folder.group.attrs.asdict()
        attributes[OWN_ATTRIBUTE] |= values
        self._folder.set_attributes(attributes)

    def _set_windows(self) -> None:
        layout = self._folder.layout
        if self._has_source_windows or layout.dtype == np.uint8 or (layout.colour and layout.dtype.kind in "iu"):
            return  # a viewer should show the window of the source, or the range of the dtype
        attributes: Any = self._folder.group.attrs.asdict()
        channels = attributes.get("ome", attributes)["omero"]["channels"]
        smallest = self._folder.levels[-1]
        separate = "C" in layout.axes and not layout.colour  # a common window preserves the hue
        windows = _intensity_windows(smallest, layout.axes.index("C") if separate else None, layout.fill_values)
        for channel, limits in zip(channels, windows if separate else repeat(windows[0]), strict=False):
            channel["window"] = contrast_window(layout.dtype, *limits)
        self._folder.set_attributes(attributes)


def make_ome_zarr(path: Path, layout: Layout, metadata: dict[str, Any], version: OmeZarr = "0.5") -> None:
    """Create the folder with all metadata and empty arrays.

    Args:
        path: of the folder, which must not exist.
        layout: from `zarr_layout`.
        metadata: attributes of the group, from `group_attributes`.
        version: of OME-Zarr.
    """

    def make(folder: Path) -> None:
        group = zarr.create_group(folder, zarr_format=ZARR_FORMATS[version], attributes=metadata)
        for number, level in enumerate(layout.levels):
            group.create_array(
                str(number),
                shape=level.shape,
                chunks=level.chunks,
                shards=level.shards,
                dtype=layout.dtype,
                **_array_options(layout, version),
            )

    make_folder(path, make)


def _array_options(layout: Layout, version: OmeZarr) -> dict[str, Any]:
    """Return compression and dimension names; chunks are nested in folders in both versions."""
    if version == "0.4":
        nested = {"name": "v2", "separator": "/"}
        return {"chunk_key_encoding": nested, "compressors": Blosc("zstd", clevel=3, shuffle=Blosc.SHUFFLE)}
    names = [letter.lower() for letter in layout.axes]
    return {"dimension_names": names, "compressors": BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")}


def _intensity_windows(
    array: Any, axis: int | None, fill_values: tuple[float, ...]
) -> list[tuple[float, float] | tuple[()]]:
    """Return the ranges of finite values as contrast windows, () for constant channels, reading plane by plane.

    Args:
        array: zarr array of a pyramid level.
        axis: of the channels, which get one window each; None for a common window.
        fill_values: values of missing pixels, which are left out.
    """
    limits = [(np.inf, -np.inf)] * (1 if axis is None else array.shape[axis])
    for index in np.ndindex(array.shape[:-2]):
        pixels = array[index]
        finite = pixels[np.isfinite(pixels)]
        finite = finite[~np.isin(finite, fill_values)] if fill_values else finite
        if finite.size:
            channel = 0 if axis is None else index[axis]
            low, high = limits[channel]
            limits[channel] = min(low, float(finite.min())), max(high, float(finite.max()))
    return [(low, high) if low < high else () for low, high in limits]
