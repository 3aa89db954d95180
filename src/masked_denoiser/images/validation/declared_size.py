"""Sizes that PNG, JPEG and JPEG 2000 images declare in their headers, read without decoding."""

from __future__ import annotations

import struct

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

_CODESTREAM_START = b"\xff\x4f\xff\x51"
#: Samples per pixel by PNG colour type (ISO 15948, table 11.1); a palette is decoded to RGB or RGBA.
_PNG_SAMPLES = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}
#: Markers of JPEG (ITU-T T.81, table B.1): frame headers, and those without a length.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARKERS_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01, 0xFF}


def declared_shape(content: bytes) -> tuple[int, int, int, int] | None:
    """Return (height, width, samples per pixel, bytes per sample) that a PNG, JPEG or JPEG 2000 declares.

    Returns:
        None if no size is found: the file cannot be decoded, or is of another format.
    """
    try:
        if content.startswith(PNG):
            return _png(content)
        if content.startswith(b"\xff\xd8"):
            return _jpeg(content)
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
