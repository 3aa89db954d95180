"""Reader of Leica LIF and LOF by the library liffile; pixels have no compression and are read at their offset."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from liffile import LifFile, LifImage

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import UNKNOWN
from masked_denoiser.images.lazy_arrays import CroppedArray, FlippedArray
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.chunk_cache import ChunkedArray
from masked_denoiser.images.readers.library_errors import wrap_errors
from masked_denoiser.images.readers.microscopes.names import unique_names
from masked_denoiser.images.readers.raw_file import open_raw
from masked_denoiser.images.readers.registry import one_part
from masked_denoiser.images.source import AXES, LazyArray
from masked_denoiser.images.validation.ome_xml import check_no_doctype
from masked_denoiser.images.validation.size_limits import check_length

_MAX_XML_BYTES = 256 * 2**20
_DIMENSIONS = "./Data/Image/ImageDescription/Dimensions/DimensionDescription"
_CHANNELS = "./Data/Image/ImageDescription/Channels/ChannelDescription"
#: Colours of Leica's lookup tables.
_COLOURS = {
    "red": "FF0000", "green": "00FF00", "blue": "0000FF", "cyan": "00FFFF", "magenta": "FF00FF", "yellow": "FFFF00",
    "gray": "FFFFFF", "grey": "FFFFFF",
}  # fmt: skip
#: Numbers of dimensions in the XML.
_IDENTIFIERS = {"X": 1, "Y": 2, "Z": 3, "T": 4}
#: Units to which meters and seconds are converted, with their factors.
_UNITS = {"m": ("micrometer", 1e6), "s": ("second", 1.0)}
_BLUE, _GREEN = "3", "2"


def read(path: Path, part: str = "") -> ReaderResult:
    """Open an image.

    Args:
        path: of the file.
        part: name of the image with the folders of the project, such as "Series 1"; "" for the only one.

    Raises:
        ImageError: if the file is damaged, refers to other files, or has no such image.
    """
    with wrap_errors(path, "a LIF"):
        _check_xml(path)
        with LifFile(path) as file:
            images = _images(file)
            names = _names(images)
            return _describe(path, images[one_part(path, part, names)])


def list_parts(path: Path) -> list[str]:
    """Return the names of the images.

    Raises:
        ImageError: if the file is damaged, or refers to other files.
    """
    with wrap_errors(path, "a LIF"):
        _check_xml(path)
        with LifFile(path) as file:
            return _names(_images(file))


def _images(file: LifFile) -> list[LifImage]:
    """Return the images of planes; histograms of fluorescence lifetimes are none."""
    return [image for image in file.images if isinstance(image, LifImage) and {"Y", "X"} <= set(image.sizes)]


def _names(images: list[LifImage]) -> list[str]:
    return unique_names([image.path for image in images], "image")


def _check_xml(path: Path) -> None:
    """Check the XML before the library parses it and opens the files that it refers to.

    Raises:
        ImageError: if it declares entities, is too long, or refers to other files.
    """
    text = _xml(path)
    check_no_doctype(text, str(path))
    root = ElementTree.fromstring(f"<Data>{text}</Data>" if not text.startswith("<?") else text)
    if root.find(".//Children/Reference") is not None:
        raise ImageError(f"{path}: refers to other files, which are not read; export it as a single LIF")


def _xml(path: Path) -> str:
    """Return the description of a LIF, which is at its start, or of a LOF, which follows its pixels."""
    with path.open("rb") as file:
        text = _text(file, path)
        if text == "LMS_Object_File":
            file.seek(10, 1)
            _, size = struct.unpack("<BQ", file.read(9))
            file.seek(size, 1)
            text = _text(file, path)
    return text


def _text(file: Any, path: Path) -> str:
    """Return the text of a block: a mark, the length of the block, a mark, and the number of its UTF-16 units."""
    _, _, _, length = struct.unpack("<IIBI", file.read(13))
    check_length(2 * length, _MAX_XML_BYTES, "bytes of XML", str(path))
    return str(file.read(2 * length).decode("utf-16-le"))


def _describe(path: Path, image: LifImage) -> ReaderResult:
    sizes = {str(name): int(size) for name, size in image.sizes.items()}
    axes = "".join(name if name in AXES and len(name) == 1 else UNKNOWN for name in sizes)
    dtype = np.dtype(image.dtype)
    check_pixels(tuple(sizes.values()), dtype, str(path))
    array, raw = _pixels(path, image, sizes, dtype)
    steps, units, origin = _calibration(image, sizes)
    channels = image.xml_element.findall(_CHANNELS)
    colours = tuple(_COLOURS.get(channel.get("LUTName", "").lower(), "") for channel in channels)
    return ReaderResult(
        (array,),
        axes,
        rgb="S" in axes,
        name=path.name,
        path=path,
        pixel_sizes=(steps,),
        origins=(origin,),
        units=units,
        channel_colours=colours if all(colours) else (),
        closer=raw.close,
    )


def _pixels(
    path: Path, image: LifImage, sizes: Mapping[str, int], dtype: np.dtype[Any]
) -> tuple[LazyArray, ChunkedArray]:
    """Return the pixels, and the array of the file that must be closed.

    Rows of colour images may be padded to multiples of 4 bytes, and their samples be in the order blue, green, red.
    """
    shape, block = tuple(sizes.values()), image.memory_block
    needed = prod(shape) * dtype.itemsize
    if block.offset < 0 or block.size < needed:
        raise EOFError(f"{needed} bytes of pixels are declared, and {max(block.size, 0)} are stored")
    stored = list(shape)
    if "S" in sizes and block.size > needed:
        stored[list(sizes).index("X")] = block.size * sizes["X"] // needed
    raw = open_raw(path, block.offset, tuple(stored), dtype)
    array: LazyArray = CroppedArray(raw, tuple((0, side) for side in shape)) if tuple(stored) != shape else raw
    return FlippedArray(array, (len(shape) - 1,)) if _is_reversed(image, sizes) else array, raw


def _is_reversed(image: LifImage, sizes: Mapping[str, int]) -> bool:
    """Return whether samples are blue, green, red."""
    channels = sorted(image.xml_element.findall(_CHANNELS), key=lambda channel: int(channel.get("BytesInc", "0")))
    tags = [channel.get("ChannelTag") for channel in channels[:2]]
    return sizes.get("S") == 3 and list(sizes)[-1] == "S" and tags == [_BLUE, _GREEN]


def _calibration(
    image: LifImage, sizes: Mapping[str, int]
) -> tuple[dict[str, float], dict[str, str], dict[str, float]]:
    """Return pixel sizes, units and the origin by axis letter, in micrometers and seconds.

    A length is that from the first to the last pixel's centre.
    """
    steps, units, origin = {}, {}, {}
    found = {element.get("DimID"): element for element in image.xml_element.findall(_DIMENSIONS)}
    for axis, number in _IDENTIFIERS.items():
        element = found.get(str(number))
        unit, factor = _UNITS.get(element.get("Unit", "") if element is not None else "", ("", 0.0))
        if element is None or not unit or axis not in sizes:
            continue
        length, start = (float(element.get(key, "0")) * factor for key in ("Length", "Origin"))
        if length:
            steps[axis], units[axis], origin[axis] = abs(length) / max(1, sizes[axis] - 1), unit, start
    return steps, units, origin
