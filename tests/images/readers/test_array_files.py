"""Files behind arrays: an output must never replace what a lazy input is still read from."""

import dask.array as da
import h5py
import numpy as np
import pytest
import tifffile
import zarr

from masked_denoiser import open_image
from masked_denoiser.errors import ImageError
from masked_denoiser.images.writers.output_path import check_output

PIXELS = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


def _memory_map(folder):
    PIXELS.tofile(folder / "in.ome.tif")
    return np.memmap(folder / "in.ome.tif", np.uint16, "r", shape=(64, 64))


def _data_set(folder):
    with h5py.File(folder / "in.ome.tif", "w") as file:
        file["pixels"] = PIXELS
    return h5py.File(folder / "in.ome.tif")["pixels"]


def _zarr_array(folder):
    zarr.create_group(folder / "in.ome.zarr").create_array("0", data=PIXELS, chunks=(32, 32))
    return zarr.open(folder / "in.ome.zarr", mode="r")["0"]


def _opened_by_dask(folder):
    _zarr_array(folder)
    return da.from_zarr(str(folder / "in.ome.zarr"), component="0")


def _store_of_tifffile(folder):
    tifffile.imwrite(folder / "in.ome.tif", PIXELS, tile=(32, 32))
    return zarr.open(tifffile.imread(folder / "in.ome.tif", aszarr=True), mode="r")


def _itself(array):
    return array


def _computed_by_dask(array):
    return da.asarray(array)[8:].astype(np.float32) + 1


@pytest.mark.parametrize(
    ("how", "view"),
    [(_memory_map, _itself)]  # dask copies a memory map
    + [(how, view) for how in (_data_set, _zarr_array, _store_of_tifffile) for view in (_itself, _computed_by_dask)]
    + [(_opened_by_dask, _computed_by_dask)],
)
def test_files_behind_an_array_are_inputs(how, view, tmp_path):
    array = view(how(tmp_path))
    output = next(tmp_path.iterdir())
    with open_image(array, axes="YX") as source:
        with pytest.raises(ImageError, match="input"):
            check_output(output, source)
        check_output(tmp_path / "out.ome.tif", source)
