"""OME-TIFF sink: a tiled, pyramidal OME-TIFF, assembled from a working folder next to it."""

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
from masked_denoiser.images.validation.completeness import COMPLETE_KEY
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress, subrange
from masked_denoiser.images.writers.downsample import PixelProgress, regions
from masked_denoiser.images.writers.fsync import sync_file
from masked_denoiser.images.writers.layout import Layout, tile_side
from masked_denoiser.images.writers.ome_tiff_metadata import ome_metadata
from masked_denoiser.images.writers.output_path import remove_folder, working_folder
from masked_denoiser.images.writers.zarr_pyramid import FolderSink, ZarrFolder, make_folder
from masked_denoiser.images.zarr_files import UNFINISHED_TIFF, WORKING_FOLDER_ATTRIBUTE

#: Larger outputs (uncompressed bytes) become BigTIFF: the limit of 4 GiB, less a margin for tags and poor compression.
BIGTIFF_THRESHOLD = 3_900_000_000

#: Kinds of alpha, as in `ImageMetadata`, to the names of tifffile.
_EXTRA_SAMPLES = {
    "": "unassalpha", "unassociated": "unassalpha", "associated": "assocalpha", "unspecified": "unspecified",
}  # fmt: skip


class OmeTiffSink(FolderSink):
    """A sink that writes an OME-TIFF file.

    A TIFF is written sequentially but results arrive in any order, so they are collected in a zarr folder
    named `<output>.partial`, which is removed once the complete file has its final name.
    """

    def __init__(self, path: Path, source: Source, layout: Layout, attributes: Mapping[str, Any]) -> None:
        """Open the working folder created by `make_working_folder`.

        Raises:
            ImageError: if its arrays do not match `layout`.
        """
        self._path = path
        super().__init__(ZarrFolder(working_folder(path), layout))
        # The file is marked as complete from the start, as it gets its name only at the end.
        self._source, self._attributes = source, {**attributes, COMPLETE_KEY: True}
        self._metadata = ome_metadata(source, layout, self._attributes)

    def note(self, values: Mapping[str, Any]) -> None:
        """Add values to the annotation of the image."""
        self._attributes |= values
        self._metadata = ome_metadata(self._source, self._folder.layout, self._attributes)

    def finish(self, progress: ProgressCallback = no_progress) -> None:
        """Build the pyramid, write the file, rename it to the output path and remove the working folder."""
        self._folder.build_pyramid(subrange(progress, 0, 2))
        unfinished = self._folder.path / UNFINISHED_TIFF
        try:
            self._stream(unfinished, subrange(progress, 1, 2))
            sync_file(unfinished)
            unfinished.replace(self._path)
            sync_file(self._path)
        finally:
            unfinished.unlink(missing_ok=True)
        remove_folder(self._folder.path)

    def _stream(self, path: Path, callback: ProgressCallback) -> None:
        layout, levels = self._folder.layout, self._folder.levels
        progress = PixelProgress(callback, levels)
        options = _tiff_options(layout, self._source.alpha)
        big = self._path.suffix.lower() == ".btf" or _uncompressed_bytes(layout) > BIGTIFF_THRESHOLD
        with TiffWriter(path, bigtiff=big, ome=True) as tiff:
            for i, level in enumerate(levels):
                first = {"subifds": len(levels) - 1, "metadata": self._metadata}
                page: dict[str, Any] = {"subfiletype": 1, "metadata": None} if i else first
                tiles = progress.track(_tiles(level, layout.axes, options["tile"][0]))
                tiff.write(tiles, shape=level.shape, dtype=level.dtype, **options, **page)


class FinishedTiff(Sink):
    """The sink of a resumed job whose file is already complete; it refuses further pixels."""

    def __init__(self, path: Path) -> None:
        """Store the path for the error message."""
        self._path = path

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Raise ImageError: the working folder is gone, so the file cannot be changed."""
        raise ImageError(f"{self._path} is already finished: overwrite it or write elsewhere")

    def finish(self, progress: ProgressCallback = no_progress) -> None:
        """Do nothing: the file is complete."""

    def close(self) -> None:
        """Do nothing: no file is open."""


def make_working_folder(path: Path, layout: Layout) -> None:
    """Create the empty arrays, with fast compression, that collect the pixels of the TIFF at `path`."""

    def make(folder: Path) -> None:
        group = zarr.create_group(folder, attributes={WORKING_FOLDER_ATTRIBUTE: path.name})
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


def _tiff_options(layout: Layout, alpha: str) -> dict[str, Any]:
    """Return the options of all levels; `alpha` is that of the source."""
    side = tile_side(layout.chunk)
    options: dict[str, Any] = {
        "tile": (side, side),
        "photometric": "rgb" if layout.colour == "S" else "minisblack",
        "compression": "zlib",
        "predictor": layout.dtype.kind in "iu",  # tifffile needs imagecodecs for the float predictor
    }
    if "S" in layout.axes:
        options["planarconfig"] = "contig"
    if layout.colour == "S" and layout.sizes["S"] == 4:
        options["extrasamples"] = (_EXTRA_SAMPLES[alpha],)
    return options


def _tiles(level: Any, axes: str, side: int) -> Iterator[np.ndarray[Any, Any]]:
    """Yield tiles in file order, [height, width] or [height, width, samples], clipped at the border."""
    sizes = dict(zip(axes, level.shape, strict=True))
    tile = [side if a in "YX" else sizes[a] if a == "S" else 1 for a in axes]
    first = axes.index("Y")
    for region in regions(level.shape, tile):
        yield level[region].reshape([s.stop - s.start for s in region[first:]])


def _uncompressed_bytes(layout: Layout) -> int:
    return sum(int(np.prod(level.shape, dtype=np.int64)) for level in layout.levels) * layout.dtype.itemsize
