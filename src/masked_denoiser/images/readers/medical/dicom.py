"""Reader of DICOM files: single images, cine loops and enhanced multi-frame volumes (pydicom)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from masked_denoiser.images.readers.base import ReaderResult
from masked_denoiser.images.readers.medical.dicom_frames import (
    SLICES,
    Arrangement,
    Frame,
    arrange,
    frames_in,
    is_film,
    normal_of,
)
from masked_denoiser.images.readers.medical.dicom_headers import Header, check_header, is_colour, number, read_header
from masked_denoiser.images.readers.medical.dicom_pixels import open_pixels

#: Values of `ImageType` of MR images that are no magnitudes of one measurement.
_NO_MAGNITUDE = frozenset(
    ("DERIVED", "ADC", "EADC", "FA", "P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "T1 MAP", "T2 MAP")
)
#: Most values of a range of padding that are listed.
_MAX_PADDING_VALUES = 256


def read(path: Path, part: str = "") -> ReaderResult:
    """Open the image in a DICOM file; `part` is always "".

    Raises:
        ImageError: if the file is damaged, holds no pixels, or pixels that cannot be decoded or denoised.
    """
    header = read_header(path)
    check_header(header, path)
    return describe(header, arrange(frames_in(header, path), str(path)), path.name, path)


def describe(header: Header, arrangement: Arrangement, name: str, path: Path) -> ReaderResult:
    """Return what is known of frames in order.

    Args:
        header: of the first file.
        arrangement: the frames.
        name: of the image, for messages.
        path: the file, or the folder of the series.
    """
    axes = _axes(header, arrangement)
    if "T" in axes and "Z" not in axes:
        arrangement = replace(arrangement, times=arrangement.times * arrangement.planes, planes=1)
    data = open_pixels(header, arrangement, axes)
    first = arrangement.frames[0]
    steps, spacing_notes = _pixel_size(header, arrangement, axes)
    units = {axis: "millisecond" if axis == "T" else "millimeter" for axis in steps}
    window = _window(first)
    return ReaderResult(
        (data,),
        axes,
        name=name,
        path=path,
        rgb=is_colour(header),
        pixel_sizes=(steps,),
        units=units,
        windows=(window,) if window and not is_colour(header) else (),
        fill_values=_padding(header, arrangement.frames),
        affine=_affine(arrangement),
        modality=_modality(header),
        notes=(*arrangement.notes, *spacing_notes, *_notes(header)),
        closer=data.close,
    )


def _axes(header: Header, arrangement: Arrangement) -> str:
    frames_are_slices = str(header.get("Modality")) in SLICES and not is_film(header)
    slices = bool(arrangement.step) or frames_are_slices or _is_series(arrangement)
    letters = ("T" if arrangement.times > 1 else "") + ("Z" if arrangement.planes > 1 else "")
    return letters.replace("Z", "Z" if slices else "T") + ("YXS" if is_colour(header) else "YX")


def _is_series(arrangement: Arrangement) -> bool:
    return len({frame.path for frame in arrangement.frames}) > 1


def _pixel_size(header: Header, arrangement: Arrangement, axes: str) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the pixel size in millimeters, the time step in milliseconds, and a note on where they are from."""
    first = arrangement.frames[0]
    rows, columns = first.spacing or _ultrasound_spacing(header) or (0.0, 0.0)
    step = sum(value**2 for value in arrangement.step) ** 0.5 or number(header.get("SpacingBetweenSlices")) or 0.0
    sizes = {"Y": rows, "X": columns, "Z": step, "T": number(header.get("FrameTime")) or 0.0}
    at_detector = "PixelSpacing" not in header and "ImagerPixelSpacing" in header
    note = ("its pixel size is that at the detector, which magnification reduces in the patient",)
    return {axis: size for axis, size in sizes.items() if axis in axes and size > 0}, note if at_detector else ()


def _ultrasound_spacing(header: Header) -> tuple[float, float] | None:
    """Return the spacing of rows and columns of an ultrasound image that has one region in centimeters."""
    regions = header.get("SequenceOfUltrasoundRegions") or []
    if len(regions) != 1 or regions[0].get("PhysicalUnitsXDirection") != 3:
        return None
    rows, columns = (number(regions[0].get(f"PhysicalDelta{axis}")) for axis in "YX")
    return (abs(rows) * 10, abs(columns) * 10) if rows and columns else None


def _affine(arrangement: Arrangement) -> tuple[tuple[float, ...], ...]:
    """Return the affine of `ImageMetadata`; DICOM counts towards left and posterior (LPS), and it is RAS."""
    first = arrangement.frames[0]
    if not (first.position and first.orientation and first.spacing):
        return ()
    rows, columns = first.spacing
    step = arrangement.step or tuple(float(value) for value in normal_of(first.orientation))
    vectors = (
        [value * columns for value in first.orientation[:3]],
        [value * rows for value in first.orientation[3:]],
        step,
        first.position,
    )
    signs = (-1.0, -1.0, 1.0)
    spatial = [tuple(signs[i] * float(vector[i]) + 0.0 for vector in vectors) for i in range(3)]
    return (*spatial, (0.0, 0.0, 0.0, 1.0))


def _window(frame: Frame) -> tuple[float, float] | None:
    """Return the intensities shown as black and white (DICOM PS3.3, C.11.2.1.2)."""
    if not frame.window or frame.window[1] <= 0:
        return None
    centre, width = frame.window
    return centre - width / 2, centre + width / 2


def _padding(header: Header, frames: tuple[Frame, ...]) -> tuple[float, ...]:
    """Return the values of pixels outside of what was measured (DICOM PS3.3, C.7.5.1.1.2); () if slopes differ."""
    value, limit = (number(header.get(name)) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if value is None or len({(frame.slope, frame.intercept) for frame in frames}) > 1:
        return ()
    low, high = sorted((value, value if limit is None else limit))
    stored = range(int(low), int(high) + 1) if high - low < _MAX_PADDING_VALUES else (low, high)
    return tuple(one * frames[0].slope + frames[0].intercept for one in stored)


def _modality(header: Header) -> str:
    """Return the modality; "MR derived" for phase images and maps, whose noise is not that of magnitude images."""
    modality = str(header.get("Modality") or "")
    kinds = {str(kind).upper() for kind in header.get("ImageType") or ()}
    return f"{modality} derived" if modality == "MR" and kinds & _NO_MAGNITUDE else modality


def _notes(header: Header) -> tuple[str, ...]:
    notes = []
    if str(header.get("PhotometricInterpretation")) == "MONOCHROME1":
        notes.append("low values are shown bright (MONOCHROME1); the values are kept")
    if str(header.get("PhotometricInterpretation")) == "PALETTE COLOR":
        notes.append("its palette was converted to RGB")
    if header.get("ModalityLUTSequence"):
        notes.append("its table of measured values (modality LUT) is not applied: the values are those stored")
    if str(header.get("BurnedInAnnotation")) == "YES":
        notes.append("it states that text is burned into its pixels, which may identify the patient")
    return tuple(notes)
