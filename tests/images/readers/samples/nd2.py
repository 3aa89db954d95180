"""Minimal writer of Nikon ND2, version 3.0: chunks of CLx Lite variants and frames, and the map of the chunks."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

_MAGIC = 0x0ABECEDA
_FRAME_NAME_BYTES = 4096 - 16 - 8
_TIME_LOOP, _POSITION_LOOP, _Z_LOOP = 1, 2, 4


def write_nd2(
    path: Path, frames: Any, loops: dict[str, int], *, compressed: bool = False, left_out: tuple[int, ...] = ()
) -> Path:
    """Write frames [number, Y, X, C] in the order of the loops (of "T", "P", "Z"), outermost first."""
    out, table = bytearray(), {}

    def chunk(name: bytes, data: bytes, reserve: int = 20) -> None:
        table[name] = (len(out), len(data))
        out.extend(struct.pack("<IIQ", _MAGIC, max(reserve, len(name)), len(data)))
        out.extend(name.ljust(max(reserve, len(name)), b"\0") + data)

    out += struct.pack("<IIQ32s64s", _MAGIC, 32, 64, b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0")
    for number, frame in enumerate(frames):
        data = np.ascontiguousarray(frame).tobytes()
        if number not in left_out:
            stored = zlib.compress(data) if compressed else data
            chunk(f"ImageDataSeq|{number}!".encode(), b"\0" * 8 + stored, _FRAME_NAME_BYTES)
    chunk(b"ImageAttributesLV!", _variant("SLxImageAttributes", _attributes(frames, compressed)))
    chunk(b"ImageMetadataSeqLV|0!", _variant("SLxPictureMetadata", _picture(frames.shape[-1])))
    if loops:
        chunk(b"ImageMetadataLV!", _variant("SLxExperiment", _experiment(list(loops.items()))))
    start = len(out)
    entries = b"".join(name + struct.pack("<QQ", *at) for name, at in table.items())
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!"
    chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", entries + end + struct.pack("<Q", start))
    path.write_bytes(out + end + struct.pack("<Q", start))
    return path


def _attributes(frames: Any, compressed: bool) -> dict[str, Any]:
    count, height, width, channels = frames.shape
    bits = 8 * frames.itemsize
    return {
        "uiWidth": width, "uiWidthBytes": width * channels * frames.itemsize, "uiHeight": height, "uiComp": channels,
        "uiBpcInMemory": bits, "uiBpcSignificant": bits, "uiSequenceCount": count,
        "eCompression": 0 if compressed else 2, "dCompressionParam": 0.0,
    }  # fmt: skip


def _picture(channels: int) -> dict[str, Any]:
    planes = {
        f"a{i}": {
            "uiCompCount": 1,
            "sDescription": f"channel {i}",
            "uiColor": 0x00FF00 << i,
            "uiSampleIndex": i,
            "pFluorescentProbe": {"m_sName": "dye"},
        }
        for i in range(channels)
    }
    pictures = {"uiCount": channels, "sPlaneNew": planes}
    return {"bCalibrated": True, "dCalibration": 0.25, "sPicturePlanes": pictures}


def _experiment(loops: list[tuple[str, int]]) -> dict[str, Any]:
    (axis, count), *inner = loops
    points = {f"i{i:010}": {"dPosX": 0.0, "dPosY": 0.0, "dPosName": f"well {i}"} for i in range(count)}
    kinds: dict[str, tuple[int, dict[str, Any]]] = {
        "T": (_TIME_LOOP, {"uiCount": count, "dStart": 0.0, "dPeriod": 2000.0, "dDuration": 2000.0 * count}),
        "P": (_POSITION_LOOP, {"uiCount": count, "Points": points}),
        "Z": (_Z_LOOP, {"uiCount": count, "dZLow": 0.0, "dZHigh": 1.5, "dZStep": 1.5, "dZHome": 0.0}),
    }
    kind, parameters = kinds[axis]
    found: dict[str, Any] = {"eType": kind, "uLoopPars": parameters}
    return found | ({"ppNextLevelEx": {"i0000000000": _experiment(inner)}} if inner else {})


def _variant(name: str, value: Any) -> bytes:
    """Return a value as a CLx Lite variant: type, length of the name, name as UTF-16, content."""
    text = (name + "\0").encode("utf-16-le")
    kinds = {bool: (1, "<B"), int: (3, "<I"), float: (6, "<d")}
    if isinstance(value, dict):
        items = b"".join(_variant(key, one) for key, one in value.items())
        head = struct.pack("<BB", 11, len(name) + 1) + text
        return head + struct.pack("<IQ", len(value), len(head) + 12 + len(items)) + items + b"\0" * 8 * len(value)
    if isinstance(value, str):
        return struct.pack("<BB", 8, len(name) + 1) + text + (value + "\0").encode("utf-16-le")
    number, form = kinds[type(value)]
    return struct.pack("<BB", number, len(name) + 1) + text + struct.pack(form, value)
