"""Images in every layout a source must read, written with third-party libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import tifffile
import zarr

from masked_denoiser.images.source import Source

from . import slides

Array = np.ndarray[Any, Any]
MICRO = {"Y": "micrometer", "X": "micrometer"}
#: Names that tifffile gives to the images of a BIF other than the slide; it renamed them in 2026.
_BIF_NAMES = "Overview, Probability" if hasattr(tifffile, "TiffSeries") else "Label, Thumbnail"


@dataclass(frozen=True)
class Case:
    """An image to write, and the metadata that a source must find in it."""

    name: str
    shape: tuple[int, ...]
    axes: str
    write: Callable[[Path, Array], Any]
    dtype: str = "uint16"
    requested_axes: str | None = None
    level: int = 0
    expect: dict[str, Any] = field(default_factory=dict)


def random_image(case: Case) -> Array:
    dtype = np.dtype(case.dtype)
    values = np.random.default_rng(7).integers(0, 2 if dtype.kind == "b" else 120, case.shape)
    return values.astype(dtype)


def facts(source: Source) -> dict[str, Any]:
    """Return the source's metadata; the default values are in `PLAIN_FACTS`."""
    return {
        "rgb": source.rgb,
        "pixel_size": {a: round(v, 4) for a, v in source.pixel_size.items()},
        "units": dict(source.units),
        "channel_names": source.channel_names,
        "notes": source.notes,
        "levels": len(source.levels),
    }


PLAIN_FACTS: dict[str, Any] = {
    "rgb": False, "pixel_size": {}, "units": {}, "channel_names": (), "notes": (), "levels": 1,
}  # fmt: skip


def tiff(**options: Any) -> Callable[[Path, Array], Path]:
    def write(folder: Path, image: Array) -> Path:
        tifffile.imwrite(folder / "image.tif", image, **options)
        return folder / "image.tif"

    return write


def tiff_pages(folder: Path, image: Array) -> Path:
    """Write uncompressed, non-contiguous pages of several strips."""
    with tifffile.TiffWriter(folder / "image.tif") as writer:
        for page in image:
            writer.write(page, metadata=None, contiguous=False, rowsperstrip=10, description="between " * 9)
    return folder / "image.tif"


def tiff_pyramid(folder: Path, image: Array) -> Path:
    options = {"tile": (32, 32), "compression": "zlib", "photometric": "rgb"}
    path = folder / "image.ome.tif"
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as writer:
        ome = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
        writer.write(image, subifds=1, metadata=ome, **options)
        writer.write(image[::2, ::2], subfiletype=1, metadata=None, **options)
    return path


def svs(folder: Path, image: Array) -> Path:
    options: dict[str, Any] = {"photometric": "rgb", "metadata": None, "compression": "jpeg2000"}
    words = "Aperio Image Library v1\n100x100 (32x32)|AppMag = 20|MPP = 0.4990"
    path = folder / "image.svs"
    with tifffile.TiffWriter(path) as writer:
        writer.write(image, tile=(32, 32), description=words, **options)
        writer.write(image[::4, ::4], **options)
        writer.write(image[::2, ::2], tile=(32, 32), description=words, **options)
        writer.write(image[:20, :10], subfiletype=1, **options)
        writer.write(image[:10, :20], subfiletype=9, **options)
    return path


def two_images(folder: Path, image: Array) -> Path:
    with tifffile.TiffWriter(folder / "image.tif") as writer:
        writer.write(image[:10, :12], photometric="minisblack", metadata=None)
        writer.write(image, photometric="minisblack", metadata=None, compression="lzw")
    return folder / "image.tif"


def zarr_array(zarr_format: int, **options: Any) -> Callable[[Path, Array], Path]:
    def write(folder: Path, image: Array) -> Path:
        path = folder / "image.zarr"
        array = zarr.create_array(path, shape=image.shape, dtype=image.dtype, zarr_format=zarr_format, **options)
        array[...] = image
        return path

    return write


def ome_zarr(
    version: str, axes: str, *, child: str = "", units: bool = True, big: bool = False, **attributes: Any
) -> Callable[[Path, Array], Path]:
    """Return a writer of a pyramid of two levels, the second with half the side along Y and X."""

    def write(folder: Path, image: Array) -> Path:
        path = folder / "image.ome.zarr"
        root = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
        group = root.create_group(child) if child else root
        half = tuple(slice(None, None, 2) if a in "yx" else slice(None) for a in axes)
        for key, level in (("0", image), ("1", image[half])):
            chunks = level.shape if big else tuple(min(20, side) for side in level.shape)
            group.create_array(key, shape=level.shape, dtype=level.dtype, chunks=chunks)[...] = level
        ome = {"multiscales": [_multiscale(version, axes, units)], **attributes}
        group.attrs.update(ome if version == "0.4" else {"ome": ome})
        return path

    return write


