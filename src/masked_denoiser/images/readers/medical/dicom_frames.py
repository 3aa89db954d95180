"""Frames of DICOM files, and their order along space and time (DICOM PS3.3, C.7.6.2 and C.7.6.16)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.medical.dicom_headers import Header, frames_of, number, numbers

#: Modalities whose frames in one file are slices instead of times.
SLICES = ("CT", "MR", "PT", "NM")
#: Tags of FrameTime and FrameTimeVector.
_TIMES_OF_FRAMES = (0x00181063, 0x00181065)
#: Deviation from equal spacing, as a fraction of the spacing, that rounding in headers explains.
_TOLERANCE = 0.02
#: Distance between frames of one position, as a fraction of the largest distance between planes.
_SAME_POSITION = 0.05
#: Shift of a plane within itself in millimeters that rounding in headers explains.
_SHIFT = 0.05
#: Most deviation of the directions of two parallel planes.
_PARALLEL = 1e-3


@dataclass(frozen=True)
class Frame:
    """One frame of one file.

    Attributes:
        path: of the file.
        index: position in the file, from 0.
        orientation: directions of a row and a column in the patient, 6 numbers; () if unknown.
        position: of the centre of the first pixel in the patient, in millimeters (LPS); () if unknown.
        spacing: between rows and between columns in millimeters; () if unknown.
        slope, intercept: from stored values to the modality's.
        window: centre and width; () if the file states none.
        order: what orders frames at the same position: time, acquisition and number.
    """

    path: Path
    index: int
    orientation: tuple[float, ...]
    position: tuple[float, ...]
    spacing: tuple[float, ...]
    slope: float
    intercept: float
    window: tuple[float, ...]
    order: tuple[float, ...]

    @property
    def distance(self) -> float:
        """Position along the normal of the plane in millimeters."""
        return float(np.dot(normal_of(self.orientation), self.position))


def normal_of(orientation: tuple[float, ...]) -> np.ndarray[Any, Any]:
    """Return the direction perpendicular to a plane of this orientation."""
    return np.cross(orientation[:3], orientation[3:])


@dataclass(frozen=True)
class Arrangement:
    """Frames in the order of the axes.

    Attributes:
        frames: frames of one time after another, each from the first plane to the last.
        times, planes: lengths of T and Z.
        step: from one plane to the next in the patient, in millimeters (LPS); () if unknown.
        notes: what was assumed.
    """

    frames: tuple[Frame, ...]
    times: int
    planes: int
    step: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


def frames_in(header: Header, path: Path) -> list[Frame]:
    """Return the frames of a file."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    each = header.get("PerFrameFunctionalGroupsSequence") or []
    return [
        _frame(header, path, index, [group for group in (each[index] if index < len(each) else None, shared) if group])
        for index in range(frames_of(header, path))
    ]


