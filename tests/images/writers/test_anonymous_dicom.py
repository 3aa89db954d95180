"""Anonymous DICOM outputs: nothing that identifies stays at any depth, and images read the same."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - its own convention
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.writers.assembled.dicom_anonymize import anonymize
from masked_denoiser.images.writers.assembled.dicom_elements import derive
from masked_denoiser.images.writers.create import create_sink
from tests.images.dicom_files import OBLIQUE, write_series

RNG = np.random.default_rng(8)
ATTRIBUTES = {"model": "general-gray", "job": "ab" * 32, "settings": {"anonymize": True}}
TEXTS = {
    "AE": "JANEAE", "AS": "051Y", "DA": "19990909", "DT": "19990909112233", "LO": "JaneLO", "LT": "JaneLT",
    "PN": "Jane^Roe", "SH": "JaneSH", "ST": "JaneST", "TM": "112233.44", "UC": "JaneUC", "UI": "1.2.3.999.77",
    "UR": "http://jane", "UT": "JaneUT",
}  # fmt: skip
#: What may keep its text: pixels, codes and equipment.
KEPT = set(
    """
    AttenuationCorrectionMethod CardiacFramingType CodeMeaning CodeValue CodingSchemeDesignator CodingSchemeVersion
    CollimatorGridName ContrastBolusRoute ConvolutionKernel DetectorLinesOfResponseUsed DisplayWindowLabelVector
    EnergyWindowName FilterType ImageFilter ImagedNucleus LUTExplanation LUTLabel LongCodeValue Manufacturer
    ManufacturerModelName ModalityLUTType OpticalPathIdentifier PVCRejection PulseSequenceName Radionuclide
    Radiopharmaceutical RadiopharmaceuticalRoute ReceiveCoilName ReconstructionMethod ReferencedOpticalPathIdentifier
    RescaleType ScatterCorrectionMethod SequenceName SoftwareVersions StackID TransmitCoilName TriggerSourceOrType
    TypeOfFilters SOPClassUID
    """.split()  # noqa: SIM905 - easier to read
)
#: The identifier of a coding scheme, which the standard defines.
CODING_SCHEME = "1.2.840.10008.2.16.4"
STAYING = {CODING_SCHEME, "Example Works", "Model X", "1.0", "DCM", "T-A0100", "SRT", "Brain", "se2d"}


def _items(**elements: Any) -> list[Dataset]:
    """Return a sequence of one item."""
    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return [item]


def _enhanced(path: Path, stored: np.ndarray[Any, Any]) -> None:
    """Write an enhanced multi-frame MR, [frames, Y, X], with what identifies a patient at each depth."""
    dataset = pydicom.dcmread(write_series(path.parent / "plain", stored[:1], modality="MR", orientation=OBLIQUE)[0])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    for name in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "TemporalPositionIdentifier"):
        del dataset[name]
    dataset.NumberOfFrames, dataset.PixelData = len(stored), stored.astype("<u2").tobytes()
    dataset.SharedFunctionalGroupsSequence = _items(
        PixelMeasuresSequence=_items(PixelSpacing=[0.7, 0.5], SliceThickness=2.5, SpacingBetweenSlices=2.5),
        PlaneOrientationSequence=_items(ImageOrientationPatient=list(OBLIQUE)),
        MRTimingAndRelatedParametersSequence=_items(RepetitionTime=3000, FlipAngle=90),
        ReferencedImageSequence=_reference(),
    )
    dataset.PerFrameFunctionalGroupsSequence = [_frame(number) for number in range(len(stored))]
    dataset.DimensionOrganizationSequence = _items(DimensionOrganizationUID="1.2.3.4.888")
    dataset.DimensionIndexSequence = _items(DimensionOrganizationUID="1.2.3.4.888", DimensionIndexPointer=0x00209057)
    dataset.DeviceSequence = _items(DeviceSerialNumber="SerialA77", CodeValue="T-A0100", CodingSchemeDesignator="SRT")
    dataset.ContributingEquipmentSequence = _items(
        Manufacturer="Example Works", InstitutionName="Hospital of Jane", OperatorsName="Operator^Olga",
        DeviceSerialNumber="SerialB77", ContributionDateTime="20200103101112", StationName="StationC",
    )  # fmt: skip
    dataset.AnatomicRegionSequence = _items(
        CodeValue="T-A0100", CodingSchemeDesignator="SRT", CodeMeaning="Brain", CodingSchemeUID=CODING_SCHEME
    )
    dataset.ReferencedInstanceSequence = _reference()
    dataset.StudiesContainingOtherReferencedInstancesSequence = _items(StudyInstanceUID="1.2.3.4.997")
    dataset.PatientWeight, dataset.PregnancyStatus = 61.5, 4
    dataset.Manufacturer, dataset.PulseSequenceName = "Example Works", "se2d"
    for name in ("PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar", "DeviceID"):
        setattr(dataset, name, f"{name[:9]} secret")
    dataset.StudyUpdateDateTime, dataset.AcquisitionProtocolName = "20200104101112", "Protocol of Jane"
    dataset.IssuerOfClinicalTrialProtocolID, dataset.SecondaryCaptureDeviceID = "Issuer Inc", "CaptureDevice9"
    block = dataset.private_block(0x0029, "ExamplePrivate", create=True)
    block.add_new(1, "LO", "private Jane")
    block.add_new(2, "SQ", _items(PatientName="Private^Jane"))
    for element, vr, value in ((0x10, "US", 20), (0x11, "US", 24), (0x22, "LO", "Overlay Jane"), (0x40, "CS", "G")):
        dataset.add_new(0x60000000 + element, vr, value)
    dataset.save_as(path, enforce_file_format=True)


def _reference() -> list[Dataset]:
    return _items(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.4", ReferencedSOPInstanceUID="1.2.3.4.999")


def _frame(number: int) -> Dataset:
    """Return the functional groups of a frame."""
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    position = [round(float(v), 6) for v in (-50, -60, 100) + normal * 2.5 * number]
    content = _items(
        FrameAcquisitionDateTime=f"2020010212000{number}", FrameReferenceDateTime=f"2020010213000{number}",
        FrameComments=f"Comment {number} on Jane", StackID="1", InStackPositionNumber=number + 1,
    )  # fmt: skip
    derivation = _items(SourceImageSequence=_reference(), DerivationDescription="Derived by Olga")
    (frame,) = _items(
        FrameContentSequence=content,
        PlanePositionSequence=_items(ImagePositionPatient=position),
        DerivationImageSequence=derivation,
        PixelValueTransformationSequence=_items(RescaleIntercept=0, RescaleSlope=2, RescaleType="US"),
    )
    return frame


def _strings(dataset: Dataset) -> Iterator[str]:
    """Yield all values of text, dates and identifiers, at any depth."""
    for element in dataset.iterall():
        if element.VR in TEXTS:
            yield from map(str, element.value if element.VM > 1 else [element.value])


def _denoise(source: Path, output: Path) -> list[Path]:
    """Write a copy as an anonymous series, and return its files."""
    with open_image(source) as image:
        sink = create_sink(output, image, chunk=64, attributes=ATTRIBUTES)
        for plane in list_planes(image.axes, image.sizes, image.rgb):
            sink.write(plane, 0, 0, image.read(plane, slice(0, image.size_yx[0]), slice(0, image.size_yx[1])))
        sink.finish()
        sink.close()
    return sorted(output.glob("*.dcm"))


def test_no_identifying_value_of_an_enhanced_image_stays(tmp_path: Path) -> None:
    stored = RNG.integers(10, 4000, (3, 20, 24), dtype=np.uint16)
    _enhanced(tmp_path / "in.dcm", stored)
    before = pydicom.dcmread(tmp_path / "in.dcm")
    standard = {"1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4"}
    secrets = {text for text in _strings(before) if len(text) > 2} - STAYING - standard
    assert {"1.2.3.4.888", "SerialA77", "Derived by Olga", "20200102120001", "Private^Jane", "Doe^Jane"} < secrets
    written = [path.read_bytes() for path in _denoise(tmp_path / "in.dcm", tmp_path / "out.dicom")]
    assert len(written) == 1
    assert [secret for secret in secrets if secret.encode() in written[0]] == []
    assert [path.read_bytes() for path in _denoise(tmp_path / "in.dcm", tmp_path / "again.dicom")] == written
    after = pydicom.dcmread(tmp_path / "out.dicom" / "0001.dcm")
    assert np.array_equal(after.pixel_array, stored)
    assert {element.tag.group for element in after if element.tag.group >= 0x5000} == {0x5200, 0x7FE0}
    left = {element.keyword for element in after.iterall()}  # private elements have no keyword
    assert not {"", "DerivationImageSequence", "PatientWeight", "PregnancyStatus"} & left
    assert not [name for name in left if "Referenced" in name]
    assert (after.PatientSex, after.PatientName, after.StudyDate) == ("", "", "")
    organization = after.DimensionOrganizationSequence[0].DimensionOrganizationUID
    assert after.DimensionIndexSequence[0].DimensionOrganizationUID == organization
    assert after.AnatomicRegionSequence == before.AnatomicRegionSequence
    assert after.SharedFunctionalGroupsSequence[0].MRTimingAndRelatedParametersSequence[0].RepetitionTime == 3000
    first, second = (sitk.ReadImage(str(path)) for path in (tmp_path / "in.dcm", tmp_path / "out.dicom" / "0001.dcm"))
    assert np.array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))
    assert np.array_equal(sitk.GetArrayFromImage(first), stored * 2.0)
    assert (first.GetSpacing(), first.GetOrigin(), first.GetDirection()) == (
        second.GetSpacing(), second.GetOrigin(), second.GetDirection(),
    )  # fmt: skip


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_text_of_the_standard_stays_only_where_it_is_needed(syntax: str, depth: int) -> None:
    references = {"ReferencedSOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"}  # their sequences are removed
    filled = Dataset()
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr in TEXTS and 4 < tag >> 16 < 0xFFFE and not (depth and keyword in references):
            filled.add_new(tag, vr, TEXTS[vr])
    assert len(filled) > 1000
    for _ in range(depth):
        filled = _wrapped(filled)
    dataset = _reread(filled, syntax)
    anonymize(dataset)
    left = {e.keyword for e in dataset.iterall() if e.VR in TEXTS and str(e.value) == TEXTS[e.VR]}
    assert left == KEPT


def _wrapped(dataset: Dataset) -> Dataset:
    outer = Dataset()
    outer.DeviceSequence = [dataset]
    return outer


def _reread(dataset: Dataset, syntax: str) -> Dataset:
    """Return a data set as read from a file, with unparsed values."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=False)
    return pydicom.dcmread(io.BytesIO(file.getvalue()), force=True)


