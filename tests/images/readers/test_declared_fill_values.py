"""Fill values that files declare for missing pixels."""

import numpy as np
import pytest
import tifffile
import zarr

from masked_denoiser.images.metadata.declared_fill_values import GDAL_NODATA, fill_values_of
from masked_denoiser.images.open import open_image

PIXELS = np.arange(64 * 64, dtype=np.int16).reshape(64, 64)


@pytest.mark.parametrize("text", ["-9999", " -9999.0\0"])
def test_gdal_nodata_tag_is_read(tmp_path, text):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, extratags=[(GDAL_NODATA, "s", 0, text, True)])
    with open_image(tmp_path / "a.tif") as source:
        assert source.fill_values == (-9999.0,)


@pytest.mark.parametrize("name", ["_FillValue", "missing_value"])
def test_zarr_fill_values_come_from_attributes_only(tmp_path, name):
    array = zarr.create_array(tmp_path / "a.zarr", data=PIXELS, fill_value=7)
    array.attrs[name] = -1
    with open_image(tmp_path / "a.zarr") as source:
        assert source.fill_values == (-1.0,)


@pytest.mark.parametrize(
    ("declared", "dtype", "values"),
    [
        (["-9999"], "u1", ()),
        (["nan", "inf", "none", None, True, [1]], "f4", ()),
        ([0.5], "i2", ()),
        ([3.4028234663852886e38], "f4", (float(np.finfo("f4").max),)),
        ([1e300], "f4", ()),
        ([0, 0.0, "0"], "u2", (0.0,)),
    ],
)
def test_only_values_of_the_dtype_are_fill_values(declared, dtype, values):
    assert fill_values_of(declared, np.dtype(dtype)) == values
