"""OIB and OIF files of the minimal writers: missing planes, reference images and circles of sectors."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile

from masked_denoiser.errors import DamagedError, ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes

from ..samples.olympus import write_oib, write_oif

PLANES = np.random.default_rng(0).integers(0, 4000, (2, 3, 50, 60)).astype(np.uint16)


def test_missing_plane_is_an_error(tmp_path):
    path = write_oif(tmp_path / "a.oif", PLANES)
    (tmp_path / "a.oif.files" / "s_C001Z002.tif").unlink()
    with open_image(path) as source:
        planes = list(list_planes(source.axes, source.sizes, source.rgb))
        np.testing.assert_array_equal(source.data[1], PLANES[1])
        with pytest.raises(DamagedError, match="is missing"):
            source.read(next(p for p in planes if dict(p.index)["Z"] == 1), slice(0, 50), slice(0, 60))


def test_lengths_are_those_of_the_recorded_planes(tmp_path):
    path = write_oif(tmp_path / "a.oif", PLANES)
    for name in ("s_C001Z003.tif", "s_C002Z003.tif"):
        (tmp_path / "a.oif.files" / name).unlink()
    with open_image(path) as source:
        assert source.axes == "CZYX"
        np.testing.assert_array_equal(source.data[:], PLANES[:, :2])


def test_missing_folder_is_named(tmp_path):
    path = write_oif(tmp_path / "a.oif", PLANES)
    (tmp_path / "a.oif.files").rename(tmp_path / "elsewhere")
    with pytest.raises(ImageError, match=r"a\.oif\.files.* with its folder"):
        open_image(path)


def test_path_that_is_a_pattern_is_refused(tmp_path):
    with pytest.raises(ImageError, match="rename it"):
        open_image(write_oif(tmp_path / "a [1].oif", PLANES))


def test_reference_images_are_omitted(tmp_path):
    path = write_oif(tmp_path / "a.oif", PLANES)
    tifffile.imwrite(tmp_path / "a.oif.files" / "s_C001-R001.tif", PLANES[0, 0])
    with open_image(path) as source:
        assert source.shape == PLANES.shape
        assert path.with_name("a.oif.files") in source.inputs


def test_circle_of_sectors_is_refused(tmp_path):
    path = write_oib(tmp_path / "a.oib", PLANES)
    content = bytearray(path.read_bytes())
    (table,) = struct.unpack_from("<I", content, 76)
    struct.pack_into("<I", content, (table + 1) * 512 + 4 * 5, 2)  # sector 5 is followed by sector 2
    path.write_bytes(content)
    with pytest.raises(ImageError, match="form a circle"):
        open_image(path)


def test_single_plane_is_yx(tmp_path):
    with open_image(write_oib(tmp_path / "a.oib", PLANES[:1, :1])) as source:
        assert source.axes == "YX"
        np.testing.assert_array_equal(source.data[:], PLANES[0, 0])
