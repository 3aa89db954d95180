"""NIfTI files, compared with what nibabel reads."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.selection import crop, parse_selection
from tests.images.writers.copies import copy_image

FILES = Path(nib.__file__).parent / "tests" / "data"
RNG = np.random.default_rng(4)
PIXELS = RNG.integers(0, 4000, (9, 8, 7, 3)).astype(np.int16)  # X, Y, Z, T
AFFINE = np.array([[-1.5, 0.1, 0, 20], [0.1, 1.4, 0.2, -30], [0, -0.2, 3.0, 5], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("name", ["anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz"])
def test_real_files_equal_those_of_nibabel(name: str) -> None:
    expected: Any = nib.load(FILES / name)
    with open_image(FILES / name) as source:
        assert source.axes == "TZYX"[-len(expected.shape) :]
        pixels = np.asanyarray(expected.dataobj).T
        assert np.allclose(source.data[...], pixels, rtol=1e-6)
        assert np.array_equal(source.affine, expected.affine)
        zooms = [float(zoom) for zoom in expected.header.get_zooms()]
        assert [source.pixel_size[a] for a in "XYZT"[: len(zooms)]] == zooms
        assert source.units["X"] == "millimeter"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_blocks_equal_those_of_the_whole(name: str, tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / name
    if not path.exists():
        kind = nib.Nifti1Pair if name == "a.hdr" else nib.Nifti1Image
        nib.save(kind(PIXELS, AFFINE), path)
    block = tuple(
        slice(start, data.draw(st.integers(start + 1, side)))
        for side in reversed(PIXELS.shape)
        for start in [data.draw(st.integers(0, side - 1))]
    )
    with open_image(path) as source:
        assert np.array_equal(source.data[block], PIXELS.T[block])


def test_threads_read_the_same(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(PIXELS, AFFINE), tmp_path / "a.nii.gz")
    with open_image(tmp_path / "a.nii.gz") as source, ThreadPoolExecutor(4) as pool:
        planes = list(pool.map(lambda at: source.data[at % 3, at % 7], range(42)))
    assert all(np.array_equal(plane, PIXELS.T[at % 3, at % 7]) for at, plane in enumerate(planes))


def test_scaled_integers_are_the_values_that_they_mean(tmp_path: Path) -> None:
    image = nib.Nifti1Image(PIXELS, AFFINE)
    image.header.set_slope_inter(0.25, -10)
    image.header.set_data_dtype(np.int16)
    image.header["cal_max"] = 900
    nib.save(nib.Nifti1Image(PIXELS * 0.25 - 10, AFFINE, image.header), tmp_path / "a.nii")
    with open_image(tmp_path / "a.nii") as source:
        assert source.dtype == np.float32
        assert np.allclose(source.data[...], PIXELS.T * 0.25 - 10, atol=0.2)
        assert source.windows == ((0, 900),)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scaled_floats_are_the_values_that_they_mean(dtype: str, tmp_path: Path) -> None:
    """nibabel writes no floats with a scale, so that the header is edited."""
    nib.save(nib.Nifti1Image(PIXELS.astype(dtype), AFFINE), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[112:120] = struct.pack("<2f", 2.0, 1.0)
    (tmp_path / "a.nii").write_bytes(content)
    with open_image(tmp_path / "a.nii") as source:
        assert np.array_equal(source.data[...], np.asanyarray(nib.load(tmp_path / "a.nii").dataobj).T)
        assert source.data[...].max() == 2 * PIXELS.max() + 1


def test_part_keeps_its_place_in_the_patient(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(PIXELS, AFFINE), tmp_path / "a.nii")
    with open_image(tmp_path / "a.nii") as source:
        part = crop(source, parse_selection("X=2:5,Z=3:6"))
        assert np.allclose(np.array(part.affine) @ [1, 4, 2, 1], AFFINE @ [3, 4, 5, 1])


def test_colours(tmp_path: Path) -> None:
    colours = RNG.integers(0, 255, (9, 8, 7, 3), dtype=np.uint8)
    stored = np.ascontiguousarray(colours).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nib.save(nib.Nifti1Image(stored, AFFINE), tmp_path / "a.nii")
    with open_image(tmp_path / "a.nii") as source:
        assert (source.axes, source.rgb) == ("ZYXS", True)
        assert np.array_equal(source.data[...], colours.transpose(2, 1, 0, 3))


def test_damaged_files_are_refused_before_work(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(RNG.integers(0, 4000, (40, 40, 20)).astype(np.int16), AFFINE), tmp_path / "a.nii.gz")
    whole = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.nii").write_bytes(gzip.decompress(whole)[:-1])
    (tmp_path / "d.nii.gz").write_bytes(gzip.compress(gzip.decompress(whole)[:1000]) + gzip.compress(b"0" * 63352))
    for name, message in {"b.nii.gz": "is truncated, it has", "c.nii": "has 64351 of 64352 bytes"}.items():
        with pytest.raises(ImageError, match=message) as error:
            open_image(tmp_path / name)
        assert "\n" not in str(error.value)
    with open_image(tmp_path / "d.nii.gz") as source:  # of two members, whose last one states its own size
        assert source.shape == (20, 40, 40)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 1, 3), np.float32), AFFINE), tmp_path / "v.nii")
    with pytest.raises(ImageError, match="thus vectors or statistics"):
        open_image(tmp_path / "v.nii")
    with pytest.raises(ImageError, match=r"is a header without its pixels, as .*nifti1\.img is missing; copy it"):
        open_image(FILES / "nifti1.hdr")


@pytest.mark.parametrize(("left", "message"), [(2, "after byte 2;"), (30, "after byte 30;"), (200, "after byte 200;")])
def test_file_that_is_cut_near_its_begin_is_truncated(left: int, message: str, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(PIXELS, AFFINE), tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes()[:left])
    (tmp_path / "b.nii").write_bytes(gzip.decompress((tmp_path / "a.nii.gz").read_bytes())[:left])
    for name in ("b.nii.gz", "b.nii"):
        with pytest.raises(ImageError, match=f"{name}: is truncated {message} copy it again"):
            open_image(tmp_path / name)


def test_bytes_that_are_left_of_a_compressed_file_are_counted(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(PIXELS, AFFINE), tmp_path / "a.nii.gz")
    whole = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(whole[: len(whole) // 2])
    expected = len(zlib.decompressobj(31).decompress(whole[: len(whole) // 2]))
    with pytest.raises(ImageError, match=f"it has {expected} of {PIXELS.nbytes + 352} bytes"):
        open_image(tmp_path / "b.nii.gz")


def test_pair_is_opened_by_either_file(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(PIXELS, AFFINE), tmp_path / "a.img")
    for name in ("a.img", "a.hdr"):
        with open_image(tmp_path / name) as source:
            assert np.array_equal(source.data[...], PIXELS.T)
            assert {path.name for path in source.inputs} == {"a.img", "a.hdr"}
    (tmp_path / "a.hdr").write_text("ENVI")  # whose pixels have the same suffix
    with pytest.raises(ImageError, match="of no supported format"):
        open_image(tmp_path / "a.img")


def test_negative_sides_are_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(PIXELS, AFFINE), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[46:48] = (-7).to_bytes(2, "little", signed=True)  # dim[3]
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(ImageError, match=r"declares the shape \(9, 8, -7, 3\)"):
        open_image(tmp_path / "a.nii")


def test_place_that_is_no_number_is_unknown(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(PIXELS, AFFINE), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[280:284] = struct.pack("<f", float("nan"))  # the first value of srow_x
    (tmp_path / "a.nii").write_bytes(content)
    with open_image(tmp_path / "a.nii") as source:
        assert (source.affine, source.pixel_size["Z"] > 0) == ((), True)
        assert any("its affine has values that are no numbers" in note for note in source.notes)
        copy_image(source, tmp_path / "out.ome.zarr")
    text = (tmp_path / "out.ome.zarr" / "zarr.json").read_text()
    json.loads(text, parse_constant=lambda value: pytest.fail(f"{value} is no JSON"))
