"""Calibration of a TIFF in OME-XML (https://docs.openmicroscopy.org/ome-model/latest)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import isfinite
from typing import Any
from xml.etree.ElementTree import Element

from tifffile import TiffFile, TiffPageSeries

from masked_denoiser.images.metadata.own_attributes import stored_origin
from masked_denoiser.images.metadata.units import conversion, unit_name
from masked_denoiser.images.readers.tiff.calibration import Calibration, parse_xml
from masked_denoiser.images.validation.ome_xml import own_attributes_in

#: Default unit of a position in OME-XML.
_NO_UNIT = "reference frame"
_AMBIGUOUS = "its OME-XML does not say which of its images this one is; pixel size and channels are not known"
#: Attribute of a step, and its unit if none is stated, by axis letter.
_STEPS = {**{a: (f"PhysicalSize{a}", "µm") for a in "ZYX"}, "T": ("TimeIncrement", "s")}


def read_ome(tif: TiffFile, series: TiffPageSeries) -> Calibration:
    """Return the calibration of a series of an OME-TIFF; units default to micrometers and seconds."""
    root = parse_xml(tif.ome_metadata or "")
    images = root.findall("{*}Image")
    image = _image_of(images, tif, series, root.get("UUID"))
    pixels = None if image is None else image.find("{*}Pixels")
    if pixels is None:  # if there are no images at all, another file holds the metadata
        return Calibration(notes=(_AMBIGUOUS,) if images and image is None else ())
    steps, units, notes = _steps(pixels)
    channels = pixels.findall("{*}Channel")
    own = own_attributes_in(tif.ome_metadata or "", tif.filename)
    names = [channel.get("Name") for channel in channels]
    return Calibration(
        steps,
        units,
        tuple(name or f"channel {i}" for i, name in enumerate(names)) if any(names) else (),
        _colours(channel.get("Color") for channel in channels),
        notes=notes,
        origin=stored_origin(own) if own else _positions(pixels, units),
    )


def _image_of(images: list[Element], tif: TiffFile, series: TiffPageSeries, uuid: str | None) -> Element | None:
    """Return the image of the XML that a series is; None if the XML does not say so."""
    if len(images) == len(tif.series):
        return images[[s.index for s in tif.series].index(series.index)]
    if len(images) == 1:
        return images[0]
    # tifffile omits images whose files are missing.
    pages = {(page.parent.filename.lower(), page.index) for page in series.pages if page is not None}
    found = [image for image in images if pages & _first_pages(image, tif, uuid)]
    if len(found) > 1:
        found = [image for image in found if image.get("Name") == series.name]
    return found[0] if len(found) == 1 else None


def _first_pages(image: Element, tif: TiffFile, uuid: str | None) -> set[tuple[str, int]]:
    """Return file and number of the first page of each block of pages that an image has.

    Args:
        image: the element.
        tif: the file with the XML.
        uuid: of that file, which may have been renamed.
    """
    pages = set()
    for data in image.iterfind("{*}Pixels/{*}TiffData"):
        file = data.find("{*}UUID")
        own = file is None or (uuid is not None and file.text == uuid)
        name = tif.filename if file is None or own else file.get("FileName", "")
        pages.add((name.lower(), int(data.get("IFD", 0))))
    return pages


def _steps(pixels: Element) -> tuple[dict[str, float], dict[str, str], tuple[str, ...]]:
    """Return pixel sizes and units by axis letter, and notes on values that are no numbers."""
    steps, units, notes = {}, {}, []
    for letter, (key, default) in _STEPS.items():
        if key not in pixels.attrib:
            continue
        step = _number(pixels.attrib[key])
        if step is None:
            notes.append(f"its OME-XML says {key}={pixels.attrib[key]!r:.40}, so the step of {letter} is not known")
            continue
        steps[letter] = step
        units[letter] = unit_name(pixels.attrib.get(f"{key}Unit", default))
    return steps, units, tuple(notes)


def _positions(pixels: Element, units: dict[str, str]) -> dict[str, float]:
    """Return the position of the stage in the unit of the pixel size, by axis letter, where all planes agree.

    Along Z it is that of the first plane. A unit other than that of the pixel size, such as "reference frame", is not
    converted unless both are units of length.
    """
    planes = pixels.findall("{*}Plane")
    found = {}
    for letter in units.keys() & {*"ZYX"}:
        stated = [plane for plane in planes if letter != "Z" or plane.get("TheZ") == "0"]
        texts = {
            (plane.get(f"Position{letter}"), plane.get(f"Position{letter}Unit", "reference frame")) for plane in stated
        }
        if len(texts) != 1:
            continue
        ((text, unit),) = texts
        number, factor = _number(text), conversion(unit_name(unit), units[letter])
        if number is not None and factor:
            found[letter] = number * factor
    return found


def _number(text: Any) -> float | None:
    """Return a finite number; None for other text, such as one with a decimal comma."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None


def _colours(values: Iterable[str | None]) -> tuple[str, ...]:
    """Return RRGGBB of signed 32-bit RGBA numbers; () if a channel has none."""
    numbers = [int(text) if text and re.fullmatch(r"-?\d{1,10}", text) else None for text in values]
    return tuple(f"{n % 2**32 >> 8:06X}" for n in numbers if n is not None) if None not in numbers else ()