def _multiscale(version: str, axes: str, units: bool) -> dict[str, Any]:
    types = {"t": ("time", "second"), "c": ("channel", None)}
    described = []
    for a in axes:
        kind, unit = types.get(a, ("space", "micrometer"))
        described.append({"name": a, "type": kind} | ({"unit": unit} if unit and units else {}))
    steps = {"t": 2.0, "c": 1.0, "z": 1.5, "y": 0.5, "x": 0.5} if units else dict.fromkeys(axes, 1.0)
    datasets = []
    for level in (0, 1):
        scale = [steps[a] * (2**level if a in "yx" else 1) for a in axes]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    return {"version": version, "axes": described, "datasets": datasets}


def with_labels(write: Callable[[Path, Array], Path]) -> Callable[[Path, Array], Path]:
    """Return a writer that adds two label images as in the OME-Zarr standard."""

    def write_with_labels(folder: Path, image: Array) -> Path:
        path = write(folder, image)
        labels = zarr.open_group(path, mode="r+").create_group("labels")
        named = {"labels": ["cells", "nuclei"]}
        labels.attrs.update(named if labels.metadata.zarr_format == 2 else {"ome": {"version": "0.5", **named}})
        for name in ("cells", "nuclei"):
            labels.create_group(name).create_array("0", data=np.zeros_like(image, "uint32"))
        return path

    return write_with_labels


