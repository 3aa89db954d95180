"""Sizes that PNG, JPEG, JPEG 2000, BMP and GIF images declare in their headers, read without decoding."""

from __future__ import annotations

import struct
from dataclasses import dataclass

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
BMP, GIF = b"BM", (b"GIF87a", b"GIF89a")

_CODESTREAM_START = b"\xff\x4f\xff\x51"
#: Samples per pixel by PNG colour type (ISO 15948, table 11.1); a palette is decoded to RGB or RGBA.
_PNG_SAMPLES = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}
#: Markers of JPEG (ITU-T T.81, table B.1): frame headers, and those without a length.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARKERS_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01, 0xFF}


#: Bytes of the screen descriptor and of an image descriptor of GIF89a, with what precedes them.
_GIF_SCREEN, _GIF_IMAGE = 13, 10
_GIF_EXTENSION, _GIF_DESCRIPTOR, _GIF_TRAILER, _GIF_CONTROL = 0x21, 0x2C, 0x3B, 0xF9


@dataclass(frozen=True)
class GifFrames:
    """What a GIF declares.

    Attributes:
        height, width: of the screen in pixels.
        delays: of each frame in hundredths of a second, 0 where it is not stated.
        is_complete: whether its end is marked.
    """

    height: int
    width: int
    delays: tuple[int, ...]
    is_complete: bool


def declared_shape(content: bytes) -> tuple[int, int, int, int] | None:
    """Return (height, width, samples per pixel, bytes per sample) that a PNG, JPEG, JPEG 2000 or BMP declares.

    Returns:
        None if no size is found: the file cannot be decoded, or is of another format.
    """
    try:
        if content.startswith(PNG):
            return _png(content)
        if content.startswith(b"\xff\xd8"):
            return _jpeg(content)
        if content.startswith(BMP):
            return _bmp(content)
        return _jpeg_2000(content)
    except (struct.error, IndexError):
        return None


def _png(content: bytes) -> tuple[int, int, int, int] | None:
    """Read the IHDR chunk, which is the first one (ISO 15948, 11.2.2)."""
    kind, width, height, depth, colour = struct.unpack_from(">4sIIBB", content, 12)
    if kind != b"IHDR":
        return None
    return height, width, _PNG_SAMPLES.get(colour, 4), 2 if depth == 16 else 1


def _jpeg(content: bytes) -> tuple[int, int, int, int] | None:
    """Return the largest frame that frame headers before the first scan declare (ITU-T T.81, B.2.2)."""
    offset, largest = 2, None
    while offset + 4 <= len(content):
        if content[offset] != 0xFF:
            return largest
        marker = content[offset + 1]
        if marker in _MARKERS_WITHOUT_LENGTH:
            offset += 1 if marker == 0xFF else 2
            continue
        if marker in (0xD9, 0xDA):  # end of image, start of scan
            return largest
        if marker in _FRAME_MARKERS:
            depth, height, width, samples = struct.unpack_from(">BHHB", content, offset + 4)
            shape = height, width, samples, 2 if depth > 8 else 1
            largest = max(largest or shape, shape)
        offset += 2 + int.from_bytes(content[offset + 2 : offset + 4])
    return largest


def _jpeg_2000(content: bytes) -> tuple[int, int, int, int] | None:
    """Read the SIZ marker segment, which follows the start of the codestream (ITU-T T.800, A.5.1)."""
    start = content.find(_CODESTREAM_START, 0, 2**16)
    if start < 0:
        return None
    x1, y1, x0, y0 = struct.unpack_from(">4I", content, start + 8)
    (samples,) = struct.unpack_from(">H", content, start + 40)
    max_depth = max(content[start + 42 : start + 42 + 3 * min(samples, 4) : 3], default=0)
    return max(0, y1 - y0), max(0, x1 - x0), samples, ((max_depth & 0x7F) + 8) // 8


def _bmp(content: bytes) -> tuple[int, int, int, int]:
    """Read the header of the bitmap, which is decoded to RGBA at most (BITMAPCOREHEADER or BITMAPINFOHEADER)."""
    (size,) = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", content, 18)
    return abs(height), abs(width), 4, 1


def declared_frames(content: bytes) -> GifFrames | None:
    """Return the frames of a GIF from its blocks (GIF89a specification, 18 to 27); None if it is too short."""
    try:
        width, height, flags = struct.unpack_from("<HHB", content, 6)
        at = _GIF_SCREEN + _gif_colours(flags)
        delays, delay = [], 0
        while at < len(content) and content[at] in (_GIF_EXTENSION, _GIF_DESCRIPTOR):
            if content[at] == _GIF_EXTENSION:
                if content[at + 1] == _GIF_CONTROL:
                    (delay,) = struct.unpack_from("<H", content, at + 4)
                at = _gif_end_of_blocks(content, at + 2)
            else:
                delays.append(delay)
                delay = 0
                at = _gif_end_of_blocks(content, at + _GIF_IMAGE + _gif_colours(content[at + 9]) + 1)
        return GifFrames(height, width, tuple(delays), content[at : at + 1] == bytes([_GIF_TRAILER]))
    except (struct.error, IndexError):
        return None


def _gif_colours(flags: int) -> int:
    """Return the bytes of the colour table that flags declare."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_end_of_blocks(content: bytes, at: int) -> int:
    """Return the position after a chain of sub-blocks, each of which begins with its length; the last has none."""
    while content[at]:
        at += content[at] + 1
    return at + 1
