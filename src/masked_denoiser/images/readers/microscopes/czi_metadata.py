"""Metadata of a CZI in its XML: pixel sizes, channels and names of scenes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from masked_denoiser.images.readers.microscopes.czi_library import CziSegments
from masked_denoiser.images.readers.microscopes.names import unique_names
from masked_denoiser.images.readers.tiff.calibration import positive
from masked_denoiser.images.validation.ome_xml import check_no_doctype

_MICROMETERS = 1e6
_CHANNELS = "./Metadata/Information/Image/Dimensions/Channels/Channel"
_SHOWN_CHANNELS = "./Metadata/DisplaySetting/Channels/Channel"


@dataclass(frozen=True)
class CziMetadata:
    """Metadata of a file.

    Attributes:
        steps: axis letter to pixel size in micrometers, along T in seconds.
        channel_names, channel_colours: as in `ImageMetadata`.
        scenes: names of the scenes by their numbers, where they have one.
    """

    steps: dict[str, float] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    channel_colours: tuple[str, ...] = ()
    scenes: dict[int, str] = field(default_factory=dict)

    def scene_names(self, numbers: Sequence[int]) -> list[str]:
        """Return different names for the scenes of some numbers."""
        return unique_names([self.scenes.get(number, "") for number in numbers], "scene")


def read_metadata(file: CziSegments, name: str) -> CziMetadata:
    """Return the metadata of an open file, none if it has no XML.

    Raises:
        ImageError: if its XML is too long or declares entities.
        SyntaxError: if it is broken.
    """
    text = file.metadata_xml()
    if not text:
        return CziMetadata()
    check_no_doctype(text, name)
    root = ElementTree.fromstring(text.strip("\0 \r\n"))
    channels = root.findall(_CHANNELS)
    return CziMetadata(
        _steps(root),
        tuple(channel.get("Name", "") for channel in channels) if all(c.get("Name") for c in channels) else (),
        _colours(root, channels),
        {
            int(scene.get("Index", "0")): scene.get("Name", "")
            for scene in root.iterfind("./Metadata/Information/Image/Dimensions/S/Scenes/Scene")
            if scene.get("Index", "").isdecimal()
        },
    )


def _steps(root: ElementTree.Element) -> dict[str, float]:
    """Return pixel sizes, which the file states in meters, and the interval, in seconds."""
    steps = {}
    for distance in root.iterfind("./Metadata/Scaling/Items/Distance"):
        axis, value = distance.get("Id", ""), positive(distance.findtext("Value"))
        if axis in ("X", "Y", "Z") and value:
            steps[axis] = value * _MICROMETERS
    interval = positive(root.findtext("./Metadata/Information/Image/Dimensions/T/Positions/Interval/Increment"))
    return steps | ({"T": interval} if interval else {})


def _colours(root: ElementTree.Element, channels: Sequence[ElementTree.Element]) -> tuple[str, ...]:
    """Return the colours in which channels are shown, "#AARRGGBB" in the file; () if one is unknown."""
    shown = {channel.get("Id"): channel.findtext("Color", "") for channel in root.iterfind(_SHOWN_CHANNELS)}
    found = [shown.get(channel.get("Id"), "") or channel.findtext("Color", "") for channel in channels]
    matches = [re.fullmatch("#(?:[0-9A-Fa-f]{2})?([0-9A-Fa-f]{6})", colour) for colour in found]
    return tuple(match[1].upper() for match in matches if match) if all(matches) else ()