@pytest.mark.parametrize("anonymous", [True, False])
@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00200011, "IS", b"JANE"),
        (0x00200011, "IS", b"2147483647"),
        (0x00200011, "IS", b"1\\2 "),
        (0x00200011, "US", b"JAN"),
        (0x00080008, "CS", b"JANE"),
        (0x00080008, "CS", b"DERIVED\\PRIMARY\\of JANE Doe"),
        (0x00180015, "CS", b"Head of JANE"),
        (0x0008103E, "US", b"JAN"),
        (0x0018A001, "UN", b"JANE"),
        (0x00200012, "IS", b"1JANE2"),
    ],
)
def test_invalid_elements_raise_nothing(anonymous: bool, tag: int, vr: str, value: bytes, tmp_path: Path) -> None:
    (path,) = write_series(tmp_path / "in", RNG.integers(10, 4000, (1, 20, 24), dtype=np.uint16))
    dataset = pydicom.dcmread(path)
    dataset._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    derive(dataset, ATTRIBUTES, 1, anonymize=anonymous)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    assert dataset.SeriesNumber == (1000 if tag == 0x00200011 else 1003)
    assert dataset.ImageType[:2] == ["DERIVED", "SECONDARY"]
    if anonymous:
        assert b"JAN" not in file.getvalue()


