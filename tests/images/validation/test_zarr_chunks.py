"""Chunks that are missing, or not where the metadata say: never an image of zeros without a word."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image

PIXELS = np.random.default_rng(0).integers(1, 1000, (256, 256)).astype("uint16")


def edit_json(path: Path, change) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(("real", "claimed"), [("/", None), (".", "/")])
def test_wrong_separator_of_format_2_is_refused(tmp_path: Path, real: str, claimed: str | None) -> None:
    path = tmp_path / "a.zarr"
    encoding = {"name": "v2", "separator": real}
    zarr.create_array(path, data=PIXELS, chunks=(64, 64), zarr_format=2, chunk_key_encoding=encoding)
    edit_json(path / ".zarray", lambda values: values.update(dimension_separator=claimed or "."))
    with pytest.raises(ImageError, match=r"its chunks have names such as .* where its metadata expect"):
        open_image(path)


@pytest.mark.parametrize("claimed", [{"name": "default", "configuration": {"separator": "."}}, {"name": "v2"}])
def test_wrong_key_encoding_of_format_3_is_refused(tmp_path: Path, claimed: dict) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=PIXELS, chunks=(64, 64))
    edit_json(path / "zarr.json", lambda values: values.update(chunk_key_encoding=claimed))
    with pytest.raises(ImageError, match="correct the chunk separator"):
        open_image(path)


def test_wrong_separator_of_one_level_is_refused(tmp_path: Path) -> None:
    group = zarr.create_group(
        tmp_path / "a.zarr",
        attributes={
            "ome": {
                "version": "0.5",
                "multiscales": [
                    {
                        "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
                        "datasets": [{"path": "0"}, {"path": "1"}],
                    }
                ],
            }
        },
    )
    for level in (0, 1):
        group.create_array(str(level), data=PIXELS[:: level + 1, :: level + 1], chunks=(64, 64))
    assert open_image(tmp_path / "a.zarr").notes == ()
    (tmp_path / "a.zarr" / "1" / "c").rename(tmp_path / "a.zarr" / "1" / "d")
    shutil.move(tmp_path / "a.zarr" / "1" / "d" / "0", tmp_path / "a.zarr" / "1" / "0")
    with pytest.raises(ImageError, match="its chunks have names"):
        open_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("shards", [None, (128, 128)])
def test_missing_chunks_are_said(tmp_path: Path, shards: tuple[int, int] | None) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=PIXELS, chunks=(64, 64), shards=shards)
    assert open_image(path).notes == ()
    chunks = sorted(p for p in (path / "c").rglob("*") if p.is_file())
    for chunk in chunks[: len(chunks) // 4]:
        chunk.unlink()
    assert open_image(path).notes == ("25% of the chunks of a.zarr are not stored; their pixels are 0",)
    for chunk in chunks[len(chunks) // 4 :]:
        chunk.unlink()
    with pytest.raises(ImageError, match="none of its chunks are stored, so that all its pixels are 0"):
        open_image(path)


def test_few_chunks_of_a_large_array_are_not_misplaced(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(100_000, 100_000), chunks=(256, 256), dtype="uint8")
    array[:256, :256] = 7
    (tmp_path / "a.zarr" / ".DS_Store").write_text("")
    assert open_image(tmp_path / "a.zarr").notes[0].startswith("100%")


@pytest.mark.parametrize("misplaced", [True, False])
def test_chunks_of_an_archive_are_looked_for(tmp_path: Path, misplaced: bool) -> None:
    """A store that is no folder: a zip archive."""
    with zarr.storage.ZipStore(tmp_path / "a.zip", mode="w") as store:
        zarr.create_array(store, data=PIXELS, chunks=(64, 64))
    if misplaced:
        with zipfile.ZipFile(tmp_path / "a.zip") as old, zipfile.ZipFile(tmp_path / "b.zip", "w") as new:
            for name in old.namelist():
                new.writestr(name.replace("c/", "d/"), old.read(name))
    with zarr.storage.ZipStore(tmp_path / ("b.zip" if misplaced else "a.zip"), mode="r") as store:
        array = zarr.open_array(store, mode="r")
        if misplaced:
            with pytest.raises(ImageError, match="none of its chunks are stored"):
                open_image(array)
        else:
            assert not any("stored" in note for note in open_image(array).notes)
