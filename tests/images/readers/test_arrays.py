"""Arrays of other libraries: what is read of them, results of the same kind, and what is refused."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import masked_denoiser as md
from masked_denoiser.errors import ImageError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.images.readers.arrays.coordinates import Coordinate, calibrate

PIXELS = np.random.default_rng(0).integers(1, 255, (20, 30), dtype=np.uint8)
MODEL, OPTIONS = tiny_model(), md.Options(noise="none", tile=32, intensity=(0.0, 255.0))


def denoise(array: Any, axes: str | None = "YX") -> Any:
    return md.denoise(array, model=MODEL, axes=axes, options=OPTIONS, device="cpu")


EXPECTED = denoise(PIXELS)


class Converts:
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return PIXELS


class OnGpu:
    __cuda_array_interface__: Any = None
    shape, dtype = PIXELS.shape, PIXELS.dtype

    def __getitem__(self, key: Any) -> Any:
        raise TypeError("implicit conversion is not allowed")


class WithGet(OnGpu):
    def get(self) -> np.ndarray[Any, Any]:
        return PIXELS


CONVERTED = {
    "list": PIXELS.tolist(),
    "tuple of rows": tuple(PIXELS),
    "pillow": Image.fromarray(PIXELS),
    "dask": da.from_array(PIXELS, chunks=7),
    "__array__": Converts(),
    "cupy": WithGet(),
    "subclass": PIXELS.view(np.recarray),
    "big endian": PIXELS.astype(">u2"),
}


@pytest.mark.parametrize("array", CONVERTED.values(), ids=CONVERTED)
def test_arrays_of_other_kinds_are_denoised_like_numpy(array: Any) -> None:
    result = denoise(array)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, EXPECTED)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.uint16, torch.float16, torch.bfloat16, torch.float64]
)
def test_tensor_gives_a_tensor_of_its_dtype(dtype: torch.dtype) -> None:
    tensor = torch.from_numpy(PIXELS).to(dtype)
    result = denoise(tensor.requires_grad_(dtype.is_floating_point).t().contiguous().t())
    assert (result.dtype, result.requires_grad, result.device.type) == (dtype, False, "cpu")
    numbers = np.float32 if dtype == torch.bfloat16 else tensor.detach().numpy().dtype
    expected = denoise(PIXELS.astype(numbers))
    torch.testing.assert_close(result, torch.from_numpy(expected).to(dtype), rtol=0, atol=0)
    wide = md.denoise(tensor, model=MODEL, axes="YX", noise="none", tile=32, dtype="float32")
    assert wide.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:the image contains NaN")
@pytest.mark.parametrize("dtype", ["u1", "i2", ">i4", "i8", "f2", "f4", "f8"])
def test_masked_pixels_are_missing_and_kept(dtype: str) -> None:
    mask = np.zeros(PIXELS.shape, bool)
    mask[4:10, 5:25] = True
    results = []
    for hidden in (0, 60, 127):
        pixels = np.where(mask, hidden, PIXELS).astype(dtype)
        given = np.ma.MaskedArray(pixels.copy(), mask=mask)
        result = denoise(given)
        assert isinstance(result, np.ma.MaskedArray)
        np.testing.assert_array_equal(result.mask, mask)
        assert (result.data[mask] == hidden).all()
        np.testing.assert_array_equal(given.data, pixels)  # the image is unchanged
        results.append(result.data[~mask])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    without = np.ma.MaskedArray(PIXELS)
    np.testing.assert_array_equal(denoise(without).data, EXPECTED)


@given(st.lists(st.integers(-128, 127), min_size=6, max_size=300), st.integers(-128, 127))
def test_masked_integers_are_marked_by_an_unused_value(values: list[int], preferred: int) -> None:
    array = np.ma.MaskedArray(np.resize(np.array(values, "i1"), (2, len(values))), mask=False, fill_value=preferred)
    array[0, 0] = np.ma.masked
    if len(set(np.asarray(array[~array.mask]).tolist())) == 256:
        with pytest.raises(ImageError, match="all values of int8 occur, so that none can mark masked pixels"):
            open_image(array, axes="YX")
        return
    source = open_image(array, axes="YX")
    (value,) = source.fill_values
    np.testing.assert_array_equal(np.asarray(source.data) == value, array.mask)


def labelled(dtype: Any = "u2", **coords: Any) -> xr.DataArray:
    shape = (2, 3, 20, 30)
    pixels = np.random.default_rng(1).integers(0, 250, shape).astype(dtype)
    return xr.DataArray(pixels, coords, ("time", "channel", "y", "x"), "cells", {"stain": "DAPI"})


def test_data_array_keeps_its_labels() -> None:
    given = labelled(
        time=np.array(["2020-01-01T00:00:00", "2020-01-01T00:00:30"], "datetime64[ns]"),
        channel=["a", "b", "c"],
        y=("y", 10 + 0.5 * np.arange(20), {"units": "um"}),
        x=("x", -0.25 * np.arange(30, dtype="f4"), {"units": "mm"}),
    )
    source = open_image(given)
    assert (source.axes, source.name, source.channel_names) == ("TCYX", "cells", ("a", "b", "c"))
    assert source.pixel_size == {"T": 30.0, "Y": 0.5, "X": 0.25}
    assert source.units == {"T": "second", "Y": "micrometer", "X": "millimeter"}
    assert source.origin == {"Y": 10.0}
    assert source.notes == ("the coordinates of X of cells decrease: its origin is unknown",)
    with pytest.warns(UserWarning, match="coordinates of X"):
        result = denoise(given, axes=None)
    xr.testing.assert_identical(result, given.copy(data=denoise(given.values, "TCYX")))
    chunked = denoise(given.chunk({"y": 7}).drop_vars("x"), axes=None)
    np.testing.assert_array_equal(chunked.values, result.values)


@pytest.mark.parametrize(
    ("values", "attributes", "expected", "note"),
    [
        ([0, 1, 2, 3], {}, ({}, {"Y": 0.0}, {}), ""),
        ([5, 6, 7], {}, ({}, {"Y": 5.0}, {}), ""),
        ([0, 1, 2], {"units": "um"}, ({"Y": 1.0}, {"Y": 0.0}, {"Y": "micrometer"}), ""),
        ([0.0, 0.1001, 0.2, 0.2999], {"unit": "nm"}, ({"Y": 0.29990 / 3}, {"Y": 0.0}, {"Y": "nanometer"}), ""),
        ([0, 30, 60], {"units": "seconds since 2020-01-01"}, ({"Y": 30.0}, {}, {"Y": "second"}), ""),
        ([0.0, 1.0, 3.0], {}, ({}, {}, {}), "irregular"),
        ([0.0, np.nan, 2.0], {}, ({}, {}, {}), "irregular"),
        ([1.0, 1.0, 1.0], {}, ({}, {}, {}), "irregular"),
        (["a", "b"], {}, ({}, {}, {}), "irregular"),
        ([4.0], {}, ({}, {}, {}), ""),
    ],
)
def test_regular_coordinates_give_pixel_size_and_origin(values: Any, attributes: Any, expected: Any, note: str) -> None:
    found = calibrate([Coordinate("Y", np.array(values), attributes)], "a")
    assert (pytest.approx(found.pixel_size), found.origin, found.units) == expected
    assert [note in text for text in found.notes] == [True] * bool(note)


def test_file_of_xarray_is_read_lazily_and_declared_fill_values_are_missing() -> None:
    given = labelled("i2").assign_attrs(_FillValue=-9999)
    assert open_image(given).fill_values == (-9999.0,)
    variable = open_image(given.variable)
    assert (variable.axes, variable.shape) == ("TCYX", given.shape)


UNKNOWN_CHUNKS = da.from_array(PIXELS, chunks=10)[da.from_array(PIXELS, chunks=10).sum(1) > 0]
REFUSED = {
    "unknown chunks": (UNKNOWN_CHUNKS, "has unknown sides; call array.compute_chunk_sizes() before"),
    "masked chunks": (da.ma.masked_less(da.from_array(PIXELS), 9), "its chunks have masks; give array.compute()"),
    "sparse chunks": (da.from_array(PIXELS).map_blocks(scipy.sparse.csr_matrix), "its chunks are of type csr_matrix"),
    "sparse": (scipy.sparse.csr_matrix(PIXELS), "csr_matrix is a sparse array; give a NumPy array: array.todense()"),
    "sparse tensor": (torch.eye(9).to_sparse(), "tensor: is torch.sparse_coo; give a dense tensor"),
    "meta tensor": (torch.zeros(9, 9, device="meta"), "tensor: is without data; give a dense tensor"),
    "float8": (torch.zeros(9, 9).to(torch.float8_e4m3fn), "cannot be converted to a NumPy array"),
    "vector": (torch.ones(9), "tensor: shape (9,) is not an image"),
    "ragged": ([[1, 2], [3]], "list cannot be converted to a NumPy array"),
    "paths": (["a.tif", "b.tif"], "list of str160 is not an image; give numbers, or one path"),
    "masks in a list": ([np.ma.masked_less(PIXELS, 9)] * 2, "list: its arrays have masks; give numpy.ma.stack(list)"),
    "objects": (np.array([[{}, {}], [{}, {}]]), "array: pixels of type object cannot be denoised"),
    "scalar": (np.float32(3), "array: shape () is not an image"),
    "number": (3, "int is not an image; give a path, or an array such as NumPy's"),
    "none": (None, "NoneType is not an image"),
    "class": (np.ndarray, "type is not an image"),
    "no dimensions": (np.array(3), "array: shape () is not an image"),
    "one dimension": (xr.DataArray([1, 2, 3], dims="x"), "array: shape (3,) is not an image"),
    "empty list": ([], "array: the image is empty"),
    "dataset": (xr.Dataset({"a": labelled(), "b": labelled()}), "give one of its variables: a, b"),
    "gpu": (OnGpu(), "OnGpu cannot be converted to a NumPy array (it is on a GPU)"),
    "palette": (
        Image.fromarray(PIXELS).convert("P"),
        "image: its mode P is not read; convert it: image.convert('RGB')",
    ),
}


@pytest.mark.parametrize(("array", "words"), REFUSED.values(), ids=REFUSED)
def test_other_objects_are_refused_in_a_line(array: Any, words: str) -> None:
    with pytest.raises(ImageError) as caught:
        open_image(array)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
