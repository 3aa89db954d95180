"""Small slides in the layout of the scanner vendors: tags, names and descriptions from public documentation.

See https://openslide.org/formats and tifffile's readers. The pixels are compressed without loss, unlike a scanner's.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

Array = np.ndarray[Any, Any]

_HOW: dict[str, Any] = {"photometric": "rgb", "metadata": None, "compression": "zlib"}


def scn(folder: Path, image: Array) -> Path:
    """Write a Leica SCN: a macro image, then a scan in two levels with pixels of 500 nm (Y) by 250 nm (X)."""
    height, width = image.shape[:2]
    half = image[::2, ::2]
    words = f"""<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
 <collection name="slide" sizeX="26000000" sizeY="76000000"><barcode>MTI=</barcode>
  <image name="image_0"><pixels sizeX="20" sizeY="40"><dimension sizeX="20" sizeY="40" r="0" ifd="0"/></pixels>
   <view sizeX="26000000" sizeY="76000000" offsetX="0" offsetY="0"/></image>
  <image name="image_1"><pixels sizeX="{width}" sizeY="{height}">
    <dimension sizeX="{width}" sizeY="{height}" r="0" ifd="1"/>
    <dimension sizeX="{half.shape[1]}" sizeY="{half.shape[0]}" r="1" ifd="2"/></pixels>
   <view sizeX="{width * 250}" sizeY="{height * 500}" offsetX="9000" offsetY="8000"/></image>
 </collection>
</scn>"""
    with tifffile.TiffWriter(folder / "image.scn", bigtiff=True) as writer:
        writer.write(image[:40, :20], tile=(32, 32), description=words, **_HOW)
        writer.write(image, tile=(32, 32), **_HOW)
        writer.write(half, tile=(32, 32), **_HOW)
    return folder / "image.scn"


def bif(folder: Path, image: Array) -> Path:
    """Write a Ventana BIF: label, thumbnail and named levels; the pixel size is in the XMP packet of the label."""
    packet = (
        b'<iScan Magnification="40" ScanRes="0.232500" UnitNumber="BI10N0306" ShowLabel="1"><AOI0 Left="4"/></iScan>'
    )
    xmp = [(700, 1, len(packet), packet, True)]
    with tifffile.TiffWriter(folder / "image.bif", bigtiff=True) as writer:
        writer.write(image[:9, :9], description="Label Image", extratags=xmp, **_HOW)
        writer.write(image[:8, :9], description="Thumbnail", **_HOW)
        writer.write(image, tile=(32, 32), description="level=0 mag=40 quality=90", **_HOW)
        writer.write(image[::2, ::2], tile=(32, 32), description="level=1 mag=20 quality=90", **_HOW)
    return folder / "image.bif"


def ndpi(folder: Path, image: Array) -> Path:
    """Write a Hamamatsu NDPI: two levels and a macro image, marked by magnification; 22 500 pixels per cm along Y."""
    path = folder / "image.ndpi"
    with tifffile.TiffWriter(path) as writer:
        for pixels, magnification in ((image, 20.0), (image[::2, ::2], 10.0), (image[:11, :12], -1.0)):
            tags = [
                (271, "s", 0, "Hamamatsu", True),
                (65420, "I", 1, 1, True),
                (65421, "f", 1, magnification, True),
            ]
            per_cm = (45_000 * magnification / 20, 22_500 * magnification / 20)
            resolution = {"resolution": per_cm, "resolutionunit": 3} if magnification > 0 else {}
            writer.write(pixels, extratags=tags, rowsperstrip=16, software=False, **resolution, **_HOW)
    _widen(path)
    return path


def _widen(path: Path) -> None:
    """Move the directories of a classic TIFF to its end, with 64-bit offsets as in NDPI."""
    content = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", content, 4)
    place = 4
    while at:
        (count,) = struct.unpack_from("<H", content, at)
        tags = content[at + 2 : at + 2 + 12 * count]
        (at,) = struct.unpack_from("<I", content, at + 2 + 12 * count)
        content += bytes(len(content) % 2)
        struct.pack_into("<Q", content, place, len(content))
        place = len(content) + 2 + 12 * count
        content += struct.pack("<H", count) + tags + bytes(8) + bytes(4 * count)
    path.write_bytes(content)
