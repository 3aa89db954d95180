"""Elements of derived DICOM images: their identity and derivation.

A derived image is an instance of its own in a series of its own of the same study (DICOM PS3.3, C.7.6.1.1.2 and
C.12.4). Identifiers are computed from those of the original and the digest of the job, so that equal jobs write equal
files.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from masked_denoiser.images.writers.assembled.dicom_anonymize import UNREADABLE
from masked_denoiser.images.writers.assembled.dicom_anonymize import anonymize as remove_identity
from masked_denoiser.version import program_version

#: Elements that no longer hold for other pixels: thumbnails, extremes, overlays in unused bits, signatures.
_OUTDATED = (
    "IconImageSequence", "SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries", "DigitalSignaturesSequence", "MACParametersSequence", "OriginalAttributesSequence",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelDataProviderURL",
)  # fmt: skip
_PALETTE = "PaletteColorLookupTable"
_NAME = "napari-masked-denoiser"
#: Added to the number of the original series, which keeps results after originals in lists.
_SERIES_OFFSET = 1000
_MAX_LONG_STRING = 64
#: Of an integer string (IS).
_MAX_INTEGER = 2**31 - 1


def derive(dataset: pydicom.Dataset, attributes: Mapping[str, Any], number: int, *, anonymize: bool) -> None:
    """Turn the data set of an original into that of the image derived from it, apart from the pixels.

    Args:
        dataset: of the original, which is changed.
        attributes: of the output, with "model" and "job".
        number: of the instance in its series, from 1.
        anonymize: remove what identifies a patient, by the basic profile of DICOM PS3.15, annex E.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of pydicom contain invalid values, which may identify a patient
        _derive(dataset, attributes, number, anonymize)


def _derive(dataset: pydicom.Dataset, attributes: Mapping[str, Any], number: int, anonymize: bool) -> None:
    original = {name: str(_value(dataset, name) or "") for name in ("SOPClassUID", "SOPInstanceUID")}
    series, series_number = str(_value(dataset, "SeriesInstanceUID") or ""), _series_number(dataset)
    if anonymize:
        remove_identity(dataset)
    image_type, description = _image_type(dataset), str(_value(dataset, "SeriesDescription") or "")
    for name in _OUTDATED:
        if name in dataset:
            del dataset[name]
    job, model = str(attributes.get("job", "")), str(attributes.get("model", ""))
    equipment = _value(dataset, "ContributingEquipmentSequence") or []
    values = {
        "SOPClassUID": original["SOPClassUID"],
        "SOPInstanceUID": generate_uid(entropy_srcs=["instance", original["SOPInstanceUID"], job]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=["series", series, job]),
        "SeriesNumber": series_number,
        "SeriesDescription": f"{description[: _MAX_LONG_STRING - 9]} denoised".strip(),
        "InstanceNumber": number,
        "ImageType": ["DERIVED", "SECONDARY", *image_type[2:]],
        "DerivationDescription": _derivation(model, job),
        "ContributingEquipmentSequence": [*equipment, _equipment()],
    }
    if not anonymize:
        values["SourceImageSequence"] = [_reference(original)]
    for name, value in values.items():
        dataset.add_new(name, dictionary_VR(name), value)  # an attribute would parse the value that it replaces
    _set_meta(dataset)


def _value(dataset: pydicom.Dataset, name: str) -> Any:
    """Return the value of an element; None if it is missing, or cannot be parsed.

    Errors of pydicom contain the value, which may identify a patient.
    """
    try:
        return dataset.get(name)
    except UNREADABLE:
        return None


def _series_number(dataset: pydicom.Dataset) -> int:
    """Return the number of the derived series; an invalid number of the original counts as 0."""
    value = _value(dataset, "SeriesNumber")
    try:
        number = int(value or 0)
    except UNREADABLE:
        number = 0
    return number + _SERIES_OFFSET if abs(number) <= _MAX_INTEGER - _SERIES_OFFSET else _SERIES_OFFSET


def _image_type(dataset: pydicom.Dataset) -> list[str]:
    """Return the values of the type of an image, of which a file may have fewer than the two of the standard."""
    value = _value(dataset, "ImageType") or []
    return [str(each) for each in value] if isinstance(value, (MultiValue, list)) else [str(value)]


def _derivation(model: str, job: str) -> str:
    """Return a description of at most 1024 characters, as short text (ST) has."""
    return f"Research use only. Denoised by {_NAME} {program_version()}, model {model}, job {job}"[:1024]


def _reference(original: Mapping[str, str]) -> pydicom.Dataset:
    reference = pydicom.Dataset()
    reference.ReferencedSOPClassUID = original["SOPClassUID"]
    reference.ReferencedSOPInstanceUID = original["SOPInstanceUID"]
    return reference


def _equipment() -> pydicom.Dataset:
    """Return the description of this program as equipment that modified the image (DICOM PS3.16, CID 7005)."""
    purpose, equipment = pydicom.Dataset(), pydicom.Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = "109103", "DCM", "Modifying Equipment"
    equipment.PurposeOfReferenceCodeSequence = [purpose]
    equipment.Manufacturer = _NAME
    equipment.ManufacturerModelName = _NAME
    equipment.SoftwareVersions = program_version()
    return equipment


def _set_meta(dataset: pydicom.Dataset) -> None:
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = pydicom.uid.PYDICOM_IMPLEMENTATION_UID
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128


def set_colour(dataset: pydicom.Dataset, bits: int) -> None:
    """Describe pixels as red, green and blue, pixel by pixel."""
    dataset.PhotometricInterpretation = "RGB"
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    for name in dataset.dir(_PALETTE):
        del dataset[name]
