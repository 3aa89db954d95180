"""DICOM files and series, compared with what SimpleITK (GDCM) reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
import SimpleITK as sitk  # noqa: N813 - its own convention

from masked_denoiser.errors import DamagedError, ImageError
from masked_denoiser.images.discovery import find_images, stem_of
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from tests.images.dicom_files import OBLIQUE, write_series

FILES = Path(pydicom.data.__file__).parent / "test_files"
RNG = np.random.default_rng(3)
VOLUME = RNG.integers(0, 4096, (6, 20, 24), dtype=np.uint16)

#: pydicom's own files that both read; all photometric interpretations and compressions are among them.
READABLE = [
    "693_J2KI", "CT_small", "ExplVR_BigEnd", "JPEG-lossy", "JPEG2000", "JPEGLSNearLossless_08",
    "JPEGLSNearLossless_16", "JPGExtended", "MR_small_RLE", "MR_small_bigendian", "MR_small_implicit",
    "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_padded", "SC_rgb_dcmtk_+eb+cr",
    "SC_rgb_dcmtk_+eb+cy+s4", "SC_rgb_gdcm_KY", "SC_rgb_jls_lossy_line", "SC_rgb_jpeg_gdcm", "SC_rgb_rle_2frame",
    "SC_ybr_full_422_uncompressed", "examples_jpeg2k", "examples_overlay", "examples_palette", "examples_ybr_color",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> None:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_pixels_equal_those_of_gdcm(name: str) -> None:
    with open_image(FILES / f"{name}.dcm") as source:
        expected = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(str(FILES / f"{name}.dcm"))))
        assert np.array_equal(np.squeeze(source.data[...]), expected)
        assert source.rgb == (expected.ndim > 2 and expected.shape[-1] == 3)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE])
def test_series_in_any_order_equals_that_of_gdcm(orientation: tuple[float, ...], tmp_path: Path) -> None:
    names = [f"{number}.dcm" for number in RNG.permutation(6)]
    write_series(tmp_path / "ct", VOLUME, orientation=orientation, names=names)
    image = _read_series(tmp_path / "ct")
    with open_image(tmp_path / "ct") as source:
        assert (source.axes, source.dtype, source.modality) == ("ZYX", np.int16, "CT")
        assert np.array_equal(source.data[...], sitk.GetArrayFromImage(image))
        assert np.array_equal(source.data[2:4, 3:9, 5], VOLUME[2:4, 3:9, 5].astype(np.int16) - 1024)
        assert source.pixel_size == {"Z": 2.5, "Y": 0.7, "X": 0.5}
        assert source.windows == ((-160, 240),)
        assert np.allclose(source.affine, _affine(image), atol=1e-5)


def test_times_at_each_position_are_an_axis(tmp_path: Path) -> None:
    write_series(tmp_path / "mr", VOLUME, modality="MR", times=3)
    with open_image(tmp_path / "mr") as source:
        assert source.axes == "TZYX"
        assert np.array_equal(source.data[...], VOLUME.reshape(3, 2, 20, 24))


def test_scaled_values_and_padding(tmp_path: Path) -> None:
    elements = {"RescaleSlope": [0.5, 0.25, 2.0, 1.0, 1.5, 3.0], "RescaleIntercept": -1.0}
    write_series(tmp_path / "pt", VOLUME, modality="PT", elements=elements)
    with open_image(tmp_path / "pt") as source:
        slopes = np.array(elements["RescaleSlope"])[:, None, None]
        assert source.dtype == np.float32
        assert np.allclose(source.data[...], VOLUME * slopes - 1)
    write_series(tmp_path / "ct", VOLUME, elements={"PixelPaddingValue": 7})
    with open_image(tmp_path / "ct") as source:
        assert source.fill_values == (-1017,)


def test_several_series_in_a_folder_are_several_images(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    write_series(folder, VOLUME, series=3, names=[f"a{z}" for z in range(6)])
    write_series(folder, VOLUME[:2], series=12, modality="MR", names=["b0", "b1"])
    (folder / "notes.txt").write_text("no image")
    with pytest.raises(ImageError, match=r"holds 2 series \(numbers 3 with 6 CT files, 12 with 2 MR files\); name one"):
        open_image(folder)
    assert find_images([str(folder)]) == [f"{folder}::3", f"{folder}::12"] == find_images([str(tmp_path)])
    assert stem_of(f"{folder}::12") == "study_12"
    with open_image(f"{folder}::12") as source:
        assert source.shape == (2, 20, 24)
        assert source.where == f"{folder}::12"
        assert "1 file that is no DICOM image was ignored: notes.txt" in source.notes


def _without(index: int) -> dict[str, Any]:
    return {"distances": [2.5 * (z + (z >= index)) for z in range(6)]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (_without(3), r"1 of its planes is missing between 0002\.dcm and 0003\.dcm \(5 mm apart instead of 2\.5\)"),
        ({"distances": [0, 2.5, 5, 8.7, 11.2, 13.7]}, r"its planes are 3\.7 mm apart between .* and 2\.5 mm elsewhere"),
        ({"elements": {"ImageOrientationPatient": [[1, 0, 0, 0, 1, 0]] * 5 + [[1, 0, 0, 0, 0, 1]]}}, "not parallel"),
        ({"elements": {"SOPInstanceUID": ["1.2"] * 6}}, r"0000\.dcm and 0001\.dcm are the same slice"),
        ({"elements": {"Rows": [20] * 5 + [10]}}, r"0005\.dcm has another height \(10\) than 0000\.dcm \(20\)"),
        (
            {"elements": {"TemporalPositionIdentifier": 1}, "distances": [0, 0, 2.5, 5, 7.5, 10]},
            "positions have 1 to 2",
        ),
    ],
)
def test_incomplete_series_are_refused(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_series(tmp_path / "series", VOLUME, **arguments)
    with pytest.raises(ImageError, match=message) as error:
        open_image(tmp_path / "series")
    assert "\n" not in str(error.value)
    assert len(find_images([f"{tmp_path}/series/*.dcm"])) == 6  # the remedy


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test-SR.dcm", r"without pixels \(modality SR\)"),
        ("rtplan.dcm", r"without pixels \(modality RTPLAN\)"),
        ("liver_1frame.dcm", "mask of 1 bits"),
        ("image_dfl.dcm", "Deflated .* decompress it"),
        ("badVR.dcm", "number of frames is invalid"),
        ("SC_rgb_rle_32bit.dcm", "colours of 32 bits"),
    ],
)
def test_files_that_are_no_images_are_refused(name: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        open_image(FILES / name)


def test_truncated_files(tmp_path: Path) -> None:
    (path, *_) = write_series(tmp_path, VOLUME)
    whole = path.read_bytes()
    path.write_bytes(whole[:-61])
    with pytest.raises(ImageError, match=r"is truncated, it has 899 of 960 bytes of pixels; copy it again"):
        open_image(path)
    path.write_bytes(whole[:400])
    with pytest.raises(ImageError, match=r"copy|without pixels"):
        open_image(path)
    compressed = (FILES / "MR_small_jpeg_ls_lossless.dcm").read_bytes()
    path.write_bytes(compressed[:-500])
    with open_image(path) as source, pytest.raises(DamagedError, match="is damaged at rows"):
        source.read(next(list_planes("YX", source.sizes, False)), slice(0, 64), slice(0, 64))


def test_tiff_preamble_is_no_tiff(tmp_path: Path) -> None:
    (path, *_) = write_series(tmp_path, VOLUME)
    path.write_bytes(b"II*\0\x08\0\0\0" + path.read_bytes()[8:])
    path = path.rename(tmp_path / "slide.tif")
    with open_image(path) as source:
        assert source.modality == "CT"


def test_unsupported_compression_names_the_remedy(tmp_path: Path) -> None:
    (path, *_) = write_series(tmp_path, VOLUME)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    dataset["PixelData"].VR = "OB"
    dataset.PixelData = pydicom.encaps.encapsulate([b"0" * 16])
    dataset.save_as(path)
    with pytest.raises(ImageError, match=r"compressed as MPEG2 .*, which cannot be decoded; decompress it"):
        open_image(path)


def test_patient_is_not_in_what_is_stored_of_a_source(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", VOLUME)
    with open_image(tmp_path / "ct") as source:
        assert "Doe" not in repr(source)


def _read_series(folder: Path) -> Any:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def _affine(image: Any) -> np.ndarray[Any, Any]:
    """Return the affine of an image of SimpleITK, which counts towards left and posterior, in RAS."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def test_series_that_are_no_volume_are_refused(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        "different sizes": {"PixelSpacing": [[0.7, 0.5]] * 5 + [[0.9, 0.9]]},
        "shifted by 30 mm": {"ImagePositionPatient": [[-50 + 30 * (z == 2), -60, 100 + 2.5 * z] for z in range(6)]},
        "number of stored bits": {"BitsStored": [12] * 5 + [16], "HighBit": [11] * 5 + [15]},
    }
    for message, elements in cases.items():
        write_series(tmp_path / message, VOLUME, elements=elements)
        with pytest.raises(ImageError, match=message):
            open_image(tmp_path / message)


