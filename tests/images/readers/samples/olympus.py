"""Minimal writers of Olympus OIF (a text and a folder of TIFFs) and OIB (the same in a compound file)."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

_SECTOR, _FREE, _END, _TABLE = 512, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
#: Streams below this size would be in the mini stream, which is not written: texts are padded instead.
_SMALLEST = 4096
_AXES = (("X", 0.0, 0.25, "um"), ("Y", 0.0, 0.5, "um"), ("C", 0.0, 1.0, ""), ("Z", 1000.0, 2000.0, "nm"))


def write_oif(path: Path, planes: Any) -> Path:
    """Write planes [C, Z, Y, X]."""
    path.write_bytes(_settings(planes.shape).encode("utf-16"))
    folder = path.with_name(f"{path.name}.files")
    folder.mkdir()
    for name, data in _tiffs(planes).items():
        (folder / name).write_bytes(data)
    return path


def write_oib(path: Path, planes: Any) -> Path:
    """Write planes [C, Z, Y, X]."""
    files = {"Main.oif": _settings(planes.shape).encode("utf-16"), **_tiffs(planes)}
    streams = {f"Stream{number:05}": data for number, data in enumerate(files.values())}
    listed = "".join(f"Stream{number:05}={name}\r\n" for number, name in enumerate(files))
    info = f"[OibSaveInfo]\r\nName=a\r\nVersion=1\r\nMainFileName=Stream00000\r\n{listed}"
    path.write_bytes(_compound({"OibInfo.txt": info.encode("utf-16"), **streams}))
    return path


def _tiffs(planes: Any) -> dict[str, bytes]:
    made = {}
    for channel, z in np.ndindex(*planes.shape[:2]):
        file = BytesIO()
        tifffile.imwrite(file, planes[channel, z], photometric="minisblack")
        made[f"s_C{channel + 1:03}Z{z + 1:03}.tif"] = file.getvalue()
    return made


def _settings(shape: tuple[int, ...]) -> str:
    sizes = dict(zip("CZYX", shape, strict=True))
    text = '[ProfileSaveInfo]\r\nName=a\r\nVersion=1\r\n[Axis Parameter Common]\r\nAxisOrder="XYCZ"\r\n'
    for number in range(8):
        axis, start, step, unit = _AXES[number] if number < len(_AXES) else ("", 0.0, 0.0, "")
        count = sizes.get(axis, 0)
        end = start + step * (count - (axis == "Z"))
        text += f'[Axis {number} Parameters Common]\r\nAxisCode="{axis}"\r\nMaxSize={count}\r\n'
        text += f'StartPosition={start}\r\nEndPosition={end}\r\nUnitName="{unit}"\r\n'
    for channel in range(sizes["C"]):
        text += f'[Channel {channel + 1} Parameters]\r\nDyeName="dye {channel + 1}"\r\n'
    return text + "[Reference Image Parameter]\r\nValidBitCounts=12\r\n"


def _compound(streams: dict[str, bytes]) -> bytes:
    """Return a compound file of version 3 with streams in its root, linked as a list ([MS-CFB])."""
    padded = {
        name: data.ljust(_SMALLEST, b"\0" if name.startswith("Stream") else b"\n") for name, data in streams.items()
    }
    padded = {
        name: (data if len(data) >= _SMALLEST and streams[name] == data else _padded_text(streams[name]))
        for name, data in padded.items()
    }
    body, starts = bytearray(), {}
    links: list[Any] = []
    for name, data in padded.items():
        starts[name] = len(links)
        count = -(-len(data) // _SECTOR)
        links += [*range(len(links) + 1, len(links) + count), _END]
        body += data.ljust(count * _SECTOR, b"\0")
    directory = len(links)
    entries = _entry("Root Entry", 5, _FREE, 1, _END, 0)
    for number, (name, data) in enumerate(padded.items(), start=1):
        following = number + 1 if number < len(padded) else _FREE
        entries += _entry(name, 2, following, _FREE, starts[name], len(data))
    count = -(-len(entries) // _SECTOR)
    links += [*range(len(links) + 1, len(links) + count), _END]
    body += entries.ljust(count * _SECTOR, b"\0")
    tables = 1
    while (len(links) + tables) * 4 > tables * _SECTOR:
        tables += 1
    first_table = len(links)
    links += [_TABLE] * tables
    table = struct.pack(f"<{len(links)}I", *links)
    body += table.ljust(tables * _SECTOR, b"\xff")
    numbers = [first_table + i if i < tables else _FREE for i in range(109)]
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16
    head += struct.pack(
        "<HHHHHHIIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 0, 0, tables, directory, 0, _SMALLEST, _END, 0, _END, 0
    )
    return head + struct.pack("<109I", *numbers) + bytes(body)


def _padded_text(data: bytes) -> bytes:
    """Return a UTF-16 text with blank lines up to the smallest size of a stream."""
    return data + "\r\n".encode("utf-16-le") * max(0, (_SMALLEST - len(data)) // 4 + 1)


def _entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
    text = (name + "\0").encode("utf-16-le")
    head = text.ljust(64, b"\0") + struct.pack("<HBBIII", len(text), kind, 1, _FREE, right, child)
    return head + b"\0" * 36 + struct.pack("<IQ", start, size)
