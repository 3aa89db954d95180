"""HDF5 files written with h5py: axes of ilastik, links and pixels in other files, compressions, Imaris."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.readers.registry import find_reader

from ..samples.imaris import write_imaris

PIXELS = np.random.default_rng(0).integers(0, 200, (3, 30, 40)).astype(np.uint8)


def _parts(path: Path) -> list[str]:
    reader = find_reader(path)
    assert reader is not None
    return reader.list_parts(path)


def test_only_numbers_in_two_or_more_dimensions_are_listed(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["deep/down/image"] = PIXELS
        file["image"] = PIXELS[0]
        file["curve"] = np.arange(4)
        file["number"] = 3
        file["names"] = [["a", "b"]]
        file["complex"] = PIXELS.astype(complex)
        file["empty"] = h5py.Empty("f4")
        file["circle/back"] = h5py.SoftLink("/")
        file["lost"] = h5py.SoftLink("/nowhere")
        file["second name"] = h5py.SoftLink("/image")
    assert _parts(path) == ["/deep/down/image", "/image"]
    for name, pixels in (("deep/down/image", PIXELS), ("/image", PIXELS[0]), ("/second name", PIXELS[0])):
        with open_image(f"{path}::{name}") as source:
            np.testing.assert_array_equal(source.data[:], pixels)


def test_axes_of_ilastik_are_read(tmp_path):
    tags = {"axes": [{"key": key, "typeFlags": 2, "resolution": 0, "description": ""} for key in "tyx"]}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("exported_data", data=PIXELS).attrs["axistags"] = json.dumps(tags)
    with open_image(tmp_path / "a.h5") as source:
        assert source.axes == "TYX"


def test_broken_axes_are_guessed_with_a_note(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=PIXELS).attrs["axistags"] = "{"
    with open_image(tmp_path / "a.h5") as source:
        assert "guessed" in source.notes[0]


def test_link_into_the_folder_is_followed_and_any_other_is_not(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        with h5py.File(folder / "data.h5", "w") as file:
            file["pixels"] = PIXELS
    with h5py.File(inside / "main.h5", "w") as file:
        file["near"] = h5py.ExternalLink("data.h5", "/pixels")
        file["far"] = h5py.ExternalLink("../out/data.h5", "/pixels")
        file["absolute"] = h5py.ExternalLink(str(outside / "data.h5"), "/pixels")
    assert _parts(inside / "main.h5") == ["/near"]
    with open_image(inside / "main.h5") as source:
        np.testing.assert_array_equal(source.data[:], PIXELS)


def test_name_in_the_current_folder_is_not_taken_for_one_in_that_of_the_file(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["pixels"] = PIXELS
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in" / "main.h5", "w") as file:
        file["far"] = h5py.ExternalLink("data.h5", "/pixels")
    monkeypatch.chdir(tmp_path)
    assert _parts(tmp_path / "in" / "main.h5") == []


def _virtual(folder: Path, target: str) -> None:
    layout = h5py.VirtualLayout(shape=PIXELS.shape, dtype="u1")
    layout[:] = h5py.VirtualSource(target, "pixels", shape=PIXELS.shape)
    with h5py.File(folder / "main.h5", "w") as file:
        file.create_virtual_dataset("a", layout)


def _external(folder: Path, target: str) -> None:
    with h5py.File(folder / "main.h5", "w") as file:
        file.create_dataset("a", shape=PIXELS.shape, dtype="u1", external=[(target, 0, PIXELS.nbytes)])


@pytest.mark.parametrize("write", [_virtual, _external])
def test_pixels_in_another_folder_are_refused(tmp_path, write):
    (tmp_path / "secret.h5").write_bytes(PIXELS.tobytes())
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", "../secret.h5")
    with pytest.raises(ImageError, match="not a file in its folder"):
        open_image(tmp_path / "in" / "main.h5")


def test_pixels_of_a_virtual_data_set_in_the_folder_are_read(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["pixels"] = PIXELS
    _virtual(tmp_path, "data.h5")
    with open_image(tmp_path / "main.h5") as source:
        np.testing.assert_array_equal(source.data[1, 2:9], PIXELS[1, 2:9])


def test_missing_compression_names_its_plugin(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=PIXELS, compression="lzf", chunks=(1, 30, 40))
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(ImageError, match=r"/a is compressed by lzf, .* pip install hdf5plugin"):
        open_image(tmp_path / "a.h5")


def test_chunk_above_the_limit_is_refused(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", shape=(10**5, 10**5), dtype="u1", chunks=(50_000, 50_000), compression="gzip")
    monkeypatch.setenv("MASKED_DENOISER_CHUNK_GIB", "1")
    with pytest.raises(ImageError, match="a chunk of 50000 x 50000"):
        open_image(tmp_path / "a.h5")


MOVIE = np.random.default_rng(1).integers(0, 200, (2, 2, 5, 30, 40)).astype(np.uint8)


def test_imaris_is_a_pyramid_without_its_padding(tmp_path):
    with open_image(write_imaris(tmp_path / "a.ims", MOVIE)) as source:
        assert [level.shape for level in source.levels] == [MOVIE.shape, (2, 2, 5, 15, 20)]
        np.testing.assert_array_equal(source.levels[1][1, 0, 2:], MOVIE[1, 0, 2:, ::2, ::2])
        assert source.channel_colours == ("FF8000", "FF80FF")
        assert source.windows == ((0.0, 200.0), (0.0, 200.0))
        # Extents end at the borders of pixels, and origins are their centres. An extent from 0 is no position.
        assert source.origin == {"Z": 2.5}
    with open_image(tmp_path / "a.ims", level=1) as source:
        assert source.pixel_size == {"T": 3.0, "Z": 1.0, "Y": 1.0, "X": 0.5}


def test_imaris_without_a_channel_is_refused_where_it_is_read(tmp_path):
    path = write_imaris(tmp_path / "a.ims", MOVIE)
    with h5py.File(path, "a") as file:
        del file["DataSet/ResolutionLevel 0/TimePoint 1/Channel 1"]
    with open_image(path) as source:
        np.testing.assert_array_equal(source.data[0], MOVIE[0])
        with pytest.raises(KeyError):
            source.data[1, 1]


def test_imaris_without_a_time_point_is_refused(tmp_path):
    path = write_imaris(tmp_path / "a.ims", np.concatenate([MOVIE, MOVIE]))
    with h5py.File(path, "a") as file:
        del file["DataSet/ResolutionLevel 0/TimePoint 1"]
    with pytest.raises(ImageError, match="a TimePoint is missing"):
        open_image(path)
