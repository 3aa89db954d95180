"""Derived DICOM series, read by GDCM and pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - its own convention

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.create import create_sink
from masked_denoiser.images.writers.provenance import read_attributes
from tests.images.dicom_files import OBLIQUE, PATIENT, write_series
from tests.images.writers.copies import ATTRIBUTES, copy_image

RNG = np.random.default_rng(6)
AFFINE = np.array([[-1.5, 0.1, 0, 20], [0.1, 1.4, 0.2, -30], [0, -0.2, 3.0, 5], [0, 0, 0, 1.0]])
ANONYMOUS = {**ATTRIBUTES, "settings": {"anonymize": True}}


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_derived_series_is_read_by_gdcm(modality: str, tmp_path: Path) -> None:
    stored = RNG.integers(10, 4000, (4, 20, 24), dtype=np.uint16)
    names = ["Jane Doe d", "Jane Doe b", "Jane Doe c", "Jane Doe a"]
    originals = write_series(tmp_path / "in", stored, modality=modality, orientation=OBLIQUE, names=names)
    with open_image(tmp_path / "in") as source:
        copy_image(source, tmp_path / "out.dicom", 3)
    before, after = _read_series(tmp_path / "in"), _read_series(tmp_path / "out.dicom")
    assert np.array_equal(sitk.GetArrayFromImage(after), sitk.GetArrayFromImage(before) + 3)
    assert after.GetSpacing() == before.GetSpacing()
    assert np.allclose(after.GetDirection(), before.GetDirection())
    assert np.allclose(after.GetOrigin(), before.GetOrigin())
    files = sorted(path.name for path in (tmp_path / "out.dicom").glob("*.dcm"))
    assert files == ["0001.dcm", "0002.dcm", "0003.dcm", "0004.dcm"]
    first, derived = pydicom.dcmread(originals[0]), pydicom.dcmread(tmp_path / "out.dicom" / "0001.dcm")
    assert derived.ImageType == ["DERIVED", "SECONDARY", "AXIAL"]
    assert {derived.get(name) == first.get(name) for name in PATIENT} == {True}
    assert derived.StudyInstanceUID == first.StudyInstanceUID
    assert derived.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert derived.SeriesInstanceUID != first.SeriesInstanceUID
    assert derived.SourceImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert "Research use only" in derived.DerivationDescription
    assert ATTRIBUTES["job"] in derived.DerivationDescription
    uids = {pydicom.dcmread(path).SOPInstanceUID for path in (tmp_path / "out.dicom").glob("*.dcm")}
    assert len(uids) == 4


def test_equal_jobs_write_equal_series_and_others_are_not_overwritten(tmp_path: Path) -> None:
    write_series(tmp_path / "in", RNG.integers(10, 4000, (3, 20, 24), dtype=np.uint16))
    output = tmp_path / "out.dicom"
    with open_image(tmp_path / "in") as source:
        copy_image(source, output)
        written = {path.name: path.read_bytes() for path in output.iterdir()}
        copy_image(source, output, overwrite=True)
        assert {path.name: path.read_bytes() for path in output.iterdir()} == written
        assert read_attributes(output)["model"] == "general-gray"
        (output / "mine.txt").write_text("keep")
        with pytest.raises(ImageError, match=r"holds other files \(mine\.txt\), which would be lost"):
            copy_image(source, output, overwrite=True)
        foreign = tmp_path / "foreign.dicom"
        write_series(foreign, RNG.integers(10, 4000, (1, 20, 24), dtype=np.uint16))
        with pytest.raises(ImageError, match="was not written by this program"):
            copy_image(source, foreign, overwrite=True)
    assert (output / "mine.txt").exists()


def test_anonymous_output_names_no_patient(tmp_path: Path) -> None:
    write_series(tmp_path / "in", RNG.integers(10, 4000, (3, 20, 24), dtype=np.uint16))
    with open_image(tmp_path / "in") as source:
        copy_image(source, tmp_path / "out.dicom", attributes=ANONYMOUS)
        copy_image(source, tmp_path / "named.dicom")
    original = pydicom.dcmread(next((tmp_path / "in").iterdir()))
    identifiers = [original[name].value for name in ("StudyInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")]
    secrets = [*(value for value in PATIENT.values() if len(value) > 2), "Jane", *identifiers]
    for path in (tmp_path / "out.dicom").iterdir():
        assert [secret for secret in secrets if str(secret).encode() in path.read_bytes()] == []
    anonymous = [pydicom.dcmread(path) for path in sorted((tmp_path / "out.dicom").glob("*.dcm"))]
    assert len({each.StudyInstanceUID for each in anonymous}) == 1
    assert anonymous[0].PatientIdentityRemoved == "YES"
    named = _read_series(tmp_path / "named.dicom")
    assert np.array_equal(sitk.GetArrayFromImage(_read_series(tmp_path / "out.dicom")), sitk.GetArrayFromImage(named))


def test_colours_and_frames_of_dicom(tmp_path: Path) -> None:
    path = Path(pydicom.data.__file__).parent / "test_files" / "examples_ybr_color.dcm"
    with open_image(path) as source:
        copy_image(source, tmp_path / "out.dicom")
        pixels = source.data[...]
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.dicom" / "0001.dcm"))), pixels)


def test_dicom_is_derived_from_dicom_only(tmp_path: Path) -> None:
    source = open_image(np.zeros((8, 8), np.uint16))
    with pytest.raises(ImageError, match=r"written only for DICOM images.*write to \.nii\.gz"):
        create_sink(tmp_path / "out.dicom", source, chunk=64)


def _read_series(folder: Path) -> Any:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()
