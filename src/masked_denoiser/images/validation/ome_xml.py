"""Safety checks of OME-XML, which names files and array sizes, before a library acts on it.

See https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, prod
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from xml.etree import ElementTree

from masked_denoiser.errors import ImageError
from masked_denoiser.images.validation.size_limits import MAX_PLANES, check_length
from masked_denoiser.images.zarr_files import OWN_ATTRIBUTE
from masked_denoiser.plain_json import parse_json

#: The longest known OME-XML describes plates of some thousand images.
MAX_XML_BYTES = 256 * 2**20
_MAX_MODULO_POSITIONS = 1_000_000


def check_no_doctype(text: str, name: str) -> None:
    """Raise an error for XML with entities, which can expand without limit or read other files.

    Raises:
        ImageError: if there is a document type or entity declaration.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ImageError(f"{name}: its XML declares entities and is not opened for safety; export it again")


def own_attributes_in(text: str, name: str) -> dict[str, Any]:
    """Return the attributes that this program stored in the OME-XML of an output; {} for other files.

    Raises:
        ImageError: if the XML declares entities.
        ElementTree.ParseError, ValueError: if it is broken.
    """
    check_no_doctype(text, name)
    if OWN_ATTRIBUTE not in text:
        return {}
    values = ElementTree.fromstring(text).iterfind(".//{*}MapAnnotation/{*}Value/{*}M")
    stored: Any = next((parse_json(value.text or "") for value in values if value.get("K") == OWN_ATTRIBUTE), {})
    return stored if isinstance(stored, dict) else {}


def check_ome_xml(text: str, name: str, area_of: Callable[[int], int]) -> None:
    """Raise an error for OME-XML that is unsafe to use.

    Args:
        text: the XML.
        name: of the image.
        area_of: returns height times width of the page with a number.

    Raises:
        ImageError: if it is broken or too long, declares entities or too many planes, or names a file outside the
            folder of the image. Links in that folder are followed, as only the user can have created them.
    """
    check_length(len(text), MAX_XML_BYTES, "bytes of OME-XML", name)
    check_no_doctype(text, name)
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ImageError(f"{name}: its OME-XML is broken ({str(error)[:100]}); copy or export it again") from error
    for element in root.iter():
        kind = element.tag.rpartition("}")[2]
        if kind == "Pixels":
            _check_planes(element, name, area_of)
        elif kind in ("UUID", "MetadataFile", "BinaryFile"):
            check_file_name(element.get("FileName", ""), name)
        elif kind == "BinaryOnly":
            check_file_name(element.get("MetadataFile", ""), name)
        elif kind.startswith("ModuloAlong"):
            _check_modulo(element, name)


def _check_planes(pixels: ElementTree.Element, name: str, area_of: Callable[[int], int]) -> None:
    """Limit the number of planes and pages, as readers allocate a list of all pages that the sizes imply."""
    sizes = {letter: _integer(pixels, f"Size{letter}", name) for letter in "XYZCT"}
    for letter, size in sizes.items():
        if size < 1:
            raise ImageError(f"{name}: its OME-XML says Size{letter}={size}; copy or export it again")
    check_length(prod(sizes[letter] for letter in "ZCT"), MAX_PLANES, "planes in its OME-XML", name)
    pages = {0}
    for data in pixels.iterfind("{*}TiffData"):
        for key in ("IFD", "PlaneCount", "NumPlanes", "FirstZ", "FirstC", "FirstT"):
            number = _integer(data, key, name, 0)
            if number < 0:
                raise ImageError(f"{name}: its OME-XML says {key}={number}; copy or export it again")
            check_length(number, MAX_PLANES, f"as {key} in its OME-XML", name)
        pages.add(_integer(data, "IFD", name, 0))
    if sizes["X"] * sizes["Y"] != area_of(0):
        smallest = min(max(1, area_of(page)) for page in pages)
        check_length(prod(sizes.values()) // smallest, 10 * MAX_PLANES, "pages by the sizes in its OME-XML", name)


def _integer(element: ElementTree.Element, key: str, name: str, default: int | None = None) -> int:
    text = element.get(key)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError as error:
        raise ImageError(f"{name}: its OME-XML says {key}={text!r:.60}; copy or export it again") from error


def check_file_name(file: str, name: str) -> None:
    """Refuse absolute and parent paths of any operating system, as the file may come from another one.

    Raises:
        ImageError: if a file name in the OME-XML of an image is such a path.
    """
    for path in (PurePosixPath(file), PureWindowsPath(file)):
        if path.is_absolute() or path.anchor or ".." in path.parts or "\0" in file:
            raise ImageError(
                f"{name}: its OME-XML names {file!r:.80}, which is outside its folder; "
                "put the files into one folder, or export the image as one file"
            )


def _check_modulo(element: ElementTree.Element, name: str) -> None:
    """Limit the positions of a modulo annotation, as readers allocate a list of them."""
    try:
        start, end, step = (float(element.get(k, default)) for k, default in (("Start", 0), ("End", 0), ("Step", 1)))
        count = abs(end - start) / abs(step)
    except (ValueError, ZeroDivisionError) as error:
        raise ImageError(
            f"{name}: its OME-XML has a broken modulo annotation ({str(error)[:100]}); export it again"
        ) from error
    if not isfinite(count):
        raise ImageError(f"{name}: its OME-XML has a modulo annotation of infinite length; export it again")
    check_length(int(count), _MAX_MODULO_POSITIONS, "positions in a modulo annotation", name)
