"""The place of the first pixel, which every format keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source
from tests.images.writers.copies import copy_image

_METERS = {"micrometer": 1e-6, "angstrom": 1e-10, "millimeter": 1e-3}
ORIGIN = {"Z": -4.5, "Y": 123.25, "X": 1e-3}


def located(side: int = 40) -> Source:
    """Return a stack that does not begin at 0."""
    pixels = np.random.default_rng(1).integers(0, 99, (3, side, side)).astype(np.int16)
    sizes = {"Z": 1.5, "Y": 0.5, "X": 0.25}
    source = replace(open_image(pixels, axes="ZYX"), pixel_size=sizes, units=dict.fromkeys(sizes, "micrometer"))
    return replace(source, origin=ORIGIN)


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.ome.tif", "out.nii", "out.mrc"])
def test_origin_is_kept(name: str, tmp_path: Path) -> None:
    copy_image(located(), tmp_path / name)
    with open_image(tmp_path / name) as result:
        scale = {axis: _METERS[result.units[axis]] / 1e-6 for axis in "ZYX"}
        found = {axis: at * scale[axis] for axis, at in result.origin.items()}
    assert found == pytest.approx(ORIGIN, rel=1e-6)


def test_origin_in_ome_xml_is_that_of_each_plane_and_level(tmp_path: Path) -> None:
    copy_image(located(300), tmp_path / "out.ome.tif", attributes={})
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tif:
        planes = list(ElementTree.fromstring(tif.ome_metadata or "").iterfind(".//{*}Plane"))
    assert [float(plane.get("PositionZ", "nan")) for plane in planes] == [-4.5, -3.0, -1.5]
    assert {(p.get("PositionX"), p.get("PositionY"), p.get("PositionZUnit")) for p in planes} == {
        ("0.001", "123.25", "µm")
    }
    with open_image(tmp_path / "out.ome.tif", level=1) as half:
        assert half.pixel_size["Y"] == 1.0
        assert half.origin == pytest.approx({"Z": -4.5, "Y": 123.25 + 0.25, "X": 1e-3 + 0.125})
