"""Metadata of whole-slide scanners: Aperio, Leica, Ventana, and Akoya (PerkinElmer)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tifffile.tifffile import svs_description_metadata

from masked_denoiser.images.readers.tiff.calibration import Calibration, in_micrometers, parse_xml, positive
from masked_denoiser.images.validation.ome_xml import check_no_doctype


def from_aperio(description: str) -> Calibration:
    """Return the calibration in the description of an Aperio SVS: its `MPP`, in micrometers.

    Scanners write it with the decimal separator of their country.
    """
    micrometers = positive(str(svs_description_metadata(description).get("MPP", "")).replace(",", "."))
    return in_micrometers(Y=micrometers, X=micrometers)


def from_leica(xml: str, index: int) -> Calibration:
    """Return the calibration of a Leica SCN image, from the size of its view in nanometers.

    See https://openslide.org/formats/leica. `index` counts the images that have pixels.

    Raises:
        ValueError: if the XML is broken.
    """
    images = [
        i for i in parse_xml(xml).iterfind("{*}collection/{*}image") if i.find("{*}pixels/{*}dimension") is not None
    ]
    view, pixels = (images[index].find(f"{{*}}{tag}") for tag in ("view", "pixels"))
    return in_micrometers(Y=_ratio(view, pixels, "sizeY") / 1000, X=_ratio(view, pixels, "sizeX") / 1000)


def from_ventana(packets: Iterable[Any]) -> Calibration:
    """Return the calibration of a Ventana BIF image, from the first XMP packet (bytes or text) with a `ScanRes`.

    See https://openslide.org/formats/ventana.

    Raises:
        ValueError: if a packet is broken.
    """
    for packet in packets:
        text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet or "")
        scans = parse_xml(text.strip("\0 \n")).iter("iScan") if "<iScan" in text else ()
        for scan in scans:
            if step := positive(scan.get("ScanRes")):
                return in_micrometers(Y=step, X=step)
    return Calibration()


def from_perkin_elmer(descriptions: Iterable[str], name: str) -> Calibration:
    """Return names and colours of the channels of a QPTIFF, from the XML that describes each page.

    Args:
        descriptions: XML of each channel, with the elements `Name` and `Color`, as "255,128,0".
        name: of the image, for errors.

    Raises:
        ImageError: if the XML declares a document type.
        ValueError: if it is broken.
    """
    names, colours = [], []
    for xml in descriptions:
        check_no_doctype(xml, name)
        root = parse_xml(xml.strip("\0 \n\ufeff"))
        names.append((root.findtext("Name") or "").strip())
        colours.append(_hex_of_decimal(root.findtext("Color") or ""))
    labels = tuple(label or f"channel {i}" for i, label in enumerate(names)) if any(names) else ()
    return Calibration(channel_names=labels, channel_colours=tuple(colours) if all(colours) else ())


def _hex_of_decimal(text: str) -> str:
    """Return the hex digits of three numbers of 0 to 255 between commas; "" for anything else."""
    parts = [part.strip() for part in text.split(",")]
    valid = len(parts) == 3 and all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts)
    return "".join(f"{int(part):02X}" for part in parts) if valid else ""


def _ratio(numerator: Any, denominator: Any, key: str) -> float:
    """Return the ratio of an attribute of two elements; 0 if either is missing or invalid."""
    sizes = [positive(None if element is None else element.get(key)) for element in (numerator, denominator)]
    return sizes[0] / sizes[1] if all(sizes) else 0.0
