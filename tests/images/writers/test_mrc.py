"""MRC files, read by mrcfile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.provenance import read_attributes
from tests.images.writers.copies import ATTRIBUTES, copy_image

RNG = np.random.default_rng(6)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float32"])
@pytest.mark.parametrize(("axes", "shape"), [("YX", (20, 24)), ("ZYX", (3, 20, 24)), ("TZYX", (2, 3, 20, 24))])
def test_mrc_keeps_pixels_and_voxel_size(dtype: str, axes: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    pixels = RNG.integers(0, 120, shape).astype(dtype)
    source = open_image(pixels, axes=axes)
    sizes = {a: 0.5 for a in "ZYX" if a in axes}
    source = replace(source, pixel_size=sizes, units=dict.fromkeys(sizes, "nanometer"))
    copy_image(source, tmp_path / "out.mrc")
    with mrcfile.open(tmp_path / "out.mrc") as file:
        assert np.array_equal(file.data, pixels)
        assert file.data.dtype == dtype
        assert file.voxel_size.x == 5
    assert mrcfile.validate(tmp_path / "out.mrc")
    assert read_attributes(tmp_path / "out.mrc") == {"job": ATTRIBUTES["job"], "complete": True}
