"""CZI files of the minimal writer: mosaics, scenes, compressions, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import czifile
import imagecodecs
import numpy as np
import pytest

from masked_denoiser.errors import DamagedError, ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes

from ..samples.czi import Block, metadata_xml, write_czi

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 4000, (60, 80)).astype(np.uint16)
RGB = RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8)


def _shuffled(pixels: Any) -> bytes:
    """Return the low bytes of the samples, then the high bytes."""
    return np.ascontiguousarray(pixels.reshape(-1).view(np.uint8).reshape(-1, 2).T).tobytes()


COMPRESSED = {
    "zstd": (5, GRAY, imagecodecs.zstd_encode(GRAY.tobytes())),
    "zstd without header bits": (6, GRAY, b"\1" + imagecodecs.zstd_encode(GRAY.tobytes())),
    "zstd of separated bytes": (6, GRAY, b"\3\1\1" + imagecodecs.zstd_encode(_shuffled(GRAY))),
    "zstd in colour": (5, RGB, imagecodecs.zstd_encode(RGB[..., ::-1].tobytes())),
    "JPEG XR": (4, GRAY, imagecodecs.jpegxr_encode(GRAY, level=1.0)),
    "JPEG XR in colour": (4, RGB, imagecodecs.jpegxr_encode(RGB, level=1.0)),
}


@pytest.mark.parametrize("kind", COMPRESSED)
def test_compressed_tiles_are_decoded(tmp_path, kind):
    compression, pixels, stored = COMPRESSED[kind]
    path = write_czi(tmp_path / "a.czi", [Block(pixels, {}, compression, stored)])
    if hasattr(czifile, "CziImage"):  # older versions do not decode Zstandard
        np.testing.assert_array_equal(czifile.imread(path), pixels)
    with open_image(path) as source:
        np.testing.assert_array_equal(source.data[:], pixels)
        assert source.rgb == (pixels.ndim == 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_types_of_pixels_are_those_of_the_format(tmp_path, dtype):
    with open_image(write_czi(tmp_path / "a.czi", [Block(GRAY.astype(dtype), {})])) as source:
        assert source.dtype == dtype
        np.testing.assert_array_equal(source.data[:], GRAY.astype(dtype))


def test_colours_are_red_green_blue(tmp_path):
    with open_image(write_czi(tmp_path / "a.czi", [Block(RGB[..., ::-1], {})])) as source:
        assert (source.axes, source.rgb) == ("YXS", True)
        np.testing.assert_array_equal(source.data[:], RGB)


def test_later_tiles_cover_earlier_ones_and_gaps_are_zero(tmp_path):
    first, second = GRAY[:40, :40], GRAY[40:60, 40:80]
    blocks = [Block(second, {"Y": 30, "X": 25, "M": 1}), Block(first, {"Y": -5, "X": -5, "M": 0})]
    expected = np.zeros((55, 70), np.uint16)
    expected[:40, :40] = first
    expected[35:, 30:] = second
    with open_image(write_czi(tmp_path / "a.czi", blocks)) as source:
        assert "gaps" in source.notes[0]
        np.testing.assert_array_equal(source.data[:], expected)
        np.testing.assert_array_equal(source.data[33:41, 28:50], expected[33:41, 28:50])


def test_scenes_are_images_of_their_own_size(tmp_path):
    blocks = [Block(GRAY, {"S": 0}), Block(GRAY[:20, :30], {"S": 1, "Y": 1000, "X": 2000})]
    path = write_czi(tmp_path / "a.czi", blocks, metadata_xml(["left", "left"]))
    with pytest.raises(ImageError, match=r"holds 2 images \(left, left 2\)"):
        open_image(path)
    with open_image(f"{path}::left 2") as source:
        np.testing.assert_array_equal(source.data[:], GRAY[:20, :30])


def test_axes_of_planes_follow_their_positions(tmp_path):
    planes = RNG.integers(0, 99, (2, 3, 2, 20, 30)).astype(np.uint16)
    blocks = [
        Block(planes[t, c, z], {"T": t, "C": c, "Z": z + 5})
        for t, c, z in np.ndindex(2, 3, 2)
        if (t, c, z) != (1, 2, 1)
    ]
    with open_image(write_czi(tmp_path / "a.czi", blocks)) as source:
        assert source.axes == "TCZYX"
        np.testing.assert_array_equal(source.data[0], planes[0])
        assert not source.data[1, 2, 1].any()
        assert "gaps" in source.notes[0]


def test_lower_resolutions_that_cover_the_scene_are_levels(tmp_path):
    corner = {"Y": -13, "X": 7, "S": 0}
    quarters = [
        Block(GRAY[y : y + 30 : 2, x : x + 40 : 2], corner | {"Y": y - 13, "X": x + 7}, size=(30, 40))
        for y in (0, 30)
        for x in (0, 40)
    ]
    part = Block(GRAY[:30:4, ::4], corner, size=(30, 80))
    whole = Block(GRAY[::3, ::3], {"Y": -13, "X": 7}, size=(60, 80))  # of no scene
    path = write_czi(tmp_path / "a.czi", [Block(GRAY, corner), *quarters, part, whole], metadata_xml())
    with open_image(path) as source:
        assert [level.shape for level in source.levels] == [(60, 80), (30, 40)]
        np.testing.assert_array_equal(source.data[:], GRAY)
        np.testing.assert_array_equal(source.levels[1][:], GRAY[::2, ::2])
    with open_image(path, level=1) as source:
        assert source.pixel_size == {"Y": 1.0, "X": 0.5}


def _with_doctype(path: Path) -> Path:
    return write_czi(path, [Block(GRAY, {})], '<!DOCTYPE x [<!ENTITY a "b">]>' + metadata_xml())


def _unknown_compression(path: Path) -> Path:
    return write_czi(path, [Block(GRAY, {}, 2, b"abc")])


def _different_types(path: Path) -> Path:
    return write_czi(path, [Block(GRAY, {"C": 0}), Block(GRAY.astype(np.float32), {"C": 1})])


def _unknown_type(path: Path) -> Path:
    content = write_czi(path, [Block(GRAY, {})]).read_bytes()
    path.write_bytes(content.replace(b"DV" + struct.pack("<i", 1), b"DV" + struct.pack("<i", 7)))
    return path


def _endless_metadata(path: Path) -> Path:
    content = write_czi(path, [Block(GRAY, {})], metadata_xml()).read_bytes()
    start = content.index(b"ZISRAWMETADATA") + 32
    path.write_bytes(content[:start] + struct.pack("<i", 2**31 - 1) + content[start + 4 :])
    return path


def _no_directory(path: Path) -> Path:
    content = write_czi(path, [Block(GRAY, {})]).read_bytes()
    path.write_bytes(content.replace(b"ZISRAWDIRECTORY", b"ZISRAWATTDIR\0\0\0"))
    return path


def _directory_of(count: int, axes: int) -> Callable[[Path], Path]:
    """Return what writes a directory that declares a number of tiles, the first one with a number of axes."""

    def write(path: Path) -> Path:
        content = bytearray(write_czi(path, [Block(GRAY, {})]).read_bytes())
        start = content.index(b"ZISRAWDIRECTORY") + 32
        struct.pack_into("<i", content, start, count)
        struct.pack_into("<i", content, start + 156, axes)
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (_directory_of(2**31 - 1, 2), "beyond the end"),
        (_directory_of(2**31 - 1, -2), "-2 axes"),
        (_directory_of(1, 2**28), "268435456 axes"),
        (_unknown_type, "pixels of type 7 are not supported"),
        (_endless_metadata, "2147483647 bytes of XML"),
        (_no_directory, "directory of tiles is missing"),
        (_with_doctype, "declares entities"),
        (_unknown_compression, "compression 2 is not supported"),
        (_different_types, "different types of pixels"),
    ],
)
def test_unreadable_file_is_refused(tmp_path, write, words):
    with pytest.raises(ImageError, match=words):
        open_image(write(tmp_path / "a.czi"))


def _deleted(content: bytes) -> bytes:
    return content.replace(b"ZISRAWSUBBLOCK", b"DELETED".ljust(14, b"\0"))


def _of_other_sides(content: bytes) -> bytes:
    start = content.index(b"DV") + 32  # of the axis X in the sub-block itself, which comes before the directory
    return content[: start + 16] + struct.pack("<i", 79) + content[start + 20 :]


def _beyond_the_end(content: bytes) -> bytes:
    start = content.index(b"ZISRAWSUBBLOCK") + 40
    return content[:start] + struct.pack("<q", 2**40) + content[start + 8 :]


def _of_many_axes(content: bytes) -> bytes:
    start = content.index(b"DV") + 28
    return content[:start] + struct.pack("<i", 2**31 - 1) + content[start + 4 :]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_deleted, "a tile is missing"),
        (_of_other_sides, "differs from its entry"),
        (_beyond_the_end, "extends beyond the end"),
        (_of_many_axes, "has 2147483647 axes"),
    ],
)
def test_damaged_tile_is_an_error_of_its_plane(tmp_path, damage, words):
    path = write_czi(tmp_path / "a.czi", [Block(GRAY, {})])
    path.write_bytes(damage(path.read_bytes()))
    with open_image(path) as source, pytest.raises(DamagedError, match=words):
        source.read(next(iter(list_planes(source.axes, source.sizes, source.rgb))), slice(0, 60), slice(0, 80))


def test_bomb_is_not_expanded(tmp_path):
    stored = imagecodecs.zstd_encode(bytes(2**26))
    with open_image(write_czi(tmp_path / "a.czi", [Block(GRAY, {}, 5, stored)])) as source, pytest.raises(ValueError):  # noqa: PT011
        source.data[:]
