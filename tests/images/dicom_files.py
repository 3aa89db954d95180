"""Series of DICOM files with known geometry, written by pydicom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4", "PT": "1.2.840.10008.5.1.4.1.1.128"}
PATIENT = {
    "PatientName": "Doe^Jane", "PatientID": "12345", "PatientBirthDate": "19700101", "PatientSex": "F",
    "AccessionNumber": "A1", "ReferringPhysicianName": "Who^Doctor", "StudyDate": "20200102", "StudyTime": "120000",
}  # fmt: skip
#: Orientation of planes that are tilted about two axes.
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)


def write_series(
    folder: Path,
    stored: np.ndarray[Any, Any],
    *,
    modality: str = "CT",
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    distances: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    series: int = 3,
    times: int = 1,
    elements: dict[str, Any] | None = None,
) -> list[Path]:
    """Write one file per plane and time, and return their paths.

    Args:
        folder: created if it does not exist.
        stored: [times * planes, Y, X], unsigned integers of 12 bits.
        modality: CT files have an intercept of -1024.
        orientation: directions of rows and columns.
        distances: position of each plane along the normal in millimeters; 2.5 apart by default.
        names: of the files; numbers by default.
        series: its number.
        times: images at each position.
        elements: further elements of all files; a list gives one for each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    planes = len(stored) // times
    distances = distances if distances is not None else [2.5 * z for z in range(planes)]
    normal = np.cross(orientation[:3], orientation[3:])
    paths = []
    for number, pixels in enumerate(stored):
        time, z = divmod(number, planes)
        path = folder / (names[number] if names else f"{number:04d}.dcm")
        dataset = _dataset(path, pixels, modality, series, number)
        dataset.ImageOrientationPatient = list(map(float, orientation))
        dataset.ImagePositionPatient = [round(float(v), 6) for v in (-50, -60, 100) + normal * distances[z]]
        dataset.TemporalPositionIdentifier = time + 1
        for name, value in (elements or {}).items():
            setattr(dataset, name, value[number] if isinstance(value, list) else value)
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _dataset(path: Path, pixels: np.ndarray[Any, Any], modality: str, series: int, number: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID = UID(CLASSES[modality])
    identity = generate_uid(entropy_srcs=["image", str(series), str(number)])
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = identity
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(series)])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
    for name, value in PATIENT.items():
        setattr(dataset, name, value)
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = modality, series, number + 1
    dataset.SeriesDescription, dataset.StudyID = "Head of Jane Doe", "1"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PixelSpacing = [0.7, 0.5]
    if modality == "CT":
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = pixels.astype("<u2").tobytes()
    return dataset
