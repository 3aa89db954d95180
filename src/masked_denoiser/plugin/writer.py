"""Writer of image layers as OME-TIFF or OME-Zarr, in blocks, for layers of any size."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from masked_denoiser.errors import MaskedDenoiserError

if TYPE_CHECKING:
    from masked_denoiser.images.source import Source

#: Side in pixels of the blocks that are read and written.
_BLOCK_SIDE = 512
#: Most dimensions that have a meaning here: T, C, Z, Y and X.
_MOST_DIMENSIONS = 5


def write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer.

    A TIFF that is not named as OME-TIFF is a plain one if OME-XML has no words for the layer, such as 64-bit integers.
    An existing file is replaced only after the layer is written, so that a layer can be saved over its own file.

    Args:
        path: in any format that is written but DICOM.
        data: pixels of the layer; of a pyramid the finest level is written, with new lower levels.
        meta: settings of the layer.

    Returns:
        The path.

    Raises:
        RuntimeError: if the layer cannot be written there. napari hides a ValueError, which our own errors are.
    """
    try:
        if _needs_plain_tiff(Path(path), data, meta):
            _write_plain_tiff(Path(path), data, meta)
        else:
            _write_source(path, data, meta)
    except MaskedDenoiserError as error:
        raise RuntimeError(str(error)) from error
    return [path]


def _needs_plain_tiff(path: Path, data: Any, meta: dict[str, Any]) -> bool:
    from masked_denoiser.images.writers.assembled.ome_tiff_metadata import OME_DTYPES

    finest = data[0] if meta.get("multiscale") else data
    dimensions = len(finest.shape) - bool(meta.get("rgb"))
    known = np.dtype(finest.dtype).name in OME_DTYPES and dimensions <= _MOST_DIMENSIONS
    return path.suffix.lower() in (".tif", ".tiff") and not path.stem.lower().endswith(".ome") and not known


def _write_plain_tiff(path: Path, data: Any, meta: dict[str, Any]) -> None:
    """Write the finest level as napari does: its pixels without axes and sizes."""
    import tifffile

    pixels = np.asarray(data[0] if meta.get("multiscale") else data)
    photometric = "rgb" if meta.get("rgb") else "minisblack"
    with TemporaryDirectory(prefix=".saving.", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        tifffile.imwrite(temporary, pixels, photometric=photometric, compression="zlib")
        temporary.replace(path)


def _write_source(path: str, data: Any, meta: dict[str, Any]) -> None:
    """Write a layer with all that is known of it.

    Raises:
        ImageError: if it cannot be written there.
    """
    from masked_denoiser.images.writers.output_path import (
        check_disk_space,
        check_output,
        check_replaceable,
        clear_destination,
        estimate_bytes,
    )

    target, source = Path(path), source_from_metadata(data, meta)
    own = target.resolve()  # the layer's own file, or a level of it; everything else that it is read from is kept
    others = tuple(path for path in source.inputs if own not in (path.resolve(), path.resolve().parent))
    check_output(target, replace(source, inputs=others))
    check_replaceable(target)
    check_disk_space(target, estimate_bytes(source, target))
    with TemporaryDirectory(prefix=".saving.", dir=target.parent) as folder:
        temporary = Path(folder) / target.name
        _write(temporary, source)
        clear_destination(target, overwrite=True)
        temporary.rename(target)


def source_from_metadata(data: Any, meta: dict[str, Any]) -> Source:
    """Return a layer, given as data and settings as napari passes them to writers, as a source."""
    from masked_denoiser.plugin.layers.orientation import ROTATED_NOTE, flip_source, layer_geometry
    from masked_denoiser.plugin.layers.source import layer_source

    multiscale = bool(meta.get("multiscale", False))
    rgb = bool(meta.get("rgb", False))
    ndim = len((data[0] if multiscale else data).shape) - rgb
    layer = SimpleNamespace(
        data=data,
        multiscale=multiscale,
        rgb=rgb,
        ndim=ndim,
        name=meta.get("name") or "image",
        axis_labels=meta.get("axis_labels") or ("",) * ndim,
        scale=meta.get("scale") or (1.0,) * ndim,
        translate=tuple(meta.get("translate", ())) or (0.0,) * ndim,
        rotate=_or_default(meta.get("rotate"), np.eye(ndim)),
        shear=_or_default(meta.get("shear"), np.zeros(ndim * (ndim - 1) // 2)),
        affine=_or_default(meta.get("affine"), np.eye(ndim + 1)),
        units=meta.get("units") or ("pixel",) * ndim,
        metadata=meta.get("metadata") or {},
    )
    source, geometry = layer_source(layer), layer_geometry(layer)
    if geometry.rotated:
        warnings.warn(f"layer '{layer.name}' {ROTATED_NOTE}", stacklevel=2)
    return flip_source(source, "".join(source.axes[at] for at in geometry.flipped), {})


def _or_default(value: Any, default: Any) -> Any:
    return default if value is None else value


def _write(path: Path, source: Source) -> None:
    from masked_denoiser.images.planes import list_planes
    from masked_denoiser.images.writers.create import create_sink
    from masked_denoiser.images.writers.downsample import regions
    from masked_denoiser.images.writers.output_path import discard_output

    sink = create_sink(path, source, chunk=_BLOCK_SIDE, overwrite=True)
    try:
        for plane in list_planes(source.axes, source.sizes, source.rgb):
            for ys, xs in regions(source.size_yx, (_BLOCK_SIDE, _BLOCK_SIDE)):
                sink.write(plane, ys.start, xs.start, source.read(plane, ys, xs))
        sink.finish()
    except BaseException:
        sink.close()
        discard_output(path)
        raise
