"""Size and place of the pixels of pyramid levels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.images.metadata.level_geometry import level_ratio, level_ratios
from masked_denoiser.images.open import open_image
from tests.images.writers.copies import copy_image

AFFINE = ((-0.5, 0.0, 0.0, 100.0), (0.0, -0.5, 0.1, 50.0), (0.0, 0.1, 2.0, -30.0), (0.0, 0.0, 0.0, 1.0))


@given(st.integers(2, 200_000), st.lists(st.booleans(), max_size=16))
def test_halved_sides_have_powers_of_two(side: int, ups: list[bool]) -> None:
    """Also the short side of a long image, of which only a few pixels are left."""
    shapes = [(side,)]
    for up in ups:
        if shapes[-1][0] > 3:
            shapes.append((-(-shapes[-1][0] // 2) if up else shapes[-1][0] // 2,))
    assert level_ratios("X", shapes) == [{"X": 2.0**number} for number in range(len(shapes))]


@given(st.integers(1000, 200_000), st.sampled_from([4, 16]))
def test_levels_of_slides_have_whole_ratios(side: int, factor: int) -> None:
    assert level_ratios("X", [(side,), (side // factor,)])[1] == {"X": factor}


def test_other_sides_have_their_own_ratio() -> None:
    assert level_ratio(1000, 300) == pytest.approx(10 / 3)
    assert level_ratio(100, 200) == 0.5


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.ome.tif"])
@pytest.mark.parametrize("level", [1, 2])
def test_levels_of_odd_sides(name: str, level: int, tmp_path: Path) -> None:
    source = replace(open_image(np.zeros((513, 1025), np.uint8)), pixel_size={"Y": 1.0, "X": 2.0}, units={"X": "meter"})
    copy_image(source, tmp_path / name)
    factor = 2**level
    with open_image(tmp_path / name, level=level) as found:
        assert found.pixel_size == {"Y": factor, "X": 2 * factor}
        assert found.origin == {"Y": (factor - 1) / 2, "X": factor - 1}


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.ome.tif"])
def test_affine_of_a_level(name: str, tmp_path: Path) -> None:
    """The corners of the image stay where they are in the patient, also in a NIfTI of the level."""
    pixels = np.random.default_rng(0).integers(0, 99, (3, 520, 600)).astype(np.int16)
    sizes = {"Z": 2.0, "Y": 0.5, "X": 0.5}
    source = replace(open_image(pixels, axes="ZYX"), affine=AFFINE, pixel_size=sizes)
    copy_image(source, tmp_path / name)
    with open_image(tmp_path / name, level=1) as half:
        copy_image(half, tmp_path / "half.nii")
    volume = nib.load(tmp_path / "half.nii")
    for at in ((0, 0, 0), (300, 0, 0), (300, 260, 3), (0, 260, 1)):
        corner = np.array([*at, 1.0]) - [0.5, 0.5, 0.5, 0]
        finer = np.array([2 * at[0], 2 * at[1], at[2], 1.0]) - [0.5, 0.5, 0.5, 0]
        assert np.allclose(volume.affine @ corner, np.array(AFFINE) @ finer, atol=1e-4)
    assert np.allclose(volume.header.get_zooms(), np.linalg.norm(volume.affine[:3, :3], axis=0))
