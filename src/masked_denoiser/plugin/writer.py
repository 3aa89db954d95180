"""The writer: image layers as OME-TIFF or OME-Zarr, piece by piece, whatever their size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masked_denoiser.images.source import Source

#: Side of the squares that are read and written.
_PIECE = 512


def write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Writes one image layer.

    What is there already is replaced only when all is written, so that a layer can be saved over its own file.

    Args:
        path: `.ome.tif`, `.ome.tiff`, `.tif`, `.tiff`, `.ome.zarr` or `.zarr`.
        data: the layer's pixels; of a pyramid the finest level is written, and a new pyramid made.
        meta: the layer's settings.

    Returns:
        The path written.

    Raises:
        ImageError: if the layer cannot be written there.
    """
    from masked_denoiser.images.writers.output_path import (
        check_output,
        check_replaceable,
        check_room,
        clear_destination,
        estimate_bytes,
    )

    target, source = Path(path), meta_source(data, meta)
    unfinished = target.with_name(f"saving {target.name}")
    check_output(target, source)
    check_replaceable(target)
    check_room(target, estimate_bytes(source, target))
    _write(unfinished, source)
    clear_destination(target, overwrite=True)
    unfinished.rename(target)
    return [path]


def meta_source(data: Any, meta: dict[str, Any]) -> Source:
    """A layer, taken apart as napari hands it to writers, as a source."""
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
        units=meta.get("units") or ("pixel",) * ndim,
    )
    return layer_source(layer)


def _write(path: Path, source: Source) -> None:
    from masked_denoiser.images.create import create_sink
    from masked_denoiser.images.planes import list_planes
    from masked_denoiser.images.writers.output_path import discard

    sink = create_sink(path, source, chunk=_PIECE, overwrite=True)
    try:
        for plane in list_planes(source.axes, source.sizes, source.rgb):
            for ys, xs in _pieces(source.size_yx):
                sink.write(plane, ys.start, xs.start, source.read(plane, ys, xs))
        sink.finish()
    except BaseException:
        sink.close()
        discard(path)
        raise


def _pieces(size: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    height, width = size
    for y, x in product(range(0, height, _PIECE), range(0, width, _PIECE)):
        yield slice(y, min(y + _PIECE, height)), slice(x, min(x + _PIECE, width))
