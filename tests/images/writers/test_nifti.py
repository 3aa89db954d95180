"""NIfTI files, read by nibabel and SimpleITK."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its own convention
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.selection import crop, parse_selection
from masked_denoiser.images.writers.create import check_sink, create_sink
from masked_denoiser.images.writers.provenance import read_attributes
from tests.images.dicom_files import OBLIQUE, write_series
from tests.images.writers.copies import ATTRIBUTES, copy_image

RNG = np.random.default_rng(6)
AFFINE = np.array([[-1.5, 0.1, 0, 20], [0.1, 1.4, 0.2, -30], [0, -0.2, 3.0, 5], [0, 0, 0, 1.0]])


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
        copy_image(source, folder / f"out{suffix}", change)
        before: Any = nib.load(folder / f"in{suffix}")
        after: Any = nib.load(folder / f"out{suffix}")
        assert np.allclose(after.get_fdata(), before.get_fdata() + change, atol=0.51 * abs(after.dataobj.slope))
        assert abs(after.dataobj.slope) <= abs(before.dataobj.slope) / 8
        if change == 0 and scale == (1, 0):
            assert np.array_equal(after.get_fdata(), before.get_fdata())
    assert np.array_equal(after.affine, before.affine)
    assert after.get_data_dtype().itemsize >= before.get_data_dtype().itemsize
    for name in ("descrip", "xyzt_units", "qform_code", "sform_code", "pixdim", "intent_code"):
        assert np.array_equal(after.header[name], before.header[name]), name
    assert read_attributes(folder / f"out{suffix}") == {**ATTRIBUTES, "complete": True}


@pytest.mark.parametrize(
    ("low", "high", "dtype", "expected"),
    [
        (0, 255, np.uint8, np.int16),
        (-128, 127, np.int8, np.int16),
        (0, 31, np.uint8, np.uint8),
        (-1024, 3071, np.int16, np.int16),
        (-32768, 32767, np.int16, np.int32),
        (0, 65535, np.uint16, np.int32),
    ],
)
def test_rounding_is_below_a_tenth_of_the_noise(low: int, high: int, dtype: Any, expected: Any, tmp_path: Path) -> None:
    sigma = 1
    stored = np.rint(np.clip(RNG.normal((low + high) / 2, sigma, (40, 30, 20)), low, high)).astype(dtype)
    stored[0, 0, :2] = low, high
    nib.save(nib.Nifti1Image(stored, AFFINE), tmp_path / "in.nii")
    change = 0.37
    with open_image(tmp_path / "in.nii") as source:
        copy_image(source, tmp_path / "out.nii", change)
    image: Any = nib.load(tmp_path / "out.nii")
    error = image.get_fdata()[1:] - stored[1:] - change
    assert np.sqrt(np.mean(error**2)) < 0.1 * sigma
    assert image.get_data_dtype() == expected


def test_wide_integers_are_exact(tmp_path: Path) -> None:
    stored = RNG.integers(-(2**31), 2**31, (4, 5, 6), dtype=np.int32)
    nib.save(nib.Nifti1Image(stored, AFFINE), tmp_path / "in.nii")
    with open_image(tmp_path / "in.nii") as source:
        copy_image(source, tmp_path / "out.nii")
    image: Any = nib.load(tmp_path / "out.nii")
    assert image.get_data_dtype() == np.int32
    assert np.array_equal(image.dataobj, stored)


TURNED = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, 0.2, 0.1) @ np.diag([1.5, 1.5, 3.0]), [-7, 8, 9])


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair])
@pytest.mark.parametrize("codes", [(1, 4), (0, 2), (1, 0), (0, 0)])
@pytest.mark.parametrize("part", ["", "X=2:5,Z=3:6", "Y=1"])
def test_qform_and_sform_are_kept_apart(kind: Any, codes: tuple[int, int], part: str, tmp_path: Path) -> None:
    image = kind(RNG.integers(0, 99, (9, 8, 7)).astype(np.int16), None)
    image.header.set_qform(TURNED, codes[0])
    image.header.set_sform(AFFINE, codes[1])
    path = tmp_path / ("in.hdr" if kind is nib.Nifti1Pair else "in.nii")
    nib.save(image, path)
    before: Any = nib.load(path).header  # type: ignore[attr-defined]
    with open_image(path) as source:
        copy_image(crop(source, parse_selection(part)), tmp_path / "out.nii")
    after: Any = nib.load(tmp_path / "out.nii").header  # type: ignore[attr-defined]
    starts = parse_selection(part).starts
    first = [*(starts.get(axis, 0) for axis in "XYZ"), 1]
    for name, code in zip(("qform", "sform"), codes, strict=True):
        assert after[f"{name}_code"] == code
        old, new = (getattr(header, f"get_{name}")() for header in (before, after))
        assert np.array_equal(new[:, :3], old[:, :3])
        assert np.allclose(new[:, 3], old @ first if code else old[:, 3], atol=1e-4)


def test_qform_that_is_no_rotation_does_not_stop_a_part(tmp_path: Path) -> None:
    image = nib.Nifti1Image(RNG.integers(0, 99, (9, 8, 7)).astype(np.int16), AFFINE)
    image.header.set_sform(AFFINE, 2)
    image.header.set_qform(TURNED, 1)
    for name in "bcd":
        image.header[f"quatern_{name}"] = 1
    (tmp_path / "in.nii").write_bytes(
        b"".join((image.header.binaryblock, b"\0" * 4, image.get_fdata().astype("<i2").tobytes("F")))
    )
    content = bytearray((tmp_path / "in.nii").read_bytes())
    content[108:112] = np.float32(352).tobytes()
    (tmp_path / "in.nii").write_bytes(content)
    with open_image(tmp_path / "in.nii") as source:
        copy_image(crop(source, parse_selection("X=2:5")), tmp_path / "out.nii")
    after: Any = nib.load(tmp_path / "out.nii")
    assert after.header["qform_code"] == 0
    assert np.allclose(after.affine @ [0, 0, 0, 1], AFFINE @ [2, 0, 0, 1])


@pytest.mark.parametrize("place", [False, True])
@pytest.mark.parametrize("units", [("mm", "msec"), ("micron", "sec"), ("meter", "usec"), ("unknown", "unknown")])
def test_sizes_and_units_are_kept(units: tuple[str, str], place: bool, tmp_path: Path) -> None:
    image = nib.Nifti1Image(RNG.integers(0, 99, (9, 8, 7, 3)).astype(np.int16), AFFINE if place else None)
    image.header.set_zooms((0.002, 0.003, 2, 2000))
    image.header.set_xyzt_units(*units)
    nib.save(image, tmp_path / "in.nii")
    with open_image(tmp_path / "in.nii") as source:
        copy_image(source, tmp_path / "out.nii")
    before: Any = nib.load(tmp_path / "in.nii")
    after: Any = nib.load(tmp_path / "out.nii")
    assert np.array_equal(after.header["pixdim"], before.header["pixdim"])
    assert after.header.get_xyzt_units() == units
    assert np.array_equal(after.affine, before.affine)


def test_other_axes_have_sizes_of_their_own(tmp_path: Path) -> None:
    image = nib.Nifti1Image(RNG.integers(0, 99, (9, 8, 7)).astype(np.int16), AFFINE)
    image.header.set_xyzt_units("micron", "msec")
    nib.save(image, tmp_path / "in.nii")
    with open_image(tmp_path / "in.nii", axes="TYX") as source:
        copy_image(source, tmp_path / "out.nii")
    after: Any = nib.load(tmp_path / "out.nii")
    assert after.shape == (9, 8, 1, 7)
    assert after.header.get_xyzt_units() == ("mm", "unknown")


def test_place_in_other_units_is_in_millimeters(tmp_path: Path) -> None:
    image = nib.Nifti1Image(RNG.integers(0, 99, (9, 8, 7)).astype(np.int16), AFFINE)
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "in.nii")
    with open_image(tmp_path / "in.nii") as source:
        copy_image(replace(source, path=None, inputs=()), tmp_path / "out.nii")
    after: Any = nib.load(tmp_path / "out.nii")
    assert after.header.get_xyzt_units()[0] == "mm"
    assert np.allclose(after.affine[:3], AFFINE[:3] / 1000)
    assert np.allclose(after.header.get_zooms(), np.array(image.header.get_zooms()) / 1000)


def test_nifti_of_other_formats_has_their_place_and_scale(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", RNG.integers(0, 4096, (4, 20, 24), dtype=np.uint16), orientation=OBLIQUE)
    with open_image(tmp_path / "ct") as source:
        copy_image(source, tmp_path / "out.nii.gz")
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


@pytest.mark.parametrize(("dtype", "stored"), [(np.uint16, None), (np.uint8, np.float32)])
def test_nifti_refuses_colours_of_more_than_8_bits(tmp_path: Path, dtype: Any, stored: Any) -> None:
    source = open_image(np.zeros((8, 8, 3), dtype), axes="YXS")
    with pytest.raises(ImageError, match="NIfTI stores colours of 8 bits only"):
        check_sink(tmp_path / "out.nii", source, chunk=64, dtype=stored)


def test_colours_of_nifti_are_clipped(tmp_path: Path) -> None:
    source = open_image(np.zeros((2, 2, 3), np.uint8), axes="YXS")
    sink = create_sink(tmp_path / "out.nii", source, chunk=64)
    (plane,) = list_planes(source.axes, source.sizes, source.rgb)
    sink.write(plane, 0, 0, np.full((3, 2, 2), np.float32([[-0.6, 255.7], [254.6, 0.4]])))
    sink.finish()
    with open_image(tmp_path / "out.nii") as result:
        np.testing.assert_array_equal(np.asarray(result.data[...])[..., 0].squeeze(), [[0, 255], [255, 0]])