def test_tilted_gantry_and_rounded_positions_are_volumes(tmp_path: Path) -> None:
    tilted = [[-50, -60 + 0.8 * z, 100 + 2.5 * z] for z in range(6)]
    write_series(tmp_path / "tilted", VOLUME, elements={"ImagePositionPatient": tilted})
    with open_image(tmp_path / "tilted") as source:
        assert np.allclose(np.array(source.affine)[:3, 2], (0, -0.8, 2.5))
    jitter = [[-50, -60, 100 + 2.5 * (z % 2) + 0.0006 * (z > 1)] for z in range(6)]
    write_series(tmp_path / "4d", VOLUME, times=3, elements={"ImagePositionPatient": jitter})
    with open_image(tmp_path / "4d") as source:
        assert source.axes == "TZYX"
        assert np.array_equal(source.data[...], VOLUME.reshape(3, 2, 20, 24).astype(int) - 1024)


def test_padding_and_kind_of_image(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", VOLUME, elements={"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 3})
    with open_image(tmp_path / "ct") as source:
        assert source.fill_values == (-1024, -1023, -1022, -1021)
    write_series(tmp_path / "mr", VOLUME, modality="MR", elements={"ImageType": [["DERIVED", "PRIMARY", "ADC"]] * 6})
    with open_image(tmp_path / "mr") as source:
        assert source.modality == "MR derived"


