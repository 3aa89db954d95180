"""Pixel size, units and channel names of a TIFF, in the conventions of the programs that write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from tifffile import TiffFile, TiffPageSeries
from tifffile.tifffile import svs_description_metadata

from masked_denoiser.images.axes import unit_name

_INCH_UNIT, _CENTIMETER_UNIT = 2, 3
_XMP_TAG = 700
#: Default pixels per inch of programs, which are unrelated to the specimen.
_DEFAULT_DPI = (1, 72, 96, 300)


@dataclass(frozen=True)
class Calibration:
    """Pixel sizes (`steps`) and units by axis letter, and names and colours of channels, as in `Source`."""

    steps: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    channel_colours: tuple[str, ...] = ()


def read_calibration(tif: TiffFile, series: TiffPageSeries) -> Calibration:
    """Return the calibration of the full-resolution pixels of a series."""
    if tif.is_ome and tif.ome_metadata:
        return _from_ome(tif.ome_metadata, [s.index for s in tif.series].index(series.index), len(tif.series))
    if tif.is_imagej and tif.imagej_metadata:
        return _from_imagej(tif.imagej_metadata, *_pixels_per_unit(series.keyframe))
    if tif.is_svs:
        return _from_aperio(series.keyframe.description)
    if tif.is_scn:
        return from_leica(tif.pages.first.description, tif.series.index(series))
    if tif.is_bif:
        return from_ventana(page.aspage().tags.valueof(_XMP_TAG) for page in tif.pages)
    return _from_resolution(int(series.keyframe.resolutionunit), *_pixels_per_unit(series.keyframe))


def _from_ome(xml: str, index: int, series_count: int) -> Calibration:
    """Read OME-XML (https://docs.openmicroscopy.org/ome-model/latest); units default to micrometers and seconds."""
    images = _parse_xml(xml).findall("{*}Image")
    chosen = images[index if len(images) == series_count else 0 :][:1]  # empty if another file holds the metadata
    pixels = chosen[0].find("{*}Pixels") if chosen else None
    if pixels is None:
        return Calibration()
    steps, units = {}, {}
    for letter, key, default in (*((a, f"PhysicalSize{a}", "µm") for a in "ZYX"), ("T", "TimeIncrement", "s")):
        if key in pixels.attrib:
            steps[letter] = float(pixels.attrib[key])
            units[letter] = unit_name(pixels.attrib.get(f"{key}Unit", default))
    channels = pixels.findall("{*}Channel")
    names = [channel.get("Name") for channel in channels]
    labels = tuple(name or f"channel {i}" for i, name in enumerate(names)) if any(names) else ()
    return Calibration(steps, units, labels, _colours(channel.get("Color") for channel in channels))


def _colours(values: Iterable[str | None]) -> tuple[str, ...]:
    """Return RRGGBB of signed 32-bit RGBA numbers; () if a channel has none."""
    numbers = [int(text) if text and re.fullmatch(r"-?\d{1,10}", text) else None for text in values]
    return tuple(f"{n % 2**32 >> 8:06X}" for n in numbers if n is not None) if None not in numbers else ()


def _from_imagej(metadata: dict[str, Any], x_per_unit: float, y_per_unit: float) -> Calibration:
    unit = unit_name(metadata.get("unit"))
    steps, units = {}, {}
    if unit:
        sizes = {"X": _inverse(x_per_unit), "Y": _inverse(y_per_unit), "Z": abs(_number(metadata.get("spacing")))}
        steps = {a: step for a, step in sizes.items() if step}
        # ImageJ stores units of Y and Z only if they differ from that of X.
        units = {a: unit_name(metadata.get(f"{a.lower()}unit")) or unit for a in steps}
    if interval := _number(metadata.get("finterval")):
        steps["T"], units["T"] = interval, unit_name(metadata.get("tunit")) or "second"
    return Calibration(steps, units)


def _from_aperio(description: str) -> Calibration:
    micrometers = _number(svs_description_metadata(description).get("MPP"))
    if not micrometers:
        return Calibration()
    return Calibration({"Y": micrometers, "X": micrometers}, {"Y": "micrometer", "X": "micrometer"})


def from_leica(xml: str, index: int) -> Calibration:
    """Return the calibration of a Leica SCN image, from the size of its view in nanometers.

    See https://openslide.org/formats/leica. `index` counts the images that have pixels.

    Raises:
        ValueError: if the XML is broken.
    """
    images = [
        i for i in _parse_xml(xml).iterfind("{*}collection/{*}image") if i.find("{*}pixels/{*}dimension") is not None
    ]
    view, pixels = (images[index].find(f"{{*}}{tag}") for tag in ("view", "pixels"))
    steps = {a: _ratio(view, pixels, f"size{a}") / 1000 for a in "YX"}
    return Calibration(steps, dict.fromkeys(steps, "micrometer")) if all(steps.values()) else Calibration()


def from_ventana(packets: Iterable[Any]) -> Calibration:
    """Return the calibration of a Ventana BIF image, from the first XMP packet (bytes or text) with a `ScanRes`.

    See https://openslide.org/formats/ventana.

    Raises:
        ValueError: if a packet is broken.
    """
    for packet in packets:
        text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet or "")
        scans = _parse_xml(text.strip("\0 \n")).iter("iScan") if "<iScan" in text else ()
        for scan in scans:
            if step := _positive(scan.get("ScanRes")):
                return Calibration({"Y": step, "X": step}, {"Y": "micrometer", "X": "micrometer"})
    return Calibration()


def _ratio(numerator: Any, denominator: Any, key: str) -> float:
    """Return the ratio of an attribute of two elements; 0 if either is missing or invalid."""
    sizes = [_positive(None if element is None else element.get(key)) for element in (numerator, denominator)]
    return sizes[0] / sizes[1] if all(sizes) else 0.0


def _positive(text: str | None) -> float:
    """Return a positive finite number; 0 for anything else."""
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if 0 < number < float("inf") else 0.0


def _parse_xml(xml: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise ValueError(f"its XML is broken: {error}") from error


def _from_resolution(unit: int, x_per_unit: float, y_per_unit: float) -> Calibration:
    micrometers = {_INCH_UNIT: 25_400.0, _CENTIMETER_UNIT: 10_000.0}.get(unit, 0.0)
    steps = {a: micrometers * _inverse(n) for a, n in (("Y", y_per_unit), ("X", x_per_unit))}
    if not all(steps.values()) or all(round(25_400 / step, 1) in _DEFAULT_DPI for step in steps.values()):
        return Calibration()
    return Calibration(steps, dict.fromkeys(steps, "micrometer"))


def _pixels_per_unit(page: Any) -> tuple[float, float]:
    """Return the resolution tags along X and Y; 0 for missing or broken ones."""
    ratios = (page.tags.valueof(tag, default=(0, 1)) for tag in ("XResolution", "YResolution"))
    x, y = (numerator / denominator if denominator else 0.0 for numerator, denominator in ratios)
    return x, y


def _inverse(number: float) -> float:
    return 1 / number if number else 0.0


def _number(value: Any) -> float:
    """Return a number in unvalidated metadata; 0 for anything else."""
    return float(value) if isinstance(value, int | float) else 0.0
