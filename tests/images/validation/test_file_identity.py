"""The input under another path: it is recognised by device and inode, and never written to."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from masked_denoiser.cli.main import main
from masked_denoiser.errors import ImageError, ListError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.validation.file_identity import find_overlap
from masked_denoiser.images.writers.output_path import check_output
from masked_denoiser.jobs.batch.outputs import plan_outputs


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with a TIFF and a zarr."""
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40)).astype("uint8")
    tifffile.imwrite(folder / "in.tif", pixels)
    zarr.create_group(folder / "in.zarr").create_array("0", data=pixels, chunks=(20, 20))
    return folder


@pytest.fixture
def mounted(images: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a second path of the folder: a bind mount, where that is allowed."""
    other = tmp_path / "mounted"
    other.mkdir()
    if subprocess.run(["mount", "--bind", images, other], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted")
    yield other
    subprocess.run(["umount", other], check=True)


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("given", "output"), [("in.tif", "in.tif"), ("in.zarr", "in.zarr"), ("in.zarr", "in.zarr/0/out.zarr")]
)
def test_bind_mounted_input_survives(
    images: Path, mounted: Path, given: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(images)
    assert main(["denoise", str(images / given), str(mounted / output), "--overwrite", "--noise", "none"]) == 1
    assert "is, holds or lies in the input" in capsys.readouterr().err
    assert content(images) == before


def test_folder_is_not_written_into_itself(images: Path, mounted: Path) -> None:
    with pytest.raises(ListError, match="is both input and output"):
        plan_outputs([str(images)], mounted)


def test_list_recognises_mounted_inputs(images: Path, mounted: Path) -> None:
    with pytest.raises(ListError, match=r"is, holds or lies in the input .*in\.tif"):
        plan_outputs([str(images / "in.tif")], mounted, ".tif")


def test_hard_link_is_the_same_file(images: Path) -> None:
    os.link(images / "in.tif", images / "other.tif")
    with open_image(images / "in.tif") as source, pytest.raises(ImageError, match="lies in the input"):
        check_output(images / "other.tif", source)


def test_working_folder_of_the_output_may_not_be_the_input(images: Path) -> None:
    (images / "in.zarr").rename(images / "out.tif.partial")
    with open_image(images / "out.tif.partial") as source, pytest.raises(ImageError, match="lies in the input"):
        check_output(images / "out.tif", source)


@pytest.mark.parametrize("linked", ["input", "output"])
def test_level_behind_a_link_belongs_to_the_image(images: Path, tmp_path: Path, linked: str) -> None:
    """A zarr whose level lies elsewhere, in a folder that the other image is in, or that it contains."""
    level = (images / "in.zarr" / "0").rename(tmp_path / "level")
    (images / "in.zarr" / "0").symlink_to(level)
    paths = (level / "out.zarr", images / "in.zarr")
    assert find_overlap(*(paths[0], [paths[1]]) if linked == "input" else (paths[1], [level]))
    assert find_overlap(tmp_path / "elsewhere.zarr", [images / "in.zarr"]) is None
