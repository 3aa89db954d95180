"""Readers of bioio: pixels as bioio gives them, with scenes, levels, pixel sizes and names of channels."""

from __future__ import annotations

import numpy as np
import pytest
from bioio import BioImage
from PIL import Image

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from tests.images.readers.plugins import foo_bioio


@pytest.fixture
def foo_file(file, bioio_foo):
    file.write_bytes(b"FOO")
    return file


def gray(folder, suffix):
    """Write a gray image, and return its path."""
    path = folder / f"a{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize(("scene", "part"), [(0, "left"), (1, "right"), (1, "1")])
@pytest.mark.parametrize("reader", ["bioio-foo", "bioio", ""])
def test_scenes_have_pixels_and_metadata(foo_file, scene, part, reader):
    with open_image(f"{foo_file}::{part}", reader=reader) as source:
        assert (source.axes, source.dtype, source.reader) == ("CZYX", np.dtype(np.uint16), "bioio-foo")
        np.testing.assert_array_equal(source.data[...], foo_bioio.pixels(scene))
        np.testing.assert_array_equal(source.levels[1][1, 0:2], foo_bioio.pixels(scene, 1)[1, 0:2])
        assert source.channel_names == ("DAPI", "GFP")
        assert source.pixel_size == {"Z": 2.0, "Y": 0.5, "X": 0.25}
        assert source.units == dict.fromkeys("ZYX", "micrometer")
        assert source.notes == ("opened by the bioio reader bioio-foo",)


def test_scenes_must_be_named(foo_file):
    with pytest.raises(ImageError, match=r"holds 2 images \(left, right\); name one of them, such as 'a\.foo::left'"):
        open_image(foo_file, reader="bioio")


def test_a_unit_that_is_missing_is_noted(foo_file, monkeypatch):
    monkeypatch.delattr(foo_bioio.Reader, "dimension_properties")
    with open_image(f"{foo_file}::left", reader="bioio") as source:
        assert (source.units, source.pixel_size["X"]) == ({}, 0.25)
        assert "the reader gives its pixel size without a unit" in source.notes


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jp2", ".gif"])
def test_pictures_are_those_of_bioio(tmp_path, suffix):
    path = gray(tmp_path, suffix)
    expected = BioImage(path)
    with open_image(path, reader="bioio-imageio") as source:
        order = source.axes
        np.testing.assert_array_equal(source.data[...], expected.get_image_data(order))
        assert (source.reader, source.pixel_size, source.channel_names) == ("bioio-imageio", {}, ())


def test_colours_are_colours(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with open_image(tmp_path / "a.png", reader="bioio") as source:
        assert (source.axes, source.rgb) == ("YXS", True)
        np.testing.assert_array_equal(source.data[...], pixels)


def test_an_unknown_format_is_opened_automatically(tmp_path):
    with open_image(gray(tmp_path, ".jp2")) as source:
        assert (source.axes, source.reader) == ("YX", "bioio-imageio")


def test_files_that_are_not_recognized_are_refused(file, bioio_foo):
    file.write_text("content")
    with pytest.raises(ImageError, match=r"a\.foo: no reader of bioio recognizes it; installed are .*bioio-foo"):
        open_image(file, reader="bioio")
    with pytest.raises(ImageError, match=r"a\.foo: is of no supported format.*or name a reader: --reader bioio-foo"):
        open_image(file)
    (file.parent / "a.png").write_text("content")
    with pytest.raises(ImageError, match=r"a\.png: cannot be read by the bioio reader bioio-imageio"):
        open_image(file.parent / "a.png", reader="bioio-imageio")


def test_a_reader_that_cannot_be_imported_matters_only_if_named(file, bioio_foo, monkeypatch):
    def fail():
        raise ImportError("libfoo.so is missing")

    monkeypatch.setattr(foo_bioio.ReaderMetadata, "get_reader", fail)
    file.write_bytes(b"FOO")
    with pytest.raises(ImageError, match=r"the bioio reader bioio-foo \(ImportError: libfoo\.so is missing\)"):
        open_image(file, reader="bioio-foo")
    with pytest.raises(ImageError, match=r"a\.foo: is of no supported format"):
        open_image(file)
