"""Frames of a DICOM file that has many: its header, which describes each of them, is parsed only once."""

from __future__ import annotations

import struct
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom.encaps import encapsulate, generate_fragments, get_frame, parse_basic_offsets, parse_fragments
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options

from masked_denoiser.images.readers.medical.dicom_headers import Header, has_preamble, syntax_of

_OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
#: Elements by which frames are decoded and found.
_TAGS = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", *_OFFSETS, *(
        f"{kind}{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
    ),
)  # fmt: skip
_KEYWORDS = {0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData", 0x0010: "PixelData"}
#: Bytes before the length or value of an item of compressed pixels: its tag and its length.
_ITEM_BYTES = 8


class MultiFrameFile:
    """A file of several frames, which any thread may decode.

    Attributes:
        path: of the file, which is opened for each frame.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def decode(self, index: int) -> np.ndarray[Any, Any]:
        """Return the stored samples of a frame as pydicom does, [height, width] or [height, width, samples].

        Raises:
            AttributeError, ValueError, RuntimeError, NotImplementedError: by pydicom, for damaged data.
            OSError: if the file cannot be read.
        """
        header, start, options = self._parsed
        decoder = get_decoder(syntax_of(header))
        with self.path.open("rb") as file:
            file.seek(start)
            if decoder.is_native:  # it reads a frame at its offset
                return decoder.as_array(file, index=index, **options)[0]
            frame = self._compressed(file, index)
        options = {**options, "number_of_frames": 1}
        return decoder.as_array(BytesIO(encapsulate([frame], has_bot=False)), index=0, **options)[0]

    @property
    def header(self) -> Header:
        """Elements that describe the stored samples."""
        return self._parsed[0]

    @cached_property
    def _parsed(self) -> tuple[Header, int, dict[str, Any]]:
        """Header, offset of the value that holds the pixels, and options of the decoder."""
        with self.path.open("rb") as file:
            force = not has_preamble(self.path)
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS), force=force)
            implicit, little_endian = header.original_encoding
            group, element, vr = struct.unpack(f"{'<' if little_endian else '>'}HH2s", file.read(6))
            start = file.tell() + (2 if implicit else 6)
        if group != 0x7FE0 or element not in _KEYWORDS:
            raise ValueError("it has lost its pixels")
        options = as_pixel_options(header, pixel_keyword=_KEYWORDS[element], transfer_syntax_uid=syntax_of(header))
        options.pop("extended_offsets", None)  # see `_extents`
        return header, start, options if implicit else {**options, "pixel_vr": vr.decode("ascii")}

    def _compressed(self, file: BinaryIO, index: int) -> bytes:
        """Return the bytes of a compressed frame, which may consist of several fragments."""
        extents = self._extents
        if extents is None:  # fragments have to be searched for the ends of frames
            return get_frame(file, index, number_of_frames=self._parsed[2]["number_of_frames"])
        if index >= len(extents):
            raise ValueError(f"it has {len(extents)} compressed frames, and frame {index + 1} is needed")
        begin, end = extents[index]
        file.seek(begin)
        return b"".join(generate_fragments(file.read(-1 if end is None else end - begin)))

    @cached_property
    def _extents(self) -> list[tuple[int, int | None]] | None:
        """Begin and end of the fragments of each compressed frame; no end for the last, None if frames are unknown."""
        header, start, options = self._parsed
        with self.path.open("rb") as file:
            file.seek(start)
            begins = parse_basic_offsets(file)
            first = file.tell()
            if all(name in header for name in _OFFSETS):
                offsets, lengths = (_integers(header[name].value) for name in _OFFSETS)
                pairs = zip(offsets, lengths, strict=True)
                return [(first + at, first + at + _ITEM_BYTES + length) for at, length in pairs]
            if begins:
                begins = [first + at for at in begins]
            else:
                _, begins = parse_fragments(file)
                if len(begins) != options["number_of_frames"]:
                    return None
        return list(zip(begins, [*begins[1:], None], strict=True))


def _integers(values: bytes) -> list[int]:
    return [value for (value,) in struct.iter_unpack("<Q", values)]
