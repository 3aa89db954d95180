"""Minimal writer of Zeiss CZI: file header, metadata, directory and sub-blocks (as `czifile` parses them)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_PIXEL_TYPES = {("u1", 1): 0, ("u2", 1): 1, ("f4", 1): 2, ("u1", 3): 3, ("f8", 1): 13}


@dataclass(frozen=True)
class Block:
    """Pixels [Y, X] or [Y, X, 3] (blue, green, red), and where they lie along the axes of the file.

    With `stored` as bytes the pixels are compressed in the way `compression`; `size` is that at full resolution.
    """

    pixels: Any
    starts: Mapping[str, int]
    compression: int = 0
    stored: bytes | None = None
    size: tuple[int, int] | None = None


def write_czi(path: Path, blocks: Sequence[Block], xml: str = "") -> Path:
    """Write blocks one after another, then the directory and the metadata."""
    out = bytearray(_segment("ZISRAWFILE", b"\0" * 512))
    entries = []
    for block in blocks:
        entry = _entry(block, len(out))
        data = block.stored if block.stored is not None else np.ascontiguousarray(block.pixels).tobytes()
        head = struct.pack("<iiq", 0, 0, len(data)) + entry
        out += _segment("ZISRAWSUBBLOCK", head.ljust(16 + max(240, len(entry)), b"\0") + data)
        entries.append(entry)
    directory = len(out)
    out += _segment("ZISRAWDIRECTORY", struct.pack("<i124x", len(entries)) + b"".join(entries))
    metadata = len(out) if xml else 0
    if xml:
        out += _segment("ZISRAWMETADATA", struct.pack("<ii248x", len(xml.encode()), 0) + xml.encode())
    header = struct.pack("<iiii16s16siqqiq", 1, 0, 0, 0, b"a" * 16, b"a" * 16, 0, directory, metadata, 0, 0)
    out[32 : 32 + len(header)] = header
    path.write_bytes(out)
    return path


def _segment(name: str, data: bytes) -> bytes:
    return struct.pack("<16sqq", name.encode(), len(data), len(data)) + data


def _entry(block: Block, position: int) -> bytes:
    height, width = block.pixels.shape[:2]
    full = block.size or (height, width)
    kind = _PIXEL_TYPES[block.pixels.dtype.str[1:], block.pixels.shape[2] if block.pixels.ndim == 3 else 1]
    dimensions = [("X", block.starts.get("X", 0), full[1], width), ("Y", block.starts.get("Y", 0), full[0], height)]
    dimensions += [(name, start, 1, 1) for name, start in block.starts.items() if name not in "XY"]
    head = struct.pack("<2siqiiBB4si", b"DV", kind, position, 0, block.compression, 0, 0, b"", len(dimensions))
    return head + b"".join(
        struct.pack("<4siifi", name.encode(), start, size, float(start), stored)
        for name, start, size, stored in dimensions
    )


def metadata_xml(scenes: Sequence[str] = (), channels: Sequence[str] = ("DAPI", "GFP")) -> str:
    """Return metadata with pixel sizes of 0.5, 0.25 and 2 micrometers along Y, X and Z."""
    named = "".join(f'<Scene Index="{i}" Name="{name}"/>' for i, name in enumerate(scenes))
    listed = "".join(
        f'<Channel Id="Channel:{i}" Name="{name}"><Color>#FF00FF{i:02X}</Color></Channel>'
        for i, name in enumerate(channels)
    )
    steps = {"X": 2.5e-7, "Y": 5e-7, "Z": 2e-6}
    distances = "".join(f'<Distance Id="{a}"><Value>{step}</Value></Distance>' for a, step in steps.items())
    return (
        "<ImageDocument><Metadata><Information><Image><Dimensions>"
        f"<S><Scenes>{named}</Scenes></S><Channels>{listed}</Channels></Dimensions></Image></Information>"
        f"<Scaling><Items>{distances}</Items></Scaling></Metadata></ImageDocument>"
    )
