"""Names of images in lists: files and folders whose own names have wildcard characters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from masked_denoiser.errors import ImageError, ListError
from masked_denoiser.images.discovery import find_images
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.batch.outputs import is_batch, plan_outputs

PLANE = np.zeros((40, 40), np.uint8)


def test_image_in_a_file_with_wildcard_characters_is_that_image(tmp_path: Path) -> None:
    np.savez(tmp_path / "x[1].npz", a=PLANE, b=PLANE)
    np.savez(tmp_path / "x1.npz", a=PLANE)  # what the name matches as a pattern
    images = find_images([str(tmp_path / "x[1].npz")])
    assert images == [f"{tmp_path / 'x[1].npz'}::{part}" for part in "ab"]
    assert not is_batch(images[:1], "out.ome.zarr")
    pairs = plan_outputs(images, tmp_path / "out")  # a list is expanded once more when it is planned
    assert [pair.input for pair in pairs] == images
    assert [pair.output.name for pair in pairs] == ["x[1]_a.ome.zarr", "x[1]_b.ome.zarr"]
    with pytest.raises(ImageError, match="nothing matches"):
        find_images([f"{tmp_path}/y[1].npz::a"])


@pytest.mark.parametrize("deep", ["", "/**"])
def test_pattern_in_a_folder_with_wildcard_characters(tmp_path: Path, deep: str) -> None:
    for folder in ("d [2]", "d 2"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "q.tif", PLANE)
    assert find_images([f"{tmp_path}/d [2]{deep}/*.tif"]) == [str(tmp_path / "d [2]" / "q.tif")]


def test_output_inside_an_input_with_parts_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=PLANE, b=PLANE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x_a.ome.tif").hardlink_to(tmp_path / "x.npz")
    with pytest.raises(ListError, match="is, holds or lies in the input"):
        plan_outputs([str(tmp_path / "x.npz")], tmp_path / "out", ".ome.tif")


@pytest.mark.parametrize("suffix", ["ome.tif", "OME.TIF"])
def test_positions_of_a_stage_in_one_file_are_images(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with tifffile.TiffWriter(path, ome=True) as file:
        for number in range(3):
            file.write(PLANE + np.uint8(number), metadata={"axes": "YX", "Name": f"pos{number}"})
        file.write(PLANE[:8, :8], metadata={"axes": "YX", "Name": "thumbnail"})
    images = find_images([str(path)])
    assert images == [f"{path}::pos{number}" for number in range(3)]
    for number, image in enumerate(images):
        with open_image(image) as source:
            assert int(source.data[0, 0]) == number
    with open_image(f"{path}::thumbnail") as source:
        assert source.shape == (8, 8)
    with open_image(path) as source:
        assert f"'a.{suffix}::pos1' is the next one" in source.notes[0]
    with pytest.raises(ImageError, match="no image 'pos7' \\(pos0, pos1"):
        open_image(f"{path}::pos7")
