"""Reader of DICOM series: a folder with one file per slice, and perhaps per time (pydicom)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.base import ReaderResult
from masked_denoiser.images.readers.medical.dicom import describe
from masked_denoiser.images.readers.medical.dicom_frames import Arrangement, arrange, frames_in
from masked_denoiser.images.readers.medical.dicom_headers import (
    Header,
    check_header,
    has_pixels,
    is_index,
    read_header,
    shown,
)
from masked_denoiser.images.readers.medical.folders import files_in, is_dicom_file
from masked_denoiser.images.readers.registry import one_part, registered
from masked_denoiser.images.validation.size_limits import MAX_PLANES, check_length

#: Elements in which all images of a series must agree, and what they are for messages.
_COMMON = {
    "Rows": "height", "Columns": "width", "BitsAllocated": "bits", "PhotometricInterpretation": "colours",
    "PixelRepresentation": "sign", "BitsStored": "number of stored bits",
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """Images of one series.

    Attributes:
        name: its number, or "1", "2" ... where numbers are missing or not unique.
        headers: header of each file by path.
    """

    name: str
    headers: dict[Path, Header]


def list_series(folder: Path) -> list[str]:
    """Return the names of the series in a folder, which are numbers: descriptions may identify a patient.

    Raises:
        ImageError: if pydicom is not installed, or a file is damaged.
    """
    registered("medical.dicom").check_installed(folder)
    return [series.name for series in _find_series(folder)[0]]


def read_series(folder: Path, part: str = "") -> ReaderResult:
    """Open the images of one series in a folder as a volume, ordered by position, and by time where they share one.

    Args:
        folder: with DICOM files; other files in it are reported.
        part: name of the series, as from `list_series`; "" for the only one.

    Raises:
        ImageError: if there are several series and none is named, a slice is missing or doubled, slices differ in
            size, orientation or spacing, or a file is damaged.
    """
    registered("medical.dicom").check_installed(folder)
    found, notes = _find_series(folder)
    series = found[_one_series(folder, part, found)]
    _check_common(series, folder)
    frames = [frame for path, header in series.headers.items() for frame in frames_in(header, path)]
    check_length(len(frames), MAX_PLANES, "frames", str(folder))
    first = next(iter(series.headers.values()))
    result = describe(first, arrange(frames, str(folder)), folder.name, folder)
    return replace(result, inputs=(folder, *series.headers), notes=(*notes, *result.notes))


def arrangement_of(path: Path, part: str = "") -> Arrangement:
    """Return the frames of a file, or of a series in a folder, in the order of their axes.

    Raises:
        ImageError: as `read_series` and `dicom.read` do.
    """
    if path.is_dir():
        found, _ = _find_series(path)
        headers = found[_one_series(path, part, found)].headers
    else:
        headers = {path: read_header(path)}
    return arrange([frame for file, header in headers.items() for frame in frames_in(header, file)], str(path))


def _one_series(folder: Path, part: str, found: list[Series]) -> int:
    names = [series.name for series in found]
    if len(found) > 1 and not part:
        counts = ", ".join(f"{s.name} with {len(s.headers)} {_modality(s)} files" for s in found[:8])
        raise ImageError(
            f"{folder}: holds {len(found)} series (numbers {counts}); name one of them, such as "
            f"'{folder}::{names[0]}', or denoise all of them into a folder, with an output such as out/"
        )
    return one_part(folder, part, names)


def _modality(series: Series) -> str:
    return shown(next(iter(series.headers.values())).get("Modality")) or "DICOM"


def _find_series(folder: Path) -> tuple[list[Series], tuple[str, ...]]:
    """Return the series of the images in a folder, and a note on other files."""
    by_uid: dict[str, dict[Path, Header]] = defaultdict(dict)
    without_pixels: dict[Path, str] = {}
    others: list[Path] = []
    for path in files_in(folder):
        if not is_dicom_file(path):
            others.append(path)
            continue
        header = read_header(path)
        uid = str(header.get("SeriesInstanceUID", ""))
        if has_pixels(header):
            by_uid[uid][path] = header
        elif is_index(header):
            others.append(path)
        else:
            without_pixels[path] = uid
    _check_none_is_truncated(folder, without_pixels, by_uid.keys())
    others += without_pixels
    if not by_uid:
        raise ImageError(f"{folder}: its DICOM files hold no pixels; give a folder of images")
    groups = list(by_uid.values())
    listed = ", ".join(path.name for path in others[:3]) + (" ..." if len(others) > 3 else "")
    files = (
        "1 file that is no DICOM image was"
        if len(others) == 1
        else f"{len(others)} files that are no DICOM images were"
    )
    note = f"{files} ignored: {listed}"
    return [Series(n, h) for n, h in zip(_names(groups), groups, strict=True)], (note,) if others else ()


def _check_none_is_truncated(folder: Path, without_pixels: dict[Path, str], series: Collection[str]) -> None:
    """Check that files without pixels are objects of other series, such as reports, and no truncated slices.

    Raises:
        ImageError: that names a file that belongs to a series of images, or to none.
    """
    for path, uid in without_pixels.items():
        if uid in series or not uid:
            raise ImageError(
                f"{folder}: {path.name} is truncated, it ends before its pixels; copy it again, or move it away"
            )


def _names(groups: list[dict[Path, Header]]) -> list[str]:
    """Return the number of each series, or its position from 1 if numbers are missing or not unique."""
    numbers = [str(next(iter(group.values())).get("SeriesNumber") or "") for group in groups]
    if all(number.isdecimal() for number in numbers) and len(set(numbers)) == len(numbers):
        return numbers
    return [str(position) for position in range(1, len(groups) + 1)]


def _check_common(series: Series, folder: Path) -> None:
    """Check that each file can be read, and that all agree.

    Raises:
        ImageError: that names the file.
    """
    (first_path, first), *_ = series.headers.items()
    seen: dict[str, Path] = {}
    for path, header in series.headers.items():
        check_header(header, path)
        differing = next((tag for tag in _COMMON if header.get(tag) != first.get(tag)), None)
        if differing:
            raise ImageError(
                f"{folder}: {path.name} has another {_COMMON[differing]} ({shown(header.get(differing))}) than "
                f"{first_path.name} ({shown(first.get(differing))}); move files of other images away"
            )
        identity = str(header.get("SOPInstanceUID", path))
        other = seen.setdefault(identity, path)
        if other != path:
            raise ImageError(f"{folder}: {other.name} and {path.name} are the same slice; remove one of them")
