"""Elements of derived DICOM images: identity, derivation, and removal of what identifies a patient.

A derived image is an instance of its own in a series of its own of the same study (DICOM PS3.3, C.7.6.1.1.2 and
C.12.4). Identifiers are computed from those of the original and the digest of the job, so that equal jobs write equal
files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

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


def derive(dataset: pydicom.Dataset, attributes: Mapping[str, Any], number: int, *, anonymize: bool) -> None:
    """Turn the data set of an original into that of the image derived from it, apart from the pixels.

    Args:
        dataset: of the original, which is changed.
        attributes: of the output, with "model" and "job".
        number: of the instance in its series, from 1.
        anonymize: remove what identifies a patient, by the basic profile of DICOM PS3.15, annex E.
    """
    original = {name: str(dataset.get(name) or "") for name in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")}
    image_type = list(dataset.get("ImageType") or [])
    series_number, description = dataset.get("SeriesNumber"), str(dataset.get("SeriesDescription") or "")
    if anonymize:
        _anonymize(dataset)
        description = ""
    for name in _OUTDATED:
        if name in dataset:
            del dataset[name]
    job = str(attributes.get("job", ""))
    dataset.SOPClassUID = original["SOPClassUID"]
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["instance", original["SOPInstanceUID"], job])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", original["SeriesInstanceUID"], job])
    dataset.SeriesNumber = int(series_number or 0) + _SERIES_OFFSET
    dataset.SeriesDescription = f"{description[: _MAX_LONG_STRING - 9]} denoised".strip()
    dataset.InstanceNumber = number
    dataset.ImageType = ["DERIVED", "SECONDARY", *image_type[2:]]
    model = str(attributes.get("model", ""))
    dataset.DerivationDescription = (
        f"Research use only. Denoised by {_NAME} {program_version()}, model {model}, job {job}"
    )[:1024]
    if not anonymize:
        dataset.SourceImageSequence = [_reference(original)]
    dataset.ContributingEquipmentSequence = [*(dataset.get("ContributingEquipmentSequence") or []), _equipment()]
    _set_meta(dataset)


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
    for element in [e for e in dataset if e.keyword.find(_PALETTE) >= 0]:
        del dataset[element.tag]


def _anonymize(dataset: pydicom.Dataset) -> None:
    from dicomanonymizer import simpledicomanonymizer as profile

    study, frame = dataset.get("StudyInstanceUID"), dataset.get("FrameOfReferenceUID")

    def rules() -> dict[Any, Any]:
        actions: dict[Any, Any] = profile.initialize_actions()
        # Identifiers are replaced below, as the profile would choose others in each run.
        return {tag: action for tag, action in actions.items() if action is not profile.replace_UID}

    identifiers = [e.tag for e in dataset if e.VR == "UI" and e.keyword not in ("SOPClassUID", "TransferSyntaxUID")]
    profile.anonymize_dataset(dataset, base_rules_gen=rules)
    for tag in identifiers:
        if tag in dataset and dataset[tag].value:
            dataset[tag].value = generate_uid(entropy_srcs=["anonymous", str(dataset[tag].value)])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["anonymous", str(study or "")])
    if frame:
        dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["anonymous", str(frame)])
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "DICOM PS3.15 basic profile, by dicom-anonymizer"
