"""Minimal writer of Leica LIF: the XML, then a memory block for each image (as `liffile` parses them)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_NUMBERS = {"X": 1, "Y": 2, "Z": 3, "T": 4}
#: Step and unit of each axis.
STEPS = {"X": (2.5e-7, "m"), "Y": (5e-7, "m"), "Z": (2e-6, "m"), "T": (3.0, "s")}


def write_lif(path: Path, images: Mapping[str, tuple[str, Any]]) -> Path:
    """Write images by name, each as axes of XYZTC with S last for blue, green, red, and the array."""
    elements, blocks = "", b""
    for number, (name, (axes, array)) in enumerate(images.items()):
        elements += _element(name, f"MemBlock_{number}", axes, array)
        blocks += _block(f"MemBlock_{number}", np.ascontiguousarray(array).tobytes())
    xml = (
        f'<LMSDataContainerHeader Version="2"><Element Name="project"><Children>{elements}'
        "</Children></Element></LMSDataContainerHeader>"
    )
    text = xml.encode("utf-16-le")
    path.write_bytes(struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(xml)) + text + blocks)
    return path


def write_lof(path: Path, axes: str, array: Any) -> Path:
    """Write a single image: a mark, the pixels and the XML."""
    mark, data = "LMS_Object_File", np.ascontiguousarray(array).tobytes()
    xml = f'<LMSDataContainerHeader Version="2">{_element("image", "MemBlock_0", axes, array)}</LMSDataContainerHeader>'
    head = struct.pack("<IIBI", 0x70, 2 * len(mark) + 5, 0x2A, len(mark)) + mark.encode("utf-16-le")
    pixels = struct.pack("<BIBI", 0x2A, 2, 0x2A, 0) + struct.pack("<BQ", 0x2A, len(data)) + data
    text = struct.pack("<IIBI", 0x70, 2 * len(xml) + 5, 0x2A, len(xml)) + xml.encode("utf-16-le")
    path.write_bytes(head + pixels + text)
    return path


def _block(name: str, data: bytes) -> bytes:
    text = name.encode("utf-16-le")
    return struct.pack("<IIBQBI", 0x70, len(text) + 14, 0x2A, len(data), 0x2A, len(name)) + text + data


def _element(name: str, block: str, axes: str, array: Any) -> str:
    strides = dict(zip(axes, array.strides, strict=True))
    sizes = dict(zip(axes, array.shape, strict=True))
    channel_axis = "S" if "S" in axes else "C"
    channels = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="{3 - at if "S" in axes else 0}" '
        f'Resolution="{8 * array.itemsize}" NameOfMeasuredQuantity="" Min="0" Max="255" Unit="" '
        f'LUTName="{("Green", "Red", "Blue")[at]}" IsLUTInverted="0" '
        f'BytesInc="{at * strides.get(channel_axis, 0)}" BitInc="0"/>'
        for at in range(sizes.get(channel_axis, 1))
    )
    dimensions = "".join(
        f'<DimensionDescription DimID="{_NUMBERS[a]}" NumberOfElements="{sizes[a]}" Origin="0" '
        f'Length="{STEPS[a][0] * (sizes[a] - 1)}" Unit="{STEPS[a][1]}" BitInc="0" BytesInc="{strides[a]}"/>'
        for a in reversed(axes)
        if a in _NUMBERS
    )
    return (
        f'<Element Name="{name}"><Data><Image><ImageDescription><Channels>{channels}</Channels>'
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{array.nbytes}" MemoryBlockID="{block}"/></Element>'
    )