def bioformats2raw(folder: Path, image: Array) -> Path:
    """Write two images and the folder of the OME-XML, in the bioformats2raw layout."""
    path = ome_zarr("0.4", "yx", child="0", units=False)(folder, image)
    root = zarr.open_group(path, mode="r+", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    root.create_group("OME").attrs["series"] = ["0", "1"]
    other = root.create_group("1")
    other.attrs.update(root["0"].attrs.asdict())
    other.create_array("0", data=image[:3])
    other.create_array("1", data=image[:2])
    return path


def one_array_in_a_group(folder: Path, image: Array) -> Path:
    group = zarr.open_group(folder / "image.zarr", mode="w")
    group.create_array("only", data=image)
    return folder / "image.zarr"


def in_memory(make: Callable[[Array], Any]) -> Callable[[Path, Array], Any]:
    return lambda _, image: make(image)


def _guess(axes: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"notes": (f"axes guessed as {axes} from shape {shape}; set --axes to correct this",)}


_STEPS = {"Z": 1.5, "Y": 0.5, "X": 0.5}
_UNITS = {"Z": "micrometer", **MICRO}
_OMERO = {"channels": [{"label": "DAPI", "color": "0000FF"}, {"label": "GFP", "color": "00FF00"}]}
_COLOURS = {"channels": [{"label": f"Channel {i}", "color": c} for i, c in enumerate(("FF0000", "00FF00", "0000FF"))]}
_IMAGEJ = {"spacing": 1.5, "unit": "\\u00B5m", "finterval": 2.0, "axes": "TZCYX"}
_OME = {
    "axes": "TCZYX", "PhysicalSizeX": 500.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5, "PhysicalSizeZ": 1.5,
    "TimeIncrement": 2.0, "Channel": {"Name": ["DAPI", "GFP"]},
}  # fmt: skip
_LEFT_OUT = "image 1 of 4 was opened; omitted: Thumbnail, Label, Macro"
_TZ = {"pixel_size": {"T": 2.0, **_STEPS}, "units": {"T": "second", **_UNITS}}
_RGB = {"photometric": "rgb"}
_GREY = {"photometric": "minisblack"}

CASES = [
    Case("plain", (70, 90), "YX", tiff()),
    Case("signed", (70, 90), "YX", tiff(), "int8"),
    Case("bool", (70, 90), "YX", tiff(photometric="minisblack"), "bool"),
    Case("float64", (70, 90), "YX", tiff(compression="zlib", predictor=True), "float64"),
    Case("big endian", (5, 70, 90), "ZYX", tiff(byteorder=">"), expect=_guess("ZYX", (5, 70, 90))),
    Case("BigTIFF stack", (5, 70, 90), "TYX", tiff(bigtiff=True, compression="lzw"), requested_axes="tyx"),
    Case("one row", (1, 90), "YX", tiff()),
    Case("pages apart", (6, 70, 90), "ZYX", tiff_pages, expect=_guess("ZYX", (6, 70, 90))),
    Case("stack with named axes", (5, 70, 90), "ZYX", tiff(metadata={"axes": "ZYX"}, **_GREY)),
    Case("half known", (30, 2, 40, 50), "ZCYX", tiff(**_GREY), expect=_guess("ZCYX", (30, 2, 40, 50))),
    Case("thin strips", (300, 90), "YX", tiff(compression="zlib", rowsperstrip=1)),
    Case("one strip", (300, 90), "YX", tiff(compression="zlib", rowsperstrip=300)),
    Case("tiles", (100, 90), "YX", tiff(compression="zlib", tile=(32, 48)), "float32"),
    Case("RGB", (70, 90, 3), "YXS", tiff(compression="zlib", **_RGB), "uint8", expect={"rgb": True}),
    Case("RGBA", (70, 90, 4), "YXS", tiff(extrasamples=["unassalpha"], **_RGB), "uint8", expect={"rgb": True}),
    Case("planar RGB", (3, 70, 90), "SYX", tiff(planarconfig="separate", **_RGB), "uint8", expect={"rgb": True}),
    Case("grey samples", (70, 90, 3), "YXS", tiff(planarconfig="contig", extrasamples=[0, 0], **_GREY), "uint8"),
    Case("per inch", (70, 90), "YX", tiff(resolution=(50800, 25400), resolutionunit=2),
         expect={"pixel_size": {"X": 0.5, "Y": 1.0}, "units": MICRO}),
    Case("300 dpi", (70, 90), "YX", tiff(resolution=(300, 300), resolutionunit=2)),
    Case("300 dpi in cm", (70, 90), "YX", tiff(resolution=(118.11, 118.11), resolutionunit=3)),
    Case("ImageJ", (2, 3, 4, 40, 50), "TZCYX", tiff(imagej=True, resolution=(2, 2), metadata=_IMAGEJ), expect=_TZ),
    Case("ImageJ without unit", (5, 40, 50), "ZYX", tiff(imagej=True, metadata={"spacing": 3.0, "axes": "ZYX"})),
    Case("OME-TIFF", (3, 2, 4, 40, 50), "TCZYX", tiff(ome=True, metadata=_OME, compression="zlib"), expect={
        "pixel_size": {**_TZ["pixel_size"], "X": 500.0}, "units": {**_TZ["units"], "X": "nanometer"},
        "channel_names": ("DAPI", "GFP")}),
    Case("axes that lack Y", (5, 70, 90), "ZYX", tiff(metadata={"axes": "TRX"}, compression="zlib", **_GREY),
         expect=_guess("ZYX", (5, 70, 90))),
    Case("OME pyramid", (100, 90, 3), "YXS", tiff_pyramid, "uint8",
         expect={"rgb": True, "levels": 2, "pixel_size": {"Y": 0.25, "X": 0.25}, "units": MICRO}),
    Case("SVS", (100, 120, 3), "YXS", svs, "uint8", expect={
        "rgb": True, "levels": 2, "pixel_size": {"Y": 0.499, "X": 0.499}, "units": MICRO, "notes": (_LEFT_OUT,)}),
    Case("SVS level 1", (100, 120, 3), "YXS", svs, "uint8", level=1, expect={
        "rgb": True, "pixel_size": {"Y": 0.998, "X": 0.998}, "units": MICRO, "notes": (_LEFT_OUT,)}),
    Case("SCN", (100, 120, 3), "YXS", slides.scn, "uint8", expect={
        "rgb": True, "levels": 2, "pixel_size": {"Y": 0.5, "X": 0.25}, "units": MICRO,
        "notes": ("image 2 of 2 was opened; omitted: image_0",)}),
    Case("BIF", (100, 120, 3), "YXS", slides.bif, "uint8", expect={
        "rgb": True, "levels": 2, "pixel_size": {"Y": 0.2325, "X": 0.2325}, "units": MICRO,
        "notes": (f"image 1 of 3 was opened; omitted: {_BIF_NAMES}",
                  "tiles may overlap at seams: they are placed side by side, as the scanner stored them")}),
    Case("NDPI", (100, 120, 3), "YXS", slides.ndpi, "uint8", expect={
        "rgb": True, "levels": 2, "pixel_size": {"Y": 0.4444, "X": 0.2222}, "units": MICRO,
        "notes": ("image 1 of 2 was opened; omitted: Macro",)}),
    Case("NDPI level 1", (100, 120, 3), "YXS", slides.ndpi, "uint8", level=1, expect={
        "rgb": True, "pixel_size": {"Y": 0.8889, "X": 0.4444}, "units": MICRO,
        "notes": ("image 1 of 2 was opened; omitted: Macro",)}),
    Case("an image called macro", (70, 90), "YX", tiff(ome=True, metadata={"axes": "YX", "Name": "macro"})),
    Case("two images", (70, 90), "YX", two_images,
         expect={"notes": ("image 2 of 2 was opened; omitted: 'image.tif::0'",)}),
    Case("zarr 2", (5, 70, 90), "TYX", zarr_array(2, attributes={"_ARRAY_DIMENSIONS": ["time", "y", "x"]})),
    Case("zarr 3", (5, 70, 90), "ZYX", zarr_array(3, chunks=(2, 32, 32), dimension_names=["z", "y", "x"]), "float32"),
    Case("zarr 3 shards", (64, 96), "YX", zarr_array(3, chunks=(16, 16), shards=(32, 32)), "int32"),
    Case("zarr of strange names", (5, 70, 90), "ZYX", zarr_array(3, dimension_names=["a", "lat", "lon"]),
         expect=_guess("ZYX", (5, 70, 90))),
    Case("big endian zarr", (70, 90), "YX", zarr_array(2), ">i4"),
    Case("large chunks", (40, 200, 200), "ZYX", zarr_array(3, chunks=(40, 200, 200), dimension_names=["z", "y", "x"])),
    Case("OME-Zarr 0.4", (2, 2, 3, 40, 50), "TCZYX", ome_zarr("0.4", "tczyx", omero=_OMERO),
         expect={**_TZ, "levels": 2, "channel_names": ("DAPI", "GFP")}),
    Case("OME-Zarr 0.5", (2, 2, 3, 40, 50), "TCZYX", ome_zarr("0.5", "tczyx", omero=_OMERO), "float16",
         expect={**_TZ, "levels": 2, "channel_names": ("DAPI", "GFP")}),
    Case("OME-Zarr level 1", (3, 40, 50), "ZYX", ome_zarr("0.5", "zyx"), level=1,
         expect={"pixel_size": {"Z": 1.5, "Y": 1.0, "X": 1.0}, "units": _UNITS}),
    Case("OME-Zarr in colour", (3, 40, 50), "CYX", ome_zarr("0.4", "cyx", units=False, omero=_COLOURS), "uint8",
         expect={"rgb": True, "levels": 2, "channel_names": ("Channel 0", "Channel 1", "Channel 2"), "notes": (
             "its three channels, shown in red, green and blue, are taken as the samples of a colour image; "
             "--channels each denoises them one by one",)}),
    Case("OME-Zarr from us", (3, 40, 50), "CYX", ome_zarr("0.4", "cyx", units=False, masked_denoiser={"rgb": True}),
         expect={"rgb": True, "levels": 2, "notes": (
             "image.ome.zarr is not known to be complete: it lacks the mark that is written last, so its job was "
             "interrupted or it was copied before the end",)}),
    Case("bioformats2raw", (40, 50), "YX", ome_zarr("0.4", "yx", child="0", units=False),
         expect={"levels": 2, "notes": ("image.ome.zarr is a group; '0' in it was opened",)}),
    Case("bioformats2raw of two", (40, 50), "YX", bioformats2raw,
         expect={"levels": 2, "notes": ("image.ome.zarr is a group; '0' in it was opened, the first of 2",)}),
    *(Case(f"OME-Zarr {version} with labels", (3, 40, 50), "ZYX", with_labels(ome_zarr(version, "zyx")), expect={
        "levels": 2, "pixel_size": _STEPS, "units": _UNITS,
        "notes": ("the labels of image.ome.zarr are omitted: cells, nuclei",)}) for version in ("0.4", "0.5")),
    Case("group of one", (70, 90), "YX", one_array_in_a_group,
         expect={"notes": ("image.zarr is a group; 'only' in it was opened",)}),
    Case("zarr in memory", (5, 70, 90), "ZYX", in_memory(
        lambda a: zarr.array(a, dimension_names=["z", "y", "x"], store=zarr.storage.MemoryStore()))),
    Case("numpy", (5, 70, 90), "ZYX", in_memory(lambda a: a), expect=_guess("ZYX", (5, 70, 90))),
    Case("numpy colour", (7, 70, 90, 4), "ZYXS", in_memory(lambda a: a), "uint8",
         expect={"rgb": True, **_guess("ZYXS", (7, 70, 90, 4))}),
    Case("numpy two samples", (70, 90, 2), "YXS", in_memory(lambda a: a), requested_axes="YXS"),
    Case("numpy movie of channels", (9, 3, 8, 40, 50), "TCZYX", in_memory(lambda a: a),
         expect=_guess("TCZYX", (9, 3, 8, 40, 50))),
    Case("big endian numpy", (70, 90), "YX", in_memory(lambda a: a), ">f4"),
    Case("dask", (5, 70, 90), "TYX", in_memory(lambda a: da.from_array(a, chunks=(1, 32, 32))), requested_axes="TYX"),
]  # fmt: skip
