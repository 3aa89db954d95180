"""Checks of OME-XML before any library acts on it: it names files, and sizes that arrays are made of.

See https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, prod
from pathlib import PurePosixPath, PureWindowsPath
from xml.etree import ElementTree

from masked_denoiser.errors import ImageError
from masked_denoiser.images.validation.size_limits import MOST_PLANES, check_length

#: The longest known describe plates of some thousand images.
_MOST_BYTES = 256 * 2**20
_MOST_LABELS = 1_000_000


def check_no_doctype(text: str, name: str) -> None:
    """Refuses XML with a document type: its entities can grow without end, or name other files.

    Raises:
        ImageError: if there is one.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ImageError(f"{name}: its XML declares entities, which no microscope writes; it is not opened for safety")


def check_ome_xml(text: str, name: str, area_of: Callable[[int], int]) -> None:
    """Refuses OME-XML that must not be acted upon.

    Args:
        text: the XML.
        name: of the image.
        area_of: height times width of a page of the file, by its number.

    Raises:
        ImageError: if it is broken or too long, declares entities or more planes than there can be, or names a file
            outside the folder of the image. Links in that folder are followed: they are the user's own.
    """
    check_length(len(text), _MOST_BYTES, "bytes of OME-XML", name)
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
            _check_beside(element.get("FileName", ""), name)
        elif kind == "BinaryOnly":
            _check_beside(element.get("MetadataFile", ""), name)
        elif kind.startswith("ModuloAlong"):
            _check_labels(element, name)


def _check_planes(pixels: ElementTree.Element, name: str, area_of: Callable[[int], int]) -> None:
    """Readers make a list of as many pages as all these pixels would fill."""
    sizes = {letter: _integer(pixels, f"Size{letter}", name) for letter in "XYZCT"}
    for letter, size in sizes.items():
        if size < 1:
            raise ImageError(f"{name}: its OME-XML says Size{letter}={size}; copy or export it again")
    check_length(prod(sizes[letter] for letter in "ZCT"), MOST_PLANES, "planes in its OME-XML", name)
    pages = {0}
    for data in pixels.iterfind("{*}TiffData"):
        for key in ("IFD", "PlaneCount", "NumPlanes", "FirstZ", "FirstC", "FirstT"):
            number = _integer(data, key, name, 0)
            if number < 0:
                raise ImageError(f"{name}: its OME-XML says {key}={number}; copy or export it again")
            check_length(number, MOST_PLANES, f"as {key} in its OME-XML", name)
        pages.add(_integer(data, "IFD", name, 0))
    if sizes["X"] * sizes["Y"] != area_of(0):
        smallest = min(max(1, area_of(page)) for page in pages)
        check_length(prod(sizes.values()) // smallest, 10 * MOST_PLANES, "pages by the sizes in its OME-XML", name)


def _integer(element: ElementTree.Element, key: str, name: str, default: int | None = None) -> int:
    text = element.get(key)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError as error:
        raise ImageError(f"{name}: its OME-XML says {key}={text!r:.60}; copy or export it again") from error


def _check_beside(file: str, name: str) -> None:
    """Neither absolute nor upwards, by the rules of any system: the file may come from another."""
    for path in (PurePosixPath(file), PureWindowsPath(file)):
        if path.is_absolute() or path.anchor or ".." in path.parts or "\0" in file:
            raise ImageError(
                f"{name}: its OME-XML names {file!r:.80}, which leads out of its folder; "
                "put the files together, or export the image as one file"
            )


def _check_labels(along: ElementTree.Element, name: str) -> None:
    """Readers make a list of as many positions as a modulo annotation spans."""
    try:
        start, end, step = (float(along.get(key, default)) for key, default in (("Start", 0), ("End", 0), ("Step", 1)))
        count = abs(end - start) / abs(step)
    except (ValueError, ZeroDivisionError) as error:
        raise ImageError(
            f"{name}: its OME-XML has a broken modulo annotation ({str(error)[:100]}); export it again"
        ) from error
    if not isfinite(count):
        raise ImageError(f"{name}: its OME-XML has a modulo annotation without end; export it again")
    check_length(int(count), _MOST_LABELS, "positions in a modulo annotation", name)
