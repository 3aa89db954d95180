"""Zarr groups of xarray: the data variable is opened, and its coordinates give its pixel size and origin."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image

PIXELS = np.random.default_rng(0).integers(1, 999, (2, 3, 40, 50), dtype=np.uint16)
COORDINATES: dict[str, Any] = {
    "time": [0.0, 0.5],
    "channel": ["DAPI", "GFP", "RFP"],
    "y": ("y", 100 + 0.25 * np.arange(40), {"units": "um"}),
    "x": ("x", 0.25 * np.arange(50), {"units": "um"}),
    "exposure": ("channel", [1.0, 2.0, 3.0]),
    "height": (("y", "x"), np.zeros((40, 50))),
}


def write(path: Path, zarr_format: int, **more: Any) -> Path:
    image = xr.DataArray(PIXELS, COORDINATES, ("time", "channel", "y", "x"))
    xr.Dataset({"cells": image, **more}).to_zarr(path, zarr_format=zarr_format, consolidated=False)
    return path


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_image_of_xarray_has_its_calibration(tmp_path: Path, zarr_format: int) -> None:
    with open_image(write(tmp_path / "a.zarr", zarr_format)) as source:
        np.testing.assert_array_equal(np.asarray(source.data), PIXELS)
        assert source.axes == "TCYX"
        assert source.pixel_size == {"T": 0.5, "Y": 0.25, "X": 0.25}
        assert source.units == {"Y": "micrometer", "X": "micrometer"}
        assert source.origin == {"Y": 100.0}
        assert source.channel_names == ("DAPI", "GFP", "RFP")
        assert source.notes == ("a.zarr is a group; 'cells' in it was opened",)


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_several_images_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", 2, background=(("y", "x"), np.ones((40, 50))))
    with pytest.raises(ImageError, match="holds background, cells; name one of its images"):
        open_image(path)
    assert open_image(path / "background").axes == "YX"


def test_irregular_and_unreadable_coordinates_are_noted(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    arrays = {
        "cells": (PIXELS[0], ["z", "y", "x"]),
        "y": (np.geomspace(1, 2, 40), ["y"]),
        "x": (np.ones(50, bool), ["x"]),
    }
    for name, (values, dimensions) in arrays.items():
        group.create_array(name, data=values, attributes={"_ARRAY_DIMENSIONS": dimensions})
    source = open_image(tmp_path / "a.zarr")
    assert (source.axes, source.pixel_size) == ("ZYX", {})
    assert [re.sub(r" of type bool.*", "", note) for note in source.notes] == [
        "a.zarr is a group; 'cells' in it was opened",
        "a coordinate was ignored: a.zarr: the positions along X are",
        "the coordinates of Y of a.zarr are irregular: its pixel size is unknown",
    ]
    (tmp_path / "a.zarr" / "y" / "0").write_bytes(b"damaged")
    assert "positions along Y are damaged" in open_image(tmp_path / "a.zarr").notes[1]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_label_images_are_noted(tmp_path: Path, version: str) -> None:
    scale = [{"type": "scale", "scale": [1, 1]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    image = {"axes": [{"name": "y"}, {"name": "x"}], "datasets": levels, "version": version}
    attributes: dict[str, Any] = {"multiscales": [image], "image-label": {"version": version}}
    zarr_format = 2 if version == "0.4" else 3
    attributes = attributes if zarr_format == 2 else {"ome": {"version": version, **attributes}}
    group = zarr.create_group(tmp_path / "cells", zarr_format=zarr_format, attributes=attributes)
    group.create_array("0", data=PIXELS[0, 0])
    words = "cells is a label image: its values are object numbers, which denoising would corrupt"
    assert open_image(tmp_path / "cells").notes == (words,)
