"""Sizes that compressed images declare in their first bytes, read without decoding."""

from __future__ import annotations

import struct

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

_CODESTREAM = b"\xff\x4f\xff\x51"
#: Samples of a pixel by the colour type of a PNG (ISO 15948, table 11.1); a palette becomes RGB or RGBA.
_PNG_SAMPLES = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}
#: Frame headers of JPEG (ITU-T T.81, table B.1), and markers without a length.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset(range(0xD0, 0xD9)) | {0x01, 0xFF}


def declared_shape(content: bytes) -> tuple[int, int, int, int] | None:
    """Height, width, samples of a pixel, and bytes of a sample that a PNG, JPEG or JPEG 2000 declares.

    Returns:
        None where no size is found: such a file cannot be decoded, or is of another kind.
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
    """ISO 15948, 11.2.2: IHDR is the first chunk."""
    kind, width, height, depth, colour = struct.unpack_from(">4sIIBB", content, 12)
    if kind != b"IHDR":
        return None
    return height, width, _PNG_SAMPLES.get(colour, 4), 2 if depth == 16 else 1


def _jpeg(content: bytes) -> tuple[int, int, int, int] | None:
    """ITU-T T.81, B.2.2: the first frame header behind the marker segments; the largest, should there be several."""
    at, found = 2, None
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            return found
        marker = content[at + 1]
        if marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in (0xD9, 0xDA):
            return found
        if marker in _FRAMES:
            depth, height, width, samples = struct.unpack_from(">BHHB", content, at + 4)
            shape = height, width, samples, 2 if depth > 8 else 1
            found = max(found or shape, shape)
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    return found


def _jpeg_2000(content: bytes) -> tuple[int, int, int, int] | None:
    """ITU-T T.800, A.5.1: the SIZ marker segment follows the start of the codestream."""
    start = content.find(_CODESTREAM, 0, 2**16)
    if start < 0:
        return None
    x1, y1, x0, y0 = struct.unpack_from(">4I", content, start + 8)
    (samples,) = struct.unpack_from(">H", content, start + 40)
    deepest = max(content[start + 42 : start + 42 + 3 * min(samples, 4) : 3], default=0)
    return max(0, y1 - y0), max(0, x1 - x0), samples, ((deepest & 0x7F) + 8) // 8
