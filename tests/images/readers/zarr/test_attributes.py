"""Attributes of zarr arrays: fill values and packing as xarray writes them, and channels that are colours or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import xarray
import zarr

from masked_denoiser.images.open import open_image

pytestmark = pytest.mark.filterwarnings("ignore")  # of zarr about format 3


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("encoding", "fill", "calibration"),
    [
        ({"_FillValue": np.float32(-9999)}, -9999.0, []),
        ({"_FillValue": -32768, "scale_factor": 0.01, "add_offset": 100.0, "dtype": "int16"}, -32768.0, [100.0, 0.01]),
        ({}, None, []),
    ],
    ids=["floats", "packed", "NaN"],
)
def test_what_xarray_encodes(
    encoding: dict[str, Any], fill: float | None, calibration: list[float], zarr_format: Literal[2, 3], tmp_path: Path
) -> None:
    values = np.random.default_rng(0).normal(100, 5, (64, 80)).astype(np.float32)
    values[:10] = np.nan
    image = xarray.DataArray(values, dims=("y", "x"), name="image").to_dataset()
    image.to_zarr(tmp_path / "a.zarr", zarr_format=zarr_format, encoding={"image": encoding}, consolidated=False)
    with open_image(tmp_path / "a.zarr") as source:
        assert source.fill_values == (() if fill is None else (fill,))
        assert source.value_calibration.get("coefficients", []) == calibration
        assert any("calibration value = 100 + 0.01 x pixel is not applied" in n for n in source.notes) == bool(
            calibration
        )
        missing = np.isnan(source.data[:10]) if fill is None else source.data[:10] == fill
        assert missing.all()


def test_missing_value_next_to_an_encoded_nan(tmp_path: Path) -> None:
    """xarray writes this pair for floats in format 3."""
    array = zarr.create_array(tmp_path / "a.zarr", data=np.ones((64, 64), np.float32))
    array.attrs.update({"missing_value": -9999.0, "_FillValue": "AAAAAAAA+H8="})
    with open_image(tmp_path / "a.zarr") as source:
        assert source.fill_values == (-9999.0,)


def test_value_of_unwritten_chunks_is_no_fill_value(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(64, 64), chunks=(32, 32), dtype="u2", zarr_format=2, fill_value=0
    )
    array[:] = 1
    array.attrs["_ARRAY_DIMENSIONS"] = ["y", "x"]
    with open_image(tmp_path / "a.zarr") as source:
        assert source.fill_values == ()


@pytest.mark.parametrize(
    ("labels", "rgb"),
    [
        (["", "", ""], True),
        (["Channel 0", "Channel 1", "Channel 2"], True),
        (["Red", "Green", "Blue"], True),
        (["Cy5", "GFP", "DAPI"], False),
        (["640", "488", "DAPI"], False),
    ],
)
def test_three_channels_in_red_green_and_blue(labels: list[str], rgb: bool, tmp_path: Path) -> None:
    """Those named after dyes are channels; others are taken as a colour image, with a note."""
    colours = ("FF0000", "00FF00", "0000FF")
    channels = [{"color": c, **({"label": n} if n else {})} for c, n in zip(colours, labels, strict=True)]
    axes = [{"name": name} for name in "cyx"]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}], "omero": {"channels": channels}}
    group = zarr.create_group(tmp_path / "a.zarr", attributes={"ome": ome})
    group.create_array("0", data=np.ones((3, 64, 64), np.uint8))
    with open_image(tmp_path / "a.zarr") as source:
        assert source.rgb == rgb
        assert any("--channels each" in note for note in source.notes) == rgb
