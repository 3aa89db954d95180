"""Headers of MRC files written with mrcfile: kinds of stacks, modes, origins and the flags of IMOD."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image

PIXELS = np.random.default_rng(0).integers(-100, 100, (4, 30, 40)).astype(np.int8)


def _write(path: Path, pixels: Any, change: Callable[[Any], Any] = lambda _: None) -> Path:
    with mrcfile.new(path) as file:
        file.set_data(pixels)
        change(file)
    return path


def _set_imod(flags: int) -> Callable[[Any], Any]:
    def change(file: Any) -> None:
        words = np.frombuffer(file.header.tobytes(), np.int32).copy()
        words[38:40] = 1146047817, flags
        file.header[()] = np.frombuffer(words.tobytes(), file.header.dtype)[0]

    return change


def test_image_is_yx(tmp_path):
    with open_image(_write(tmp_path / "a.mrc", PIXELS[0])) as source:
        assert source.axes == "YX"
        np.testing.assert_array_equal(source.data[:], PIXELS[0])


def test_stack_of_images_is_t_without_a_step(tmp_path):
    def change(file: Any) -> None:
        file.set_image_stack()
        file.voxel_size = 2.0

    with open_image(_write(tmp_path / "a.mrcs", PIXELS, change)) as source:
        assert source.axes == "TYX"
        assert source.pixel_size == {"Y": 2.0, "X": 2.0}
        assert "--axes ZYX" in source.notes[0]


def test_stack_of_a_program_older_than_the_standard_is_z(tmp_path):
    def change(file: Any) -> None:
        file.header.ispg = 0

    with open_image(_write(tmp_path / "a.st", PIXELS, change)) as source:
        assert source.axes == "ZYX"


@pytest.mark.parametrize(("flags", "dtype"), [(0, np.uint8), (1, np.int8)])
def test_flags_of_imod_decide_the_sign_of_bytes(tmp_path, flags, dtype):
    with open_image(_write(tmp_path / "a.mrc", PIXELS, _set_imod(flags))) as source:
        assert source.dtype == dtype
        np.testing.assert_array_equal(source.data[:], PIXELS.view(dtype))
        assert bool(source.notes) == (flags == 0)


def test_origin_is_kept_and_older_files_state_it_in_voxels(tmp_path):
    def change(file: Any) -> None:
        file.voxel_size = (2.0, 3.0, 4.0)
        file.header.origin = (10.0, 0.0, -5.0)

    def change_older(file: Any) -> None:
        file.voxel_size = (2.0, 3.0, 4.0)
        file.nstart = (5, 0, -2)

    with open_image(_write(tmp_path / "a.mrc", PIXELS, change)) as source:
        assert source.origin == {"X": 10.0, "Z": -5.0}
    with open_image(_write(tmp_path / "b.mrc", PIXELS, change_older)) as source:
        assert source.origin == {"X": 10.0, "Z": -8.0}


def test_voxel_sizes_follow_the_order_of_the_axes(tmp_path):
    def change(file: Any) -> None:
        file.header.cella = (40 * 2.0, 30 * 3.0, 4 * 5.0)
        file.header.mx, file.header.my, file.header.mz = 40, 30, 4
        file.header.mapc, file.header.mapr, file.header.maps = 2, 1, 3

    with open_image(_write(tmp_path / "a.map", PIXELS, change)) as source:
        assert source.pixel_size == {"X": 3.0, "Y": 2.0, "Z": 5.0}
        assert "Y X Z of the cell" in source.notes[0]


def test_extended_header_is_skipped(tmp_path):
    def change(file: Any) -> None:
        file.set_extended_header(np.frombuffer(b"\xff" * 320, "V1"))

    with open_image(_write(tmp_path / "a.mrc", PIXELS, change)) as source:
        np.testing.assert_array_equal(source.data[:], PIXELS)


def test_big_endian_is_read(tmp_path):
    path = tmp_path / "a.mrc"
    with open_image(_write(path, PIXELS.astype(">f4"))) as source:
        assert source.dtype.isnative
        np.testing.assert_array_equal(source.data[1, 3:9, 4:], PIXELS[1, 3:9, 4:])
    assert path.read_bytes()[212] == 0x11


def _without_map(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[208:212] = b"    "
    path.write_bytes(content)


def _with_mode(mode: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[12:16] = mode.to_bytes(4, "little")
        path.write_bytes(content)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [(_without_map, "MRC2014"), (_with_mode(4), "complex64"), (_with_mode(3), "mode '3'"), (_with_mode(101), "101")],
)
def test_unreadable_file_is_refused(tmp_path, change, words):
    path = _write(tmp_path / "a.mrc", PIXELS)
    change(path)
    with pytest.raises(ImageError, match=words) as caught:
        open_image(path)
    assert "\n" not in str(caught.value)
