"""NIfTI, derived DICOM series and MRC, read by the libraries of the formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - its own convention
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.create import create_sink
from masked_denoiser.images.writers.provenance import read_attributes
from tests.images.dicom_files import OBLIQUE, PATIENT, write_series

RNG = np.random.default_rng(6)
AFFINE = np.array([[-1.5, 0.1, 0, 20], [0.1, 1.4, 0.2, -30], [0, -0.2, 3.0, 5], [0, 0, 0, 1.0]])
ATTRIBUTES = {"model": "general-gray", "job": "ab" * 32, "settings": {"anonymize": False}}
ANONYMOUS = {**ATTRIBUTES, "settings": {"anonymize": True}}


def _copy(source: Source, path: Path, change: float = 0.0, **options: Any) -> None:
    """Write a source with `change` added to its pixels."""
    sink = create_sink(path, source, chunk=64, attributes=options.pop("attributes", ATTRIBUTES), **options)
    dtype = np.float32 if path.name.endswith((".nii", ".nii.gz")) and source.dtype.itemsize < 4 else source.dtype
    for plane in list_planes(source.axes, source.sizes, source.rgb):
        pixels = source.read(plane, slice(0, source.size_yx[0]), slice(0, source.size_yx[1]))
        sink.write(plane, 0, 0, (pixels.astype(np.float64) + change).astype(options.get("dtype", dtype)))
    sink.finish()
    sink.close()


@settings(max_examples=40, deadline=None)
@given(
    stored=arrays.arrays(
        st.sampled_from((np.uint8, np.int16, np.uint16)), (3, 4, 5), elements={"min_value": 0, "max_value": 200}
    ),
    scale=st.sampled_from([(1, 0), (0.25, 0), (3.0, -100)]),
    change=st.sampled_from([0.0, 0.125, 1 / 3]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_nifti_keeps_header_and_fractions(
    tmp_path_factory: pytest.TempPathFactory, stored: Any, scale: tuple[float, float], change: float, suffix: str
) -> None:
    folder = tmp_path_factory.mktemp("nifti")
    image = nib.Nifti1Image(stored * scale[0] + scale[1], AFFINE)
    image.header.set_data_dtype(stored.dtype)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"TE=30"
    nib.save(image, folder / f"in{suffix}")
    with open_image(folder / f"in{suffix}") as source:
        _copy(source, folder / f"out{suffix}", change)
        before: Any = nib.load(folder / f"in{suffix}")
        after: Any = nib.load(folder / f"out{suffix}")
        assert np.allclose(after.get_fdata(), before.get_fdata() + change, atol=0.51 * abs(after.dataobj.slope))
        assert abs(after.dataobj.slope) <= max(
            2 * abs(before.dataobj.slope), 1.1 * np.ptp(before.get_fdata()) / 255, 0.01
        )
        if change == 0 and scale == (1, 0):
            assert np.array_equal(after.get_fdata(), before.get_fdata())
    assert np.array_equal(after.affine, before.affine)
    assert after.get_data_dtype() == before.get_data_dtype()
    for name in ("descrip", "xyzt_units", "qform_code", "sform_code", "pixdim", "intent_code"):
        assert np.array_equal(after.header[name], before.header[name]), name
    assert read_attributes(folder / f"out{suffix}") == {**ATTRIBUTES, "complete": True}


def test_rounding_of_nifti_is_below_a_tenth_of_little_noise(tmp_path: Path) -> None:
    stored = np.rint(RNG.normal(300, 2, (9, 8, 7))).astype(np.int16)
    nib.save(nib.Nifti1Image(stored, AFFINE), tmp_path / "in.nii")
    with open_image(tmp_path / "in.nii") as source:
        _copy(source, tmp_path / "out.nii", 0.123)
    error = nib.load(tmp_path / "out.nii").get_fdata() - stored - 0.123  # type: ignore[attr-defined]
    assert np.sqrt(np.mean(error**2)) < 0.1 * 2


def test_nifti_of_other_formats_has_their_place_and_scale(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", RNG.integers(0, 4096, (4, 20, 24), dtype=np.uint16), orientation=OBLIQUE)
    with open_image(tmp_path / "ct") as source:
        _copy(source, tmp_path / "out.nii.gz")
        image: Any = nib.load(tmp_path / "out.nii.gz")
        assert np.allclose(image.affine, source.affine, atol=1e-4)
        assert np.array_equal(image.get_fdata(), source.data[...].T)
    assert np.allclose(image.header.get_zooms(), (0.5, 0.7, 2.5))
    assert image.header.get_xyzt_units()[0] == "mm"
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nii.gz")))
    assert np.array_equal(expected, image.get_fdata().T)


def test_nifti_refuses_channels(tmp_path: Path) -> None:
    source = open_image(np.zeros((2, 8, 8), np.uint16), axes="CYX")
    with pytest.raises(ImageError, match=r"NIfTI has no channels, and the image has 2; .* --select C=0"):
        create_sink(tmp_path / "out.nii", source, chunk=64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_derived_series_is_read_by_gdcm(modality: str, tmp_path: Path) -> None:
    stored = RNG.integers(10, 4000, (4, 20, 24), dtype=np.uint16)
    names = ["Jane Doe d", "Jane Doe b", "Jane Doe c", "Jane Doe a"]
    originals = write_series(tmp_path / "in", stored, modality=modality, orientation=OBLIQUE, names=names)
    with open_image(tmp_path / "in") as source:
        _copy(source, tmp_path / "out.dicom", 3)
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
        _copy(source, output)
        written = {path.name: path.read_bytes() for path in output.iterdir()}
        _copy(source, output, overwrite=True)
        assert {path.name: path.read_bytes() for path in output.iterdir()} == written
        assert read_attributes(output)["model"] == "general-gray"
        (output / "mine.txt").write_text("keep")
        with pytest.raises(ImageError, match=r"holds other files \(mine\.txt\), which would be lost"):
            _copy(source, output, overwrite=True)
        foreign = tmp_path / "foreign.dicom"
        write_series(foreign, RNG.integers(10, 4000, (1, 20, 24), dtype=np.uint16))
        with pytest.raises(ImageError, match="was not written by this program"):
            _copy(source, foreign, overwrite=True)
    assert (output / "mine.txt").exists()


def test_anonymous_output_names_no_patient(tmp_path: Path) -> None:
    write_series(tmp_path / "in", RNG.integers(10, 4000, (3, 20, 24), dtype=np.uint16))
    with open_image(tmp_path / "in") as source:
        _copy(source, tmp_path / "out.dicom", attributes=ANONYMOUS)
        _copy(source, tmp_path / "named.dicom")
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
        _copy(source, tmp_path / "out.dicom")
        pixels = source.data[...]
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.dicom" / "0001.dcm"))), pixels)


def test_dicom_is_derived_from_dicom_only(tmp_path: Path) -> None:
    source = open_image(np.zeros((8, 8), np.uint16))
    with pytest.raises(ImageError, match=r"written only for DICOM images.*write to \.nii\.gz"):
        create_sink(tmp_path / "out.dicom", source, chunk=64)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float32"])
@pytest.mark.parametrize(("axes", "shape"), [("YX", (20, 24)), ("ZYX", (3, 20, 24)), ("TZYX", (2, 3, 20, 24))])
def test_mrc_keeps_pixels_and_voxel_size(dtype: str, axes: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    from dataclasses import replace

    pixels = RNG.integers(0, 120, shape).astype(dtype)
    source = open_image(pixels, axes=axes)
    sizes = {a: 0.5 for a in "ZYX" if a in axes}
    source = replace(source, pixel_size=sizes, units=dict.fromkeys(sizes, "nanometer"))
    _copy(source, tmp_path / "out.mrc")
    with mrcfile.open(tmp_path / "out.mrc") as file:
        assert np.array_equal(file.data, pixels)
        assert file.data.dtype == dtype
        assert file.voxel_size.x == 5
    assert mrcfile.validate(tmp_path / "out.mrc")
    assert read_attributes(tmp_path / "out.mrc") == {"job": ATTRIBUTES["job"], "complete": True}


def _read_series(folder: Path) -> Any:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()
