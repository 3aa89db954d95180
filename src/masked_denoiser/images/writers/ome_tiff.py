"""OME-TIFF sink: a result as a tiled, pyramidal OME-TIFF, collected in a working folder beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from tifffile import TiffWriter
from zarr.codecs import BloscCodec

from masked_denoiser.errors import ImageError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress, subrange
from masked_denoiser.images.writers.downsample import Counted, regions
from masked_denoiser.images.writers.fsync import sync_file
from masked_denoiser.images.writers.layout import Layout, tile_side
from masked_denoiser.images.writers.ome_tiff_metadata import ome_metadata
from masked_denoiser.images.writers.output_path import remove_folder, working_folder
from masked_denoiser.images.writers.zarr_pyramid import ZarrFolder, make_folder

#: Beyond this many raw bytes the file is a BigTIFF; 4 GiB is the limit, less room for tags and bad compression.
BIG = 3_900_000_000


class OmeTiffSink(Sink):
    """A result in an OME-TIFF file.

    A TIFF is written from front to back while results come in any order, so they wait in a zarr folder
    named `<output>.partial`. The file gets its name when it is complete, and then the folder goes.
    """

    def __init__(self, path: Path, source: Source, layout: Layout, attributes: Mapping[str, Any]) -> None:
        """Opens the working folder made by `make_working_folder`.

        Raises:
            ImageError: if its arrays do not fit `layout`.
        """
        self._path = path
        self._folder = ZarrFolder(working_folder(path), layout)
        self._source, self._attributes = source, dict(attributes)
        self._metadata = ome_metadata(source, layout, attributes)

    def note(self, values: Mapping[str, Any]) -> None:
        """Adds to the annotation of the image."""
        self._attributes |= values
        self._metadata = ome_metadata(self._source, self._folder.layout, self._attributes)

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Puts [channels, height, width] at (y, x) of `plane`."""
        self._folder.write(plane, y, x, pixels)

    def finish(self, follow: ProgressCallback = no_progress) -> None:
        """Builds the pyramid, streams the file, gives it its name, and removes the working folder."""
        self._folder.build_pyramid(subrange(follow, 0, 2))
        unfinished = self._folder.path / "unfinished.tif"
        try:
            self._stream(unfinished, subrange(follow, 1, 2))
            sync_file(unfinished)
            unfinished.replace(self._path)
            sync_file(self._path)
        finally:
            unfinished.unlink(missing_ok=True)
        remove_folder(self._folder.path)

    def close(self) -> None:
        """Nothing is held open."""

    def _stream(self, path: Path, follow: ProgressCallback) -> None:
        layout, levels = self._folder.layout, self._folder.levels
        counted = Counted(follow, levels)
        how = _how(layout)
        big = self._path.suffix.lower() == ".btf" or _raw_bytes(layout) > BIG
        with TiffWriter(path, bigtiff=big, ome=True) as tiff:
            for i, level in enumerate(levels):
                first = {"subifds": len(levels) - 1, "metadata": self._metadata}
                kind: dict[str, Any] = {"subfiletype": 1, "metadata": None} if i else first
                tiles = _tiles(level, layout.axes, how["tile"][0])
                tiff.write(counted.each(tiles), shape=level.shape, dtype=level.dtype, **how, **kind)


class FinishedTiff(Sink):
    """The sink of a resumed job whose file was complete already: it takes nothing more."""

    def __init__(self, path: Path) -> None:
        """Remembers the path for the message."""
        self._path = path

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Raises ImageError: the pixels that came before are in the file alone, so none can be changed."""
        raise ImageError(f"{self._path} is already finished: overwrite it or write elsewhere")

    def finish(self, follow: ProgressCallback = no_progress) -> None:
        """Nothing is left to do."""

    def close(self) -> None:
        """Nothing is held open."""


def make_working_folder(path: Path, layout: Layout) -> None:
    """Makes the empty arrays where the pieces of the TIFF at `path` wait, compressed fast."""

    def make(folder: Path) -> None:
        group = zarr.create_group(folder)
        for i, level in enumerate(layout.levels):
            group.create_array(
                str(i),
                shape=level.shape,
                chunks=level.chunks,
                shards=level.shards,
                dtype=layout.dtype,
                compressors=BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
            )

    make_folder(working_folder(path), make)


def _how(layout: Layout) -> dict[str, Any]:
    side = tile_side(layout.chunk)
    how: dict[str, Any] = {
        "tile": (side, side),
        "photometric": "rgb" if layout.colour == "S" else "minisblack",
        "compression": "zlib",
        "predictor": layout.dtype.kind in "iu",  # the float predictor would need imagecodecs
    }
    if "S" in layout.axes:
        how["planarconfig"] = "contig"
    if layout.colour == "S" and layout.sizes["S"] == 4:
        how["extrasamples"] = ("unassalpha",)
    return how


def _tiles(level: Any, axes: str, side: int) -> Iterator[np.ndarray[Any, Any]]:
    """Tiles in the order of the file, [height, width] or [height, width, samples], cut at the border."""
    sizes = dict(zip(axes, level.shape, strict=True))
    steps = [side if a in "YX" else sizes[a] if a == "S" else 1 for a in axes]
    outer = axes.index("Y")
    for region in regions(level.shape, steps):
        yield level[region].reshape([s.stop - s.start for s in region[outer:]])


def _raw_bytes(layout: Layout) -> int:
    return sum(int(np.prod(level.shape, dtype=np.int64)) for level in layout.levels) * layout.dtype.itemsize