def test_what_gives_values_their_meaning_stays() -> None:
    values = {
        "Units": "BQML", "DecayCorrection": "START", "DecayFactor": 1.25, "FrameReferenceTime": 1500, "EchoTime": 30.5,
        "KVP": 120, "ExposureTime": 500, "ConvolutionKernel": "B30f", "RescaleType": "HU", "RescaleSlope": 0.5,
        "ReconstructionMethod": "OSEM 3i 21s", "PatientPosition": "HFS", "SequenceName": "*se2d1",
        "BodyPartExamined": "HEAD",
        "PixelPaddingValue": 0, "WindowCenter": [40, 300], "SpacingBetweenSlices": 2.5, "SliceLocation": -12.5,
    }  # fmt: skip
    tracer = _items(RadionuclideTotalDose=3.7e8, RadionuclideHalfLife=6586, RadiopharmaceuticalStartTime="111213")
    (dataset,) = _items(**values, PixelRepresentation=0, RadiopharmaceuticalInformationSequence=tracer)
    dataset = _reread(dataset, ExplicitVRLittleEndian)
    anonymize(dataset)
    assert {name: dataset[name].value for name in values} == values
    (injected,) = dataset.RadiopharmaceuticalInformationSequence
    assert {element.keyword for element in injected} == {"RadionuclideTotalDose", "RadionuclideHalfLife"}


def test_series_of_a_study_stay_together(tmp_path: Path) -> None:
    stored = RNG.integers(10, 4000, (2, 20, 24), dtype=np.uint16)
    outputs = []
    for series in (3, 4):
        write_series(tmp_path / f"in{series}", stored, series=series)
        outputs.append(_denoise(tmp_path / f"in{series}", tmp_path / f"out{series}.dicom"))
    datasets = [pydicom.dcmread(path) for path in itertools.chain(*outputs)]
    assert [len({d[name].value for d in datasets}) for name in ("StudyInstanceUID", "FrameOfReferenceUID")] == [1, 1]
    assert [len({d[name].value for d in datasets}) for name in ("SeriesInstanceUID", "SOPInstanceUID")] == [2, 4]
