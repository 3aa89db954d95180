"""Headers of DICOM files: reading without pixels, and refusal of files whose pixels cannot be denoised."""

from __future__ import annotations

import warnings
from collections import deque
from math import prod
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.medical import dicom_codecs
from masked_denoiser.images.readers.signatures import read_head
from masked_denoiser.images.validation.size_limits import check_decoded_size

Header = pydicom.Dataset

#: Elements from which a source is described. All others, among them those on the patient, are not even read.
_TAGS = (
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID",
    "SeriesNumber", "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SpacingBetweenSlices", "FrameTime",
    "GridFrameOffsetVector", "DoseGridScaling", "SequenceOfUltrasoundRegions", "SamplesPerPixel",
    "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "WindowCenter", "WindowWidth",
    "RescaleIntercept", "RescaleSlope", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "BurnedInAnnotation", "ModalityLUTSequence", "FrameIncrementPointer", "FrameTimeVector",
)  # fmt: skip

#: What pydicom raises for damaged files.
_ERRORS = (
    BytesLengthException, InvalidDicomError, AttributeError, KeyError, ValueError, TypeError, NotImplementedError,
    EOFError, OSError, RecursionError, ArithmeticError, LookupError,
)  # fmt: skip

_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
_GRAY = ("MONOCHROME1", "MONOCHROME2")


def read_header(path: Path) -> Header:
    """Return the elements of a file that describe its pixels, and as `pixels_offset` where these begin.

    Raises:
        ImageError: if it is not a DICOM file, or a damaged one.
    """
    dicom_codecs.register()
    forced = not has_preamble(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of elements that break the rules of their type
            with path.open("rb") as file:
                header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS), force=forced)
                implicit, _ = header.original_encoding
                header.pixels_offset = file.tell() + (8 if implicit else 12)  # of the element that holds the pixels
            for part in (header.file_meta, header):
                deque(part.iterall(), 0)  # converts the values, which is otherwise done when they are used
    except _ERRORS as error:
        # Without the text of the error, which may quote an element that identifies a patient.
        kind = type(error).__name__
        raise ImageError(f"{path}: is a damaged DICOM file ({kind}); copy or export it again") from error
    return header


def has_preamble(path: Path) -> bool:
    """Return whether a file has the preamble; until 1993 the format allowed files without it."""
    return read_head(path)[128:132] == b"DICM"


def read_without_preamble(path: Path) -> Header:
    """Return all of a file without preamble, with the transfer syntax that its encoding shows."""
    dataset = pydicom.dcmread(path, force=True)
    dataset.file_meta.TransferSyntaxUID = syntax_of(dataset)
    return dataset


def has_pixels(header: Header) -> bool:
    """Return whether a file declares an image, rather than a report, a plan or a list of contours."""
    return "Rows" in header and "Columns" in header and "BitsAllocated" in header


def is_index(header: Header) -> bool:
    """Return whether a file is the index of a medium (DICOM PS3.10, 8.6)."""
    return str(header.file_meta.get("MediaStorageSOPClassUID", "")) == MediaStorageDirectoryStorage


def syntax_of(header: Header) -> UID:
    """Return the transfer syntax; implicit little endian if the file does not state it (DICOM PS3.5, 10)."""
    return UID(header.file_meta.get("TransferSyntaxUID") or _guessed_syntax(header))


def _guessed_syntax(header: Header) -> str:
    implicit, little = header.original_encoding
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little else ExplicitVRBigEndian)


def check_header(header: Header, path: Path) -> None:
    """Check that the pixels of a file can be decoded and denoised.

    Raises:
        ImageError: that names what is missing, unsupported or damaged.
    """
    modality = shown(header.get("Modality")) or "unknown"
    if is_index(header):
        raise ImageError(
            f"{path}: is the index of a DICOM medium; give a folder of images, or '{path.parent}/**' for all"
        )
    if not has_pixels(header):
        raise ImageError(f"{path}: is a DICOM file without pixels (modality {modality}); give an image")
    if str(header.get("SOPClassUID", "")) == _SLIDE:
        raise ImageError(
            f"{path}: is a level of a DICOM slide, which is not supported; convert the slide to OME-TIFF, or open it "
            "with --reader"
        )
    if modality == "SEG" or header.BitsAllocated not in (8, 16, 32, 64):
        raise ImageError(
            f"{path}: is a mask of {shown(header.BitsAllocated)} bits per pixel; give the image that it belongs to"
        )
    photometric = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
    if photometric not in (*_COLOURS, *_GRAY):
        raise ImageError(f"{path}: its colours ({shown(photometric)}) are not supported; convert it to RGB")
    if photometric in _COLOURS and header.BitsAllocated > 16:
        raise ImageError(f"{path}: has colours of {shown(header.BitsAllocated)} bits; convert it to 8 or 16 bits")
    check_decoded_size(_frame_shape(header), header.BitsAllocated // 8, "a frame", str(path))
    _check_syntax(header, path)


def frames_of(header: Header, path: Path) -> int:
    """Return the number of frames.

    Raises:
        ImageError: if it is not a positive number.
    """
    try:
        frames = int(header.get("NumberOfFrames") or 1)
    except (TypeError, ValueError) as error:
        raise ImageError(f"{path}: its number of frames is invalid; copy or export it again") from error
    if frames < 1:
        raise ImageError(f"{path}: declares {frames} frames; copy or export it again")
    return frames


def is_colour(header: Header) -> bool:
    """Return whether pixels are decoded to red, green and blue."""
    return str(header.get("PhotometricInterpretation", "")) in _COLOURS


def _frame_shape(header: Header) -> tuple[int, ...]:
    return int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel", 1) or 1)


def _check_syntax(header: Header, path: Path) -> None:
    syntax = syntax_of(header)
    if syntax in _UNCOMPRESSED:
        needed = prod(_frame_shape(header)) * (header.BitsAllocated // 8) * frames_of(header, path)
        if header.get("PhotometricInterpretation") == "YBR_FULL_422":
            needed = needed * 2 // 3
        found = max(0, path.stat().st_size - header.pixels_offset)
        if found < needed:
            raise ImageError(f"{path}: is truncated, it has {found} of {needed} bytes of pixels; copy it again")
        return
    if not _is_decodable(syntax):
        raise ImageError(
            f"{path}: is compressed as {shown(syntax.name)}, which cannot be decoded; decompress it, such as with "
            "gdcmconv --raw"
        )


def _is_decodable(syntax: UID) -> bool:
    try:
        return bool(get_decoder(syntax).is_available) and syntax != DeflatedExplicitVRLittleEndian
    except NotImplementedError:
        return False


def shown(value: Any) -> str:
    """Return the text of an element for a message, shortened if a damaged file holds a long one."""
    return str("" if value is None else value)[:60]


def number(value: Any) -> float | None:
    """Return an element of a header as a number; None if it is missing, or no number."""
    try:
        return None if value in (None, "") else float(value)
    except (TypeError, ValueError):
        return None


def numbers(value: Any, count: int) -> tuple[float, ...]:
    """Return an element of several values as numbers; () if there are not this many."""
    try:
        found = tuple(float(one) for one in value or ())
    except (TypeError, ValueError):
        return ()
    return found if len(found) == count else ()
