"""Round trips of an image of each readable format through each writable format, with the list of what is lost.

    python -m tests.reliability.round_trips

Prints the table of docs/reliability.md. Each output is read by our reader and by other libraries: an OME-Zarr is
validated by ome-zarr-models and its pixels are read by zarr; an OME-TIFF is read by tifffile, NIfTI by nibabel and MRC
by mrcfile.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import dask.array as da
import imagecodecs
import mrcfile
import nibabel as nib
import numpy as np
import ome_zarr_models.v04
import ome_zarr_models.v05
import tifffile
import zarr
from yaozarrs import DimSpec, v05
from yaozarrs.write.v05 import write_image

from masked_denoiser.errors import ImageError
from masked_denoiser.images.locator import join_locator
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.create import create_sink
from tests.images.dicom_files import write_series
from tests.images.readers.samples.table import SAMPLES

Pixels = np.ndarray[Any, Any]
_CHUNK = 64

#: File name and arguments of `create_sink`, by column of the table.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "OME-Zarr 0.4": ("out.ome.zarr", {"ome_zarr": "0.4"}),
    "OME-Zarr 0.5": ("out.ome.zarr", {}),
    "OME-Zarr 0.5, sharded": ("out.ome.zarr", {"shard": 2 * _CHUNK}),
    "OME-TIFF": ("out.ome.tif", {}),
    "NIfTI": ("out.nii.gz", {}),
    "MRC": ("out.mrc", {}),
}


@dataclass(frozen=True)
class Case:
    """Row of the table.

    Attributes:
        shape, dtype: shape and dtype of the pixels.
        make: function that writes the pixels to a folder and returns what `open_image` opens.
        axes: axes for `open_image` if the format does not store them.
    """

    shape: tuple[int, ...]
    dtype: str
    make: Callable[[Path, Pixels], Any]
    axes: str | None = None


def pixels_of(case: Case) -> Pixels:
    """Return random pixels, the same in each run."""
    return np.random.default_rng(5).integers(0, 2 if case.dtype == "bool" else 120, case.shape).astype(case.dtype)


def _tiff(name: str = "in.tif", **options: Any) -> Callable[[Path, Pixels], Path]:
    def make(folder: Path, pixels: Pixels) -> Path:
        tifffile.imwrite(folder / name, pixels, **options)
        return folder / name

    return make


def _svs(folder: Path, pixels: Pixels) -> Path:
    words = "Aperio Image Library v1\n100x100 (32x32)|AppMag = 20|MPP = 0.4990"
    options: dict[str, Any] = {"photometric": "rgb", "metadata": None, "compression": "jpeg2000", "description": words}
    with tifffile.TiffWriter(folder / "in.svs") as writer:
        writer.write(pixels, tile=(32, 32), **options)
        writer.write(pixels[::4, ::4], **options)
        writer.write(pixels[::2, ::2], tile=(32, 32), **options)
    return folder / "in.svs"


def _encoded(name: str, encode: Callable[[Pixels], Any]) -> Callable[[Path, Pixels], Path]:
    def make(folder: Path, pixels: Pixels) -> Path:
        (folder / name).write_bytes(encode(pixels))
        return folder / name

    return make


def _zarr(zarr_format: Any, **options: Any) -> Callable[[Path, Pixels], Path]:
    def make(folder: Path, pixels: Pixels) -> Path:
        zarr.create_array(folder / "in.zarr", data=pixels, zarr_format=zarr_format, **options)
        return folder / "in.zarr"

    return make


def _omero(count: int) -> dict[str, Any]:
    seen = {"min": 0.0, "start": 3.0, "end": 99.0, "max": 255.0}
    named = [("DAPI", "102030"), ("GFP", "00FF00"), ("RFP", "FF0000")]
    return {"channels": [{"label": label, "color": colour, "window": seen} for label, colour in named[:count]]}


def _ome_zarr_04(folder: Path, pixels: Pixels) -> Path:
    units = {"t": ("time", "second"), "c": ("channel", None), "z": ("space", "nanometer")}
    axes = [{"name": a, "type": units.get(a, ("space", ""))[0]} for a in "tczyx"]
    for axis, unit in zip(axes, ("second", None, "nanometer", "micrometer", "micrometer"), strict=True):
        axis |= {"unit": unit} if unit else {}
    scale = {"type": "scale", "scale": [1.5, 1, 700, 0.3, 0.2]}
    place = {"type": "translation", "translation": [3, 0, -2100, 400.5, 0.1]}
    dataset = {"path": "0", "coordinateTransformations": [scale, place]}
    multiscale = {"version": "0.4", "axes": axes, "datasets": [dataset]}
    attributes = {"multiscales": [multiscale], "omero": _omero(2)}
    group = zarr.create_group(folder / "in.ome.zarr", zarr_format=2, attributes=attributes)
    group.create_array("0", data=pixels, chunk_key_encoding={"name": "v2", "separator": "/"})
    return folder / "in.ome.zarr"


def _ome_zarr_05(folder: Path, pixels: Pixels) -> Path:
    dimensions = [
        DimSpec(name="c"),
        DimSpec(name="y", scale=0.3, unit="micrometer"),
        DimSpec(name="x", scale=0.2, unit="micrometer"),
    ]
    omero = v05.Omero.model_validate(_omero(len(pixels)))
    image = v05.Image(multiscales=[v05.Multiscale.from_dims(dimensions)], omero=omero)
    write_image(folder / "in.ome.zarr", image, pixels)
    return folder / "in.ome.zarr"


def _dicom(folder: Path, pixels: Pixels) -> Path:
    write_series(folder / "in", pixels)
    return folder / "in"


def _nifti(folder: Path, pixels: Pixels) -> Path:
    image = nib.Nifti1Image(pixels.T, np.array([[0.2, 0, 0, 5], [0, 0.3, 0, -9], [0, 0, 0.7, 1], [0, 0, 0, 1.0]]))
    image.header.set_zooms((0.2, 0.3, 0.7, 1.5)[: pixels.ndim])
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, folder / "in.nii")
    return folder / "in.nii"


def _mrc(folder: Path, pixels: Pixels) -> Path:
    with mrcfile.new(folder / "in.mrc", pixels) as file:
        file.voxel_size = (2, 3, 7)
        file.header.origin = (40, -50, 60)
    return folder / "in.mrc"


def _npy(folder: Path, pixels: Pixels) -> Path:
    np.save(folder / "in.npy", pixels)
    return folder / "in.npy"


def _sample(name: str) -> Case:
    """Return a case of a format that only the samples of the contract tests write."""
    sample = SAMPLES[name]

    def make(folder: Path, _: Pixels) -> str:
        return join_locator(sample.make(folder), sample.part)

    return Case(sample.pixels.shape, str(sample.pixels.dtype), make)


#: Meters and seconds in units, to compare sizes in different ones.
_UNITS = {"meter": 1, "millimeter": 1e-3, "micrometer": 1e-6, "nanometer": 1e-9, "angstrom": 1e-10, "millisecond": 1e-3}

_OME = {
    "axes": "TCZYX", "PhysicalSizeX": 500.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5, "PhysicalSizeZ": 1.5,
    "TimeIncrement": 2.0, "Channel": {"Name": ["DAPI", "GFP"], "Color": [0x102030FF, -1]},
}  # fmt: skip
_IMAGEJ = {"spacing": 1.5, "unit": "\\u00B5m", "finterval": 2.0, "axes": "TZCYX"}
_IN_CM: dict[str, Any] = {"resolution": (20_000, 10_000), "resolutionunit": 3}

CASES: dict[str, Case] = {
    "TIFF": Case((70, 300), "uint16", _tiff(compression="zlib", **_IN_CM)),
    "TIFF stack": Case((5, 70, 90), "float32", _tiff(), "ZYX"),
    "ImageJ": Case((2, 3, 2, 40, 50), "uint16", _tiff(imagej=True, resolution=(2, 2), metadata=_IMAGEJ)),
    "OME-TIFF": Case((3, 2, 4, 40, 50), "int16", _tiff("in.ome.tif", ome=True, metadata=_OME)),
    "RGB TIFF": Case((70, 90, 3), "uint8", _tiff(photometric="rgb", **_IN_CM)),
    "SVS": Case((130, 100, 3), "uint8", _svs),
    "PNG": Case((70, 90, 4), "uint8", _encoded("in.png", imagecodecs.png_encode)),
    "JPEG": Case((70, 90), "uint8", _encoded("in.jpg", imagecodecs.jpeg8_encode)),
    "zarr 2": Case((3, 70, 90), "float64", _zarr(2, attributes={"_ARRAY_DIMENSIONS": ["time", "y", "x"]})),
    "zarr 3": Case((3, 70, 90), "float16", _zarr(3, dimension_names=["z", "y", "x"])),
    "OME-Zarr 0.4": Case((2, 2, 3, 40, 50), "uint16", _ome_zarr_04),
    "OME-Zarr 0.5": Case((3, 70, 90), "uint8", _ome_zarr_05),
    "OME-Zarr 0.5, one channel": Case((1, 70, 90), "uint32", _ome_zarr_05),
    "numpy": Case((4, 2, 70, 90), "int32", lambda _, pixels: pixels, "ZCYX"),
    "numpy, Boolean": Case((70, 90), "bool", lambda _, pixels: pixels),
    "numpy, time step without unit": Case((4, 70, 90), "int8", lambda _, pixels: _without_unit(pixels)),
    "DICOM series": Case((3, 40, 50), "uint16", _dicom),
    "NIfTI": Case((2, 3, 40, 50), "int16", _nifti),
    "MRC": Case((3, 40, 50), "int16", _mrc),
    "NumPy file": Case((3, 40, 50), "float32", _npy, "ZYX"),
    **{name: _sample(name) for name in ("hdf5", "imaris", "nd2", "czi", "lif", "oib", "gif")},
    "dask": Case((2, 70, 90, 3), "uint8", lambda _, a: da.from_array(a, chunks=32), "CYXS"),  # type: ignore[no-untyped-call]
}


def _without_unit(pixels: Pixels) -> Source:
    return replace(open_image(pixels, axes="TYX"), pixel_size={"T": 2.0})


def round_trip(case: Case, target: str, folder: Path) -> list[str]:
    """Write an image, read it again, and return what was lost, in words.

    Raises:
        ValueError: if another library reads other pixels.
    """
    name, options = FORMATS[target]
    with open_image(case.make(folder, pixels_of(case)), axes=case.axes) as before:
        try:
            write(before, folder / name, **options)
        except ImageError as refusal:
            return [f"refused: {_reason(refusal)}"]
        with open_image(folder / name) as after:
            if not np.array_equal(np.squeeze(after.data[:]), np.squeeze(_read_independently(folder / name))):
                raise ValueError(f"{name}: another library reads other pixels")
            return list(_list_changes(before, after))


def _reason(refusal: ImageError) -> str:
    """Return why a format was refused, without the remedy."""
    return re.split(r"[:;] write|, only ", str(refusal))[0]


def write(source: Source, path: Path, **options: Any) -> None:
    """Copy a source block by block."""
    sink = create_sink(path, source, chunk=_CHUNK, **options)
    height, width = source.size_yx
    step = options.get("shard", _CHUNK)
    for plane in list_planes(source.axes, source.sizes, source.rgb):
        for y, x in product(range(0, height, step), range(0, width, step)):
            ys, xs = slice(y, min(y + step, height)), slice(x, min(x + step, width))
            sink.write(plane, y, x, source.read(plane, ys, xs))
    sink.finish()
    sink.close()


def _read_independently(path: Path) -> Pixels:
    """Return the pixels as read by other libraries."""
    if path.suffix == ".gz":
        image: Any = nib.load(path)
        pixels = np.asanyarray(image.dataobj)
        return np.stack([pixels[name] for name in "RGB"], -1).swapaxes(0, -2) if pixels.dtype.names else pixels.T
    if path.suffix == ".mrc":
        return np.asarray(mrcfile.read(path))
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            return np.asarray(file.asarray())
    group: Any = zarr.open_group(path, mode="r")
    models: Any = ome_zarr_models.v04 if group.metadata.zarr_format == 2 else ome_zarr_models.v05
    models.Image.from_zarr(group)
    return np.asarray(group["0"][:])


def _list_changes(before: Source, after: Source) -> Iterator[str]:
    if before.axes != after.axes:
        yield f"axes {before.axes} become {after.axes}"
    if not np.array_equal(_comparable(before), _comparable(after)):
        yield "pixels differ"
    if before.dtype.newbyteorder("=") != after.dtype:
        scaled = after.name.endswith(".nii.gz") and before.dtype.kind in "iu"
        yield f"{before.dtype} {'is stored with a scale' if scaled else f'becomes {after.dtype}'}"
    if before.rgb != after.rgb:
        yield "RGB is lost"
    if before.affine and not np.allclose(before.affine, after.affine or np.inf, atol=1e-4):
        yield "position in the patient is lost"
    if before.modality != after.modality:
        yield "modality is lost"
    yield from _changes_of_scale(before, after)
    for name in ("channel_names", "channel_colours", "windows"):
        if getattr(before, name) and getattr(before, name) != getattr(after, name):
            yield f"{name.replace('_', ' ')} are lost"


def _changes_of_scale(before: Source, after: Source) -> Iterator[str]:
    changed: dict[str, list[str]] = {}
    for axis in before.axes:
        units = [source.units.get(axis, "") for source in (before, after)]
        pairs = list(zip((before, after), units, strict=True))
        sizes = [source.pixel_size.get(axis, 0) * _UNITS.get(unit, 1) for source, unit in pairs]
        places = [source.origin.get(axis, 0) * _UNITS.get(unit, 1) for source, unit in pairs]
        if not np.isclose(places[0], places[1], rtol=1e-6, atol=1e-6 * sizes[0]):
            yield f"the origin along {axis} is lost"
        if not np.isclose(sizes[0], sizes[1], rtol=1e-6, atol=0):
            yield f"the step of {axis} is lost"
        elif units[0] != units[1]:
            changed.setdefault(units[1], []).append(axis)
    for unit, axes in changed.items():
        yield f"units of {', '.join(axes)} {f'become {unit}' if unit else 'are lost'}"


def _comparable(source: Source) -> Pixels:
    """Return the pixels with RGB as the last axis and without axes of length 1."""
    letters = source.axes.replace("C", "S") if source.rgb and "S" not in source.axes else source.axes
    pixels = np.asarray(source.data[:]).transpose([letters.index(a) for a in "TCZYXS" if a in letters])
    return np.squeeze(pixels)


def row(name: str, folder: Path) -> str:
    """Return a row of the table; files are written to an empty folder."""
    case, cells = CASES[name], []
    for target in FORMATS:
        (folder / target).mkdir()
        cells.append("; ".join(round_trip(case, target, folder / target)) or "all kept")
    return f"| {name}: {case.dtype}, {' x '.join(map(str, case.shape))} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    print(f"| from | {' | '.join(FORMATS)} |\n| --- |{' --- |' * len(FORMATS)}")
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            print(row(name, Path(folder)))


if __name__ == "__main__":
    main()
