"""Creation of the sink that matches an output path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masked_denoiser.atomic_file import remove_leftovers
from masked_denoiser.errors import ImageError
from masked_denoiser.images.choices import OmeZarr
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.base import Sink
from masked_denoiser.images.writers.layout import Layout, tiff_layout, volume_layout, working_chunk, zarr_layout
from masked_denoiser.images.writers.output_path import (
    check_output,
    check_replaceable,
    clear_destination,
    is_assembled,
    kind_of,
    stores_scale,
    working_folder,
)

if TYPE_CHECKING:
    from masked_denoiser.images.writers.assembled.sink import AssembledSink


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
    joint_colour: bool = True,
) -> Sink:
    """Open an output for a source.

    Args:
        path: `.ome.zarr` or `.zarr` for OME-Zarr; `.ome.tif`, `.ome.tiff`, `.tif`, `.tiff` or `.ome.btf` for
            OME-TIFF; `.nii` or `.nii.gz` for NIfTI; `.mrc` for MRC; `.dicom` for a folder of DICOM files.
        source: image whose axes, shape, pixel size, units, channel names, colours and contrast windows are kept.
        chunk: side of a chunk in pixels; `Sink.write` takes rectangles that start at multiples of it.
        resume: continue the output of an interrupted run, or start a new one if there is none.
        overwrite: remove an existing output first.
        attributes: JSON values to store with the image.
        dtype: of the output; None for that of the source. A NIfTI of integers takes float32 if it is None.
        ome_zarr: version of OME-Zarr.
        shard: side of a shard in pixels, a multiple of `chunk` as from `layout.shard_side`; 0 for no shards. A shard
            must have one writer at a time; writing less than a shard reads it and writes it again.
        joint_colour: whether red, green and blue are written together; otherwise they may have different writers.

    Raises:
        ImageError: if the output exists, cannot be written, overlaps the input, cannot store such an image,
            or does not match the job to be resumed.
        ValueError: if both `resume` and `overwrite` are set, or the shards do not fit.
    """
    if resume and overwrite:
        raise ValueError("an output can be either resumed or overwritten, not both")
    check_output(path, source)
    clear = None if resume else overwrite
    layout = replace(output_layout(path, source, chunk, dtype, shard), joint_colour=joint_colour)
    if is_assembled(path):
        return _open_assembled(path, source, layout, clear, attributes or {})
    return _open_zarr(path, source, layout, clear, attributes or {}, ome_zarr)


def check_sink(
    path: Path, source: Source, *, chunk: int, dtype: Any = None, ome_zarr: OmeZarr = "0.5", shard: int = 0
) -> None:
    """Check that `create_sink` can open a new output with these arguments, before anything is removed or written.

    Raises:
        ImageError, ValueError: as `create_sink` does, unless an existing output is to be kept.
    """
    check_output(path, source)
    check_replaceable(path)
    layout = output_layout(path, source, chunk, dtype, shard)
    if is_assembled(path):
        _sink_class(path).check(source, layout)
    else:
        _zarr_metadata(source, layout, {}, ome_zarr)


def output_layout(path: Path, source: Source, chunk: int, dtype: Any = None, shard: int = 0) -> Layout:
    """Return the layout in which an output collects the pixels of a source; the arguments are those of `create_sink`.

    Raises:
        ImageError: if the format cannot store such an image.
    """
    kind = kind_of(path)
    if kind == "OME-Zarr":
        return zarr_layout(source, chunk, dtype, shard)
    if kind == "OME-TIFF":
        return tiff_layout(source, working_chunk(chunk), dtype, shard)
    collected = np.float32 if dtype is None and stores_scale(path, source.dtype) else dtype
    return volume_layout(source, working_chunk(chunk), collected, shard, kind, keeps_dtype=dtype is None)


# Below, `overwrite` is None for a job to be resumed.


def _open_zarr(
    path: Path,
    source: Source,
    layout: Layout,
    overwrite: bool | None,
    attributes: Mapping[str, Any],
    version: OmeZarr,
) -> Sink:
    from masked_denoiser.images.writers.ome_zarr import OmeZarrSink, make_ome_zarr

    metadata = _zarr_metadata(source, layout, attributes, version)  # may fail: before an output is removed
    if overwrite is not None:
        clear_destination(path, overwrite=overwrite)
    if not path.exists():
        make_ome_zarr(path, layout, metadata, version)
    return OmeZarrSink(path, source, layout, version)


def _zarr_metadata(source: Source, layout: Layout, attributes: Mapping[str, Any], version: OmeZarr) -> dict[str, Any]:
    """Return the attributes of the group.

    Raises:
        ValueError: if the version has no shards.
    """
    from masked_denoiser.images.writers.ome_zarr_metadata import group_attributes

    if layout.shard and version == "0.4":
        raise ValueError("OME-Zarr 0.4 has no shards; write version 0.5")
    return group_attributes(source, layout, dict(attributes), version)


def _open_assembled(
    path: Path, source: Source, layout: Layout, overwrite: bool | None, attributes: Mapping[str, Any]
) -> Sink:
    from masked_denoiser.images.writers.assembled.sink import FinishedFile, make_working_folder

    sink = _sink_class(path)
    sink.check(source, layout)
    folder = working_folder(path)
    if overwrite is not None:
        clear_destination(path, overwrite=overwrite)
    if path.exists() and not folder.exists():
        remove_leftovers(folder)  # the process was killed while removing the folder of the finished file
        return FinishedFile(path)
    if not folder.exists():
        make_working_folder(path, layout)
    return sink(path, source, layout, attributes)


def _sink_class(path: Path) -> type[AssembledSink]:
    """Return the class that writes files of a format.

    Raises:
        ImageError: that names the extra to install, if the library of the format is missing.
    """
    try:
        return _import_sink(path)
    except ImportError as error:
        extra = "em" if kind_of(path) == "MRC" else "medical"
        raise ImageError(
            f"{path}: writing {kind_of(path)} needs {error.name}: pip install 'napari-masked-denoiser[{extra}]'"
        ) from error


def _import_sink(path: Path) -> type[AssembledSink]:
    match kind_of(path):
        case "NIfTI":
            from masked_denoiser.images.writers.assembled.nifti import NiftiSink

            return NiftiSink
        case "DICOM":
            from masked_denoiser.images.writers.assembled.dicom import DicomSink

            return DicomSink
        case "MRC":
            from masked_denoiser.images.writers.assembled.mrc import MrcSink

            return MrcSink
    from masked_denoiser.images.writers.assembled.ome_tiff import OmeTiffSink

    return OmeTiffSink
