"""What outputs store although their formats do not define it, and fill values in what is derived from pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from masked_denoiser.images.metadata.declared_fill_values import GDAL_NODATA
from masked_denoiser.images.metadata.own_attributes import stored_metadata
from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.downsample import halve
from tests.images.writers.copies import copy_image

CALIBRATION = {"function": "straight line", "coefficients": [-10.0, 2.0], "unit": "photons"}
FILL = -9999.0


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.ome.tif", "out.nii.gz"])
def test_calibration_and_fill_values_are_read_back(name: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(100, 5, (600, 600)).astype(np.float32)
    pixels[:61] = FILL
    copy_image(replace(open_image(pixels), value_calibration=CALIBRATION, fill_values=(FILL,)), tmp_path / name)
    with open_image(tmp_path / name) as found:
        assert (dict(found.value_calibration), found.fill_values) == (CALIBRATION, (FILL,))
        assert found.notes == ("its calibration value = -10 + 2 x pixel (photons) is not applied",)
        for level in found.levels[1:]:
            means = np.asarray(level[...])
            assert ((means == FILL) | (np.abs(means - 100) < 25)).all()


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.ome.tif"])
def test_kind_of_alpha_is_read_back(name: str, tmp_path: Path) -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    copy_image(replace(open_image(pixels, axes="YXS"), alpha="associated"), tmp_path / name)
    with open_image(tmp_path / name) as found:
        assert found.alpha == "associated"


def test_contrast_windows_are_those_of_real_pixels(tmp_path: Path) -> None:
    pixels = np.full((2, 300, 300), FILL, np.float32)
    pixels[0, 150:] = np.linspace(3, 8, 300)
    copy_image(replace(open_image(pixels, axes="CYX"), fill_values=(FILL,)), tmp_path / "out.ome.zarr")
    channels = zarr.open_group(tmp_path / "out.ome.zarr", mode="r").attrs["ome"]["omero"]["channels"]
    assert 3 <= channels[0]["window"]["start"] < channels[0]["window"]["end"] <= 8


def test_fill_values_are_those_of_the_output(tmp_path: Path) -> None:
    """1e20 is another number in float32, by which it is recognized there."""
    pixels = np.full((300, 300), 1e20)
    pixels[150:] = np.linspace(3, 8, 300)
    copy_image(replace(open_image(pixels), fill_values=(1e20,)), tmp_path / "out.ome.zarr", dtype=np.float32)
    channels = zarr.open_group(tmp_path / "out.ome.zarr", mode="r").attrs["ome"]["omero"]["channels"]
    assert channels[0]["window"]["end"] <= 8


def test_gdal_reads_the_fill_value(tmp_path: Path) -> None:
    copy_image(replace(open_image(np.zeros((64, 64), np.int16)), fill_values=(-1.0,)), tmp_path / "out.ome.tif")
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tif:
        assert tif.pages.first.tags.valueof(GDAL_NODATA) == "-1"


@settings(deadline=None)
@given(
    arrays.arrays(np.int16, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(-4, 4)),
    st.sampled_from([(), (0,), (-4, 3)]),
)
def test_means_leave_missing_pixels_out(pixels: np.ndarray, missing: tuple[int, ...]) -> None:
    result = halve(pixels, 0, 1, missing)
    for y, x in np.ndindex(result.shape):
        block = pixels[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel().astype(float)
        real = block[~np.isin(block, missing)]
        assert result[y, x] == (np.floor(real.mean() + 0.5) if real.size else block[0])


@pytest.mark.parametrize(
    "attributes",
    [
        None,
        {"alpha": "half", "modality": 3, "affine": [[1]], "fill_values": "0", "value_calibration": [1]},
        {"fill_values": [None, "x", 1e300], "value_calibration": {"function": "f", "coefficients": ["a"], "unit": ""}},
    ],
)
def test_edited_attributes_are_ignored(attributes: object) -> None:
    assert stored_metadata(attributes, np.dtype(np.uint8)) == {}