def test_folder_of_series_and_other_files(tmp_path: Path) -> None:
    write_series(tmp_path / "study", VOLUME, names=[f"IM{z}" for z in range(6)])
    for name in ("a.txt", "b.txt", "c.tif"):
        (tmp_path / "study" / name).write_text("no image")
    with open_image(tmp_path / "study") as source:
        assert source.shape == VOLUME.shape
        assert "3 files that are no DICOM images were ignored: a.txt, b.txt, c.tif" in source.notes
    (tmp_path / "medium" / "DICOM").mkdir(parents=True)
    (tmp_path / "study").rename(tmp_path / "medium" / "DICOM" / "S1")
    with pytest.raises(ImageError, match=r"DICOM/S1 holds a DICOM series: '.*medium/\*\*' stands for all"):
        find_images([str(tmp_path / "medium")])
    assert find_images([str(tmp_path / "medium" / "**")]) == [str(tmp_path / "medium" / "DICOM" / "S1")]


def test_data_set_without_preamble(tmp_path: Path) -> None:
    whole = pydicom.dcmread(FILES / "MR_small_implicit.dcm")
    bare = pydicom.filebase.DicomBytesIO()
    bare.is_little_endian, bare.is_implicit_VR = True, True
    pydicom.filewriter.write_dataset(bare, whole)
    (tmp_path / "a.dcm").write_bytes(bare.getvalue())
    with open_image(tmp_path / "a.dcm") as source:
        assert np.array_equal(source.data[...], whole.pixel_array)


def test_floating_point_pixels_and_index_of_a_medium(tmp_path: Path) -> None:
    (path, *_) = write_series(tmp_path, VOLUME[:1], modality="MR")
    dataset = pydicom.dcmread(path)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        del dataset[name]
    dataset.BitsAllocated = 32
    values = RNG.normal(0, 1, (20, 24)).astype("<f4")
    dataset.FloatPixelData = values.tobytes()
    dataset.save_as(path)
    with open_image(path) as source:
        assert np.array_equal(source.data[...], values)
    with pytest.raises(ImageError, match="is the index of a DICOM medium; give a folder of images"):
        open_image(FILES / "dicomdirtests" / "DICOMDIR")
