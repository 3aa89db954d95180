"""Zarr in zip archives: where it lies in the archive, and entries that would take too much memory."""

from __future__ import annotations

import shutil
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import zarr

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image

PIXELS = np.random.default_rng(0).integers(0, 200, (40, 50)).astype(np.uint8)


def _zip(folder: Path, path: Path) -> Path:
    return Path(shutil.make_archive(str(path.with_suffix("")), "zip", folder))


@pytest.mark.parametrize("top", ["", "a.zarr"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_is_read_at_the_top_or_in_one_folder(tmp_path, top, zarr_format):
    zarr.create_array(tmp_path / "in" / top, data=PIXELS, chunks=(16, 16), zarr_format=zarr_format)
    path = _zip(tmp_path / "in", tmp_path / "a.zarr.zip")
    with open_image(path) as source:
        np.testing.assert_array_equal(source.data[:], PIXELS)
        assert source.level_paths == ()


def test_ozx_is_read(tmp_path):
    zarr.create_array(tmp_path / "in", data=PIXELS, chunks=(16, 16))
    path = _zip(tmp_path / "in", tmp_path / "a.zip").rename(tmp_path / "a.ozx")
    with open_image(path) as source:
        np.testing.assert_array_equal(source.data[3:9], PIXELS[3:9])


def test_several_zarrs_are_refused(tmp_path):
    for name in ("a", "b"):
        zarr.create_array(tmp_path / "in" / name, data=PIXELS)
    with pytest.raises(ImageError, match="holds 2 of them: a, b"):
        open_image(_zip(tmp_path / "in", tmp_path / "a.zarr.zip"))


def test_other_archives_are_refused(tmp_path):
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("letter.txt", "hello")
    with pytest.raises(ImageError, match="does not hold one at its top"):
        open_image(tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["zarr.json", "c/0/0"])
def test_entries_that_expand_are_refused(tmp_path, monkeypatch, name):
    zarr.create_array(tmp_path / "in", data=PIXELS, chunks=(40, 50))
    (tmp_path / "in" / name).unlink()
    path = _zip(tmp_path / "in", tmp_path / "a.zarr.zip")
    with ZipFile(path, "a", ZIP_DEFLATED) as archive:
        archive.writestr(name, b" " * 300 * 2**20)
    monkeypatch.setenv("MASKED_DENOISER_CHUNK_GIB", "0.1")
    with pytest.raises(ImageError, match="are allowed"):
        open_image(path)


def test_archive_without_pixels_is_refused(tmp_path):
    zarr.create_array(tmp_path / "in", shape=(40, 50), chunks=(16, 16), dtype="u1")
    with pytest.raises(ImageError, match="none of its chunks are stored"):
        open_image(_zip(tmp_path / "in", tmp_path / "a.zarr.zip"))
