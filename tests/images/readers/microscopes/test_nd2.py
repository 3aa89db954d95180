"""ND2 files of the minimal writer: positions, and frames that are missing."""

from __future__ import annotations

import numpy as np
import pytest

from masked_denoiser.errors import DamagedError, ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes

from ..samples.nd2 import write_nd2

FRAMES = np.random.default_rng(0).integers(0, 4000, (6, 20, 30, 1)).astype(np.uint16)


def test_positions_are_images(tmp_path):
    path = write_nd2(tmp_path / "a.nd2", FRAMES, {"P": 2, "Z": 3})
    with pytest.raises(ImageError, match=r"holds 2 images \(well 0, well 1\)"):
        open_image(path)
    for number in range(2):
        with open_image(f"{path}::{number}") as source:
            assert source.axes == "ZYX"
            np.testing.assert_array_equal(source.data[:], FRAMES[3 * number :][:3, ..., 0])


def test_single_frame_is_a_plane(tmp_path):
    with open_image(write_nd2(tmp_path / "a.nd2", FRAMES[:1], {})) as source:
        assert source.axes == "YX"
        np.testing.assert_array_equal(source.data[:], FRAMES[0, ..., 0])


def test_missing_frame_is_an_error_and_not_zeros(tmp_path):
    path = write_nd2(tmp_path / "a.nd2", FRAMES, {"T": 6}, left_out=(2,))
    with open_image(path) as source:
        assert "1 of its 6 frames are missing" in source.notes
        planes = list(list_planes(source.axes, source.sizes, source.rgb))
        np.testing.assert_array_equal(source.read(planes[3], slice(0, 20), slice(0, 30))[0], FRAMES[3, ..., 0])
        with pytest.raises(DamagedError, match="frame 2 is missing"):
            source.read(planes[2], slice(0, 20), slice(0, 30))


def test_bomb_is_not_expanded(tmp_path):
    """The frames are those of an image that declares a hundredth of their size."""
    path = write_nd2(tmp_path / "a.nd2", np.zeros((1, 2000, 30, 1), np.uint16), {}, compressed=True)
    height = "uiHeight".encode("utf-16-le") + b"\0\0"
    content = path.read_bytes()
    path.write_bytes(content.replace(height + (2000).to_bytes(4, "little"), height + (20).to_bytes(4, "little")))
    with open_image(path) as source:
        assert source.shape == (20, 30)
        with pytest.raises(ValueError, match=r"larger|more"):
            source.data[:]


def test_file_that_shrinks_while_it_is_open_is_an_error(tmp_path):
    """A mapped file would kill the process, and the library would read zeros."""
    path = write_nd2(tmp_path / "a.nd2", FRAMES, {"T": 6})
    with open_image(path) as source:
        planes = list(list_planes(source.axes, source.sizes, source.rgb))
        with path.open("rb+") as file:
            file.truncate(5000)
        with pytest.raises(DamagedError):
            source.read(planes[4], slice(0, 20), slice(0, 30))