def _frame(header: Header, path: Path, index: int, groups: list[Header]) -> Frame:
    def of(sequence: str, name: str) -> object:
        for group in groups:
            items = group.get(sequence) or []
            if items and name in items[0]:
                return items[0].get(name)
        return header.get(name)

    slope = number(of("PixelValueTransformationSequence", "RescaleSlope")) or number(header.get("DoseGridScaling"))
    orientation = numbers(of("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    position = numbers(of("PlanePositionSequence", "ImagePositionPatient"), 3)
    if orientation and position and not groups:
        position = _position_in_file(header, index, orientation, position)
    window = (
        number(_first(of("FrameVOILUTSequence", "WindowCenter"))),
        number(_first(of("FrameVOILUTSequence", "WindowWidth"))),
    )
    times = (header.get("TemporalPositionIdentifier"), header.get("AcquisitionNumber"), header.get("InstanceNumber"))
    return Frame(
        path,
        index,
        orientation,
        position,
        numbers(of("PixelMeasuresSequence", "PixelSpacing") or header.get("ImagerPixelSpacing"), 2),
        slope if slope else 1.0,
        number(of("PixelValueTransformationSequence", "RescaleIntercept")) or 0.0,
        tuple(v for v in window if v is not None) if None not in window else (),
        (*(number(_first(value)) or 0.0 for value in times), float(index)),
    )


def _position_in_file(
    header: Header, index: int, orientation: tuple[float, ...], first: tuple[float, ...]
) -> tuple[float, ...]:
    """Return the position of a frame in a file that states only that of its first; () if it cannot be known.

    The frames of a radiation dose have offsets, and the slices of other files a spacing. Those of a film share a place.
    """
    offsets = header.get("GridFrameOffsetVector") or ()
    spacing = number(header.get("SpacingBetweenSlices"))
    if len(offsets) > index:
        offset = float(offsets[index])
    elif str(header.get("Modality")) not in SLICES or not header.get("NumberOfFrames") or is_film(header):
        return first
    elif spacing:
        offset = spacing * index
    else:
        return () if int(header.NumberOfFrames) > 1 else first
    return tuple(np.add(first, offset * normal_of(orientation)).tolist())


def is_film(header: Header) -> bool:
    """Return whether the frames of a file follow each other in time (DICOM PS3.3, C.7.6.5 and C.7.6.6)."""
    pointers = header.get("FrameIncrementPointer")
    if pointers is None:
        return bool(header.get("FrameTime") or header.get("FrameTimeVector"))
    listed = pointers if isinstance(pointers, Sequence) else [pointers]
    return any(isinstance(pointer, int) and int(pointer) in _TIMES_OF_FRAMES for pointer in listed)


def _first(value: object) -> object:
    return value[0] if isinstance(value, Sequence) and not isinstance(value, str) and value else value


def arrange(frames: list[Frame], name: str) -> Arrangement:
    """Order frames by their position in the patient, and those at one position by time.

    Raises:
        ImageError: if planes are not parallel, one is missing or doubled, or their spacing differs.
    """
    if len(frames) == 1:
        return Arrangement(tuple(frames), 1, 1)
    if not all(frame.position and frame.orientation for frame in frames):
        ordered = tuple(sorted(frames, key=lambda frame: frame.order))
        by = "numbers" if len({frame.order for frame in frames}) == len(frames) else "names"
        note = f"its files state no positions in the patient; they were ordered by their {by}"
        return Arrangement(ordered, 1, len(ordered), notes=(note,) if len({f.path for f in frames}) > 1 else ())
    first = frames[0]
    if any(np.abs(np.subtract(frame.orientation, first.orientation)).max() > _PARALLEL for frame in frames):
        raise ImageError(
            f"{name}: its planes are not parallel, as in a localizer; denoise its files one by one, such as "
            f"'{name}/*.dcm'"
        )
    if any(frame.spacing and first.spacing and not np.allclose(frame.spacing, first.spacing) for frame in frames):
        raise ImageError(f"{name}: its planes have pixels of different sizes; move files of other images away")
    stacks = _by_position(frames)
    times = {len(stack) for stack in stacks}
    if len(times) > 1:
        short = min(stacks, key=len)[0]
        raise ImageError(
            f"{name}: positions have {min(times)} to {max(times)} frames, as if some were missing near "
            f"{short.path.name}; copy the series again, or move what is not part of it away"
        )
    step = _check_spacing([stack[0] for stack in stacks], name)
    (count,) = times
    return Arrangement(tuple(stack[t] for t in range(count) for stack in stacks), count, len(stacks), step)


def _by_position(frames: list[Frame]) -> list[list[Frame]]:
    """Return the frames at each position, from the lowest along the normal to the highest, ordered by time."""
    ordered = sorted(frames, key=lambda frame: frame.distance)
    gaps = np.diff([frame.distance for frame in ordered])
    starts = [0, *(np.flatnonzero(gaps > _SAME_POSITION * gaps.max()) + 1).tolist(), len(ordered)]
    groups = [ordered[a:b] for a, b in pairwise(starts)] if gaps.max() > 0 else [ordered]
    return [sorted(group, key=lambda frame: frame.order) for group in groups]


def _check_spacing(planes: list[Frame], name: str) -> tuple[float, ...]:
    """Return the step between planes.

    Raises:
        ImageError: if it differs.
    """
    if len(planes) == 1:
        return ()
    steps = np.diff([plane.distance for plane in planes])
    typical = float(np.median(steps))
    for at, step in _deviating(steps, typical):
        between = f"between {planes[at].path.name} and {planes[at + 1].path.name}"
        count = round(step / typical)
        if count > 1 and abs(step / typical - count) < _TOLERANCE * count:
            raise ImageError(
                f"{name}: {count - 1} of its planes {'is' if count == 2 else 'are'} missing {between} ({step:.3g} mm "
                f"apart instead of {typical:.3g}); copy the series again, or denoise its files one by one"
            )
        raise ImageError(
            f"{name}: its planes are {step:.4g} mm apart {between} and {typical:.4g} mm elsewhere; give the files of "
            "one spacing, or denoise its files one by one"
        )
    positions = np.array([plane.position for plane in planes])
    step = (positions[-1] - positions[0]) / (len(planes) - 1)
    away = np.linalg.norm(positions - positions[0] - np.arange(len(planes))[:, None] * step, axis=1)
    if away.max() > max(_TOLERANCE * float(np.linalg.norm(step)), _SHIFT):
        raise ImageError(
            f"{name}: {planes[int(away.argmax())].path.name} is shifted by {away.max():.3g} mm within its plane; move "
            "it away, or denoise its files one by one"
        )
    return tuple(float(value) for value in step)


def _deviating(steps: np.ndarray[Any, Any], typical: float) -> Iterator[tuple[int, float]]:
    for at, step in enumerate(steps):
        if abs(step - typical) > _TOLERANCE * typical:
            yield at, float(step)
