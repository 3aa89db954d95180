"""OME-Zarr sink: a result as an OME-Zarr 0.5 pyramid, written chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.images.layout import Layout
from masked_denoiser.images.ome_zarr_metadata import image_model
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.sink import Sink
from masked_denoiser.images.source import Source
from masked_denoiser.images.zarr_folder import ZarrFolder, make_folder

#: The group attribute that holds what OME-Zarr has no place for.
ATTRIBUTE = "masked_denoiser"


class OmeZarrSink(Sink):
    """A result in an OME-Zarr 0.5 folder.

    The same content gives the same bytes, in whatever order it was written and however often a job was
    interrupted: chunks are compressed by one thread each (zarr calls blosc off the main thread, where it
    does not split them), nothing holds a time, and leftovers of killed writes are removed at the end.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        """Opens a folder made by `make_ome_zarr`.

        Raises:
            ImageError: if it is none, or its arrays do not fit `layout`.
        """
        self._folder = ZarrFolder(path, layout)

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Puts [channels, height, width] at (y, x) of `plane`."""
        self._folder.write(plane, y, x, pixels)

    def finish(self) -> None:
        """Builds the pyramid, sets the contrast windows from its last level, and tidies up."""
        self._folder.build_pyramid()
        self._set_windows()
        self._folder.remove_strays()

    def close(self) -> None:
        """Nothing is held open."""

    def _set_windows(self) -> None:
        layout = self._folder.layout
        if layout.dtype == np.uint8 or (layout.colour and layout.dtype.kind in "iu"):
            return  # what the dtype can hold is what a viewer should show
        ome: Any = self._folder.group.attrs["ome"]
        smallest = self._folder.levels[-1]
        apart = "C" in layout.axes and not layout.colour  # one window for all keeps the hue
        windows = _windows(smallest, layout.axes.index("C") if apart else None)
        for channel, window in zip(ome["omero"]["channels"], windows if apart else repeat(windows[0]), strict=False):
            channel["window"].update(window)
        self._folder.group.attrs["ome"] = ome


def make_ome_zarr(path: Path, source: Source, layout: Layout, attributes: Mapping[str, Any]) -> None:
    """Makes the folder with all metadata and empty arrays.

    Args:
        path: where; must not exist.
        source: whose name, pixel size, units and channel names are kept.
        layout: from `zarr_layout`.
        attributes: JSON values to keep beside "rgb" and "axes" in the group attribute `ATTRIBUTE`.
    """
    from yaozarrs.write.v05 import prepare_image

    model = image_model(source, layout)
    extra = {ATTRIBUTE: {"rgb": source.rgb, "axes": source.axes, **attributes}}
    chunks = layout.levels[0].chunks
    specs = [(level.shape, layout.dtype) for level in layout.levels]
    make_folder(
        path,
        lambda folder: prepare_image(folder, model, specs, extra_attributes=extra, writer="zarr", chunks=chunks),
    )


def _windows(array: Any, axis: int | None) -> list[dict[str, float]]:
    """Contrast windows from the smallest to the largest finite value, empty for constants; a plane in memory at once.

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
    return [{"start": low, "end": high} if low < high else {} for low, high in ends]
