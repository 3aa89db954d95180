"""OME-TIFF sink: a tiled, pyramidal OME-TIFF, assembled from a working folder next to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TiffWriter

from masked_denoiser.images.metadata.declared_fill_values import GDAL_NODATA
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.assembled.ome_tiff_metadata import check_ome_dtype, ome_metadata
from masked_denoiser.images.writers.assembled.sink import AssembledSink
from masked_denoiser.images.writers.base import ProgressCallback, subrange
from masked_denoiser.images.writers.downsample import PixelProgress, regions
from masked_denoiser.images.writers.layout import Layout, tile_side

#: Larger outputs (uncompressed bytes) become BigTIFF: the limit of 4 GiB, less a margin for tags and poor compression.
BIGTIFF_THRESHOLD = 3_900_000_000

#: Kinds of alpha, as in `ImageMetadata`, to the names of tifffile.
_EXTRA_SAMPLES = {
    "": "unassalpha", "unassociated": "unassalpha", "associated": "assocalpha", "unspecified": "unspecified",
}  # fmt: skip


class OmeTiffSink(AssembledSink):
    """A sink that writes a tiled, pyramidal OME-TIFF file."""

    def __init__(self, path: Path, source: Source, layout: Layout, attributes: Mapping[str, Any]) -> None:
        """Open the working folder; see `AssembledSink`."""
        super().__init__(path, source, layout, attributes)
        self._metadata = ome_metadata(source, layout, self._attributes)

    @classmethod
    def check(cls, source: Source, layout: Layout) -> None:
        """Check that OME-XML has a name for the data type, and can hold the metadata."""
        check_ome_dtype(layout)
        ome_metadata(source, layout, {})

    def note(self, values: Mapping[str, Any]) -> None:
        """Add values to the annotation of the image."""
        super().note(values)
        self._metadata = ome_metadata(self._source, self._folder.layout, self._attributes)

    def _assemble(self, path: Path, progress: ProgressCallback) -> None:
        self._folder.build_pyramid(subrange(progress, 0, 2))
        layout, levels = self._folder.layout, self._folder.levels
        written = PixelProgress(subrange(progress, 1, 2), levels)
        options = _tiff_options(layout, self._source.alpha)
        big = self._path.suffix.lower() == ".btf" or _uncompressed_bytes(layout) > BIGTIFF_THRESHOLD
        with TiffWriter(path, bigtiff=big, ome=True) as tiff:
            for i, level in enumerate(levels):
                first = {"subifds": len(levels) - 1, "metadata": self._metadata, "extratags": _fill_value_tag(layout)}
                page: dict[str, Any] = {"subfiletype": 1, "metadata": None} if i else first
                tiles = written.track(_tiles(level, layout.axes, options["tile"][0]))
                tiff.write(tiles, shape=level.shape, dtype=level.dtype, **options, **page)


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


def _fill_value_tag(layout: Layout) -> list[tuple[int, str, int, str, bool]]:
    """Return the tag in which GDAL declares the value of missing pixels, of which it knows one."""
    if len(layout.fill_values) != 1:
        return []
    return [(GDAL_NODATA, "s", 0, f"{layout.fill_values[0]:.17g}", True)]


def _tiles(level: Any, axes: str, side: int) -> Iterator[np.ndarray[Any, Any]]:
    """Yield tiles in file order, [height, width] or [height, width, samples], clipped at the border."""
    sizes = dict(zip(axes, level.shape, strict=True))
    tile = [side if a in "YX" else sizes[a] if a == "S" else 1 for a in axes]
    first = axes.index("Y")
    for region in regions(level.shape, tile):
        yield level[region].reshape([s.stop - s.start for s in region[first:]])


def _uncompressed_bytes(layout: Layout) -> int:
    return sum(int(np.prod(level.shape, dtype=np.int64)) for level in layout.levels) * layout.dtype.itemsize
