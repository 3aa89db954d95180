"""Orientation of images that are stored rotated or mirrored: the TIFF tag 274, which EXIF adopted."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from masked_denoiser.images.indexing import Spans
from masked_denoiser.images.lazy_arrays import mirrored
from masked_denoiser.images.readers.converted import LevelArray, LevelView

Array = np.ndarray[Any, Any]

#: Number of the tag "Orientation" (TIFF 6.0, section 8).
ORIENTATION = 274

#: Orientation to how an image is shown upright: transposed first, flipped along Y, flipped along X, and in words.
_STEPS = {
    2: (False, False, True, "mirrored horizontally"),
    3: (False, True, True, "rotated by 180 degrees"),
    4: (False, True, False, "mirrored vertically"),
    5: (True, False, False, "transposed"),
    6: (True, False, True, "rotated by 90 degrees clockwise"),
    7: (True, True, True, "transposed along the other diagonal"),
    8: (True, True, False, "rotated by 90 degrees counterclockwise"),
}


def valid_orientation(value: Any) -> int:
    """Return an orientation, 1 to 8; 1 (upright) for anything else that a file declares."""
    return int(value) if isinstance(value, int) and value in _STEPS else 1


def is_transposed(orientation: int) -> bool:
    """Return whether rows and columns are exchanged."""
    return orientation in _STEPS and _STEPS[orientation][0]


def orientation_note(orientation: int) -> tuple[str, ...]:
    """Return a note on what was applied; () for an upright image."""
    return (f"it was {_STEPS[orientation][3]}, as its orientation tag says",) if orientation in _STEPS else ()


def upright(pixels: Array, orientation: int) -> Array:
    """Return [height, width, ...] as it should be shown."""
    if orientation not in _STEPS:
        return pixels
    transposed, flip_y, flip_x, _ = _STEPS[orientation]
    turned = pixels.swapaxes(0, 1) if transposed else pixels
    return np.ascontiguousarray(turned[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def upright_level(array: LevelArray, axes: str, orientation: int) -> LevelArray:
    """Return a lazy array of these axes as it should be shown."""
    return OrientedArray(array, axes, orientation) if orientation in _STEPS else array


class OrientedArray(LevelView):
    """A view of an array that is transposed and flipped along Y and X."""

    def __init__(self, array: LevelArray, axes: str, orientation: int) -> None:
        transposed, flip_y, flip_x, _ = _STEPS[orientation]
        self._y, self._x, self._transposed = axes.index("Y"), axes.index("X"), transposed
        self._flipped = tuple(at for at, flip in ((self._y, flip_y), (self._x, flip_x)) if flip)
        super().__init__(array, self._exchanged(array.shape), self._exchanged(array.chunks), array.dtype)

    def _read(self, spans: Spans) -> Array:
        stored = mirrored(spans, self.shape, self._flipped)
        block = self._array[tuple(slice(*span) for span in self._exchanged(tuple(stored)))]
        turned = block.swapaxes(self._y, self._x) if self._transposed else block
        return np.flip(turned, self._flipped)

    def _exchanged(self, sides: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return one value for each dimension with those of Y and X exchanged, if the view is transposed."""
        if not self._transposed:
            return sides
        exchanged = list(sides)
        exchanged[self._y], exchanged[self._x] = sides[self._x], sides[self._y]
        return tuple(exchanged)


def orientation_of_exif(block: bytes) -> int:
    """Return the orientation in an EXIF block, which begins like a TIFF; 1 if there is none, or it is broken."""
    layout = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if layout is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{layout}I", block, 4)
        (count,) = struct.unpack_from(f"{layout}H", block, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, values, value = struct.unpack_from(f"{layout}HHIH", block, entry)
            if (tag, kind, values) == (ORIENTATION, 3, 1):
                return valid_orientation(value)
    except struct.error:
        return 1
    return 1


def exif_of_jpeg(content: bytes) -> bytes:
    """Return the EXIF block of a JPEG, from its segments APP1 (CIPA DC-008, 4.5.4); b"" if there is none."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] not in (0xD9, 0xDA):
        if content[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4])
        if content[at + 1] == 0xE1 and content[at + 4 : at + 10] == b"Exif\0\0":
            return content[at + 10 : end]
        at = end
    return b""


def exif_of_png(content: bytes) -> bytes:
    """Return the EXIF block of a PNG, its chunk eXIf (PNG, third edition, 11.3.4.6); b"" if there is none."""
    at = 8
    while at + 8 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        if kind == b"eXIf":
            return content[at + 8 : at + 8 + length]
        at += 12 + length
    return b""
