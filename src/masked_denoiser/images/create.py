"""Create: the sink that an output's name asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.base import Sink
from masked_denoiser.images.writers.layout import Layout, OmeZarr, tiff_layout, working_chunk, zarr_layout
from masked_denoiser.images.writers.output_path import (
    check_output,
    clear_destination,
    is_tiff,
    remove_folder,
    working_folder,
)


def create_sink(
    path: Path,
    source: Source,
    *,
    chunk: int,
    resume: bool = False,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
    dtype: Any = None,
    ome_zarr: OmeZarr = "0.5",
    shard: int = 0,
) -> Sink:
    """Opens an output for a source.

    Args:
        path: `.ome.zarr` or `.zarr` for OME-Zarr; `.ome.tif`, `.ome.tiff`, `.tif`, `.tiff` or `.ome.btf` for
            OME-TIFF.
        source: whose axes, shape, pixel size, units, channel names, colours and contrast windows are kept.
        chunk: side of a chunk in pixels; `Sink.write` takes rectangles that start at its multiples.
        resume: go on with what an earlier run left, or begin if it left nothing.
        overwrite: remove what is there.
        attributes: JSON values to keep with the image.
        dtype: of the output if it is not the source's.
        ome_zarr: version of an OME-Zarr.
        shard: side of a shard in pixels, a multiple of `chunk`, such as `layout.shard_side` gives; 0 for none.
            A shard must have one writer at a time; a rectangle smaller than one costs a shard read and written again.

    Raises:
        ImageError: if the output exists, cannot be written, would touch the input, cannot hold such an image,
            or does not fit the job that is to be resumed.
        ValueError: if both `resume` and `overwrite` are asked for, or shards that do not fit.
    """
    if resume and overwrite:
        raise ValueError("an output is either resumed or overwritten")
    check_output(path, source)
    given = None if resume else overwrite
    if is_tiff(path):
        return _open_tiff(
            path, source, tiff_layout(source, working_chunk(chunk), dtype, shard), given, attributes or {}
        )
    if shard and ome_zarr == "0.4":
        raise ValueError("OME-Zarr 0.4 has no shards")
    return _open_zarr(path, source, zarr_layout(source, chunk, dtype, shard), given, attributes or {}, ome_zarr)


# `overwrite` is None below for a job that is resumed.


def _open_zarr(
    path: Path,
    source: Source,
    layout: Layout,
    overwrite: bool | None,
    attributes: Mapping[str, Any],
    version: OmeZarr,
) -> Sink:
    from masked_denoiser.images.writers.ome_zarr import OmeZarrSink, make_ome_zarr

    if overwrite is not None:
        clear_destination(path, overwrite=overwrite)
    if not path.exists():
        make_ome_zarr(path, source, layout, attributes, version)
    return OmeZarrSink(path, source, layout, version)


def _open_tiff(
    path: Path, source: Source, layout: Layout, overwrite: bool | None, attributes: Mapping[str, Any]
) -> Sink:
    from masked_denoiser.images.writers.ome_tiff import FinishedTiff, OmeTiffSink, make_working_folder
    from masked_denoiser.images.writers.ome_tiff_metadata import check_ome_dtype

    check_ome_dtype(layout)
    folder = working_folder(path)
    if overwrite is not None:
        clear_destination(path, overwrite=overwrite)
    if folder.exists() and not (folder / "zarr.json").exists():
        remove_folder(folder)  # killed while it was removed, after the file had got its name
    if path.exists() and not folder.exists():
        return FinishedTiff(path)
    if not folder.exists():
        make_working_folder(path, layout)
    return OmeTiffSink(path, source, layout, attributes)
