"""Folders, patterns and files of several images, with a reader of another package."""

from __future__ import annotations

import pytest

from masked_denoiser.errors import ImageError
from masked_denoiser.images.discovery import find_images
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.batch.outputs import is_batch, plan_outputs
from tests.images.readers.plugins.foo_plugin import NAME, get_reader, layer, write


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "b.foo", layer())
    write(folder / "A.FOO", layer(name="one"), layer((9, 9), name="two"))
    for name in ("c.tif", "notes.txt", ".hidden.foo", "d.foo.partial"):
        write(folder / name, layer())
    return folder


def test_a_folder_has_the_files_that_a_plugin_declares(foo, folder):
    expected = [f"{folder}/A.FOO::one", f"{folder}/A.FOO::two", f"{folder}/b.foo"]
    assert find_images([str(folder)], NAME) == expected
    assert find_images([f"{folder}/*.[fF][oO][oO]"], NAME) == expected
    assert find_images([f"{folder}/A.FOO::two", str(folder)], NAME) == [expected[1], expected[0], expected[2]]
    assert find_images([f"{folder}/A.FOO"]) == expected[:2]  # chosen automatically
    with pytest.raises(ImageError, match="reader 'x' is not installed"):
        find_images([str(folder)], "x")


def test_a_folder_has_the_files_of_the_suffixes_of_bioio(folder, bioio_foo):
    for name in ("e.png", "f.jp2"):
        (folder / name).write_bytes(b"FOO")
    (folder / "b.foo").write_bytes(b"FOO")
    both = [f"{folder}/b.foo::left", f"{folder}/b.foo::right"]
    assert find_images([str(folder)], bioio_foo) == [f"{folder}/A.FOO", *both]
    assert find_images([str(folder)], "bioio") == [f"{folder}/A.FOO", *both, f"{folder}/e.png", f"{folder}/f.jp2"]


def test_a_folder_without_such_files_is_refused(foo, tmp_path):
    (tmp_path / "c.tif").touch()
    with pytest.raises(
        ImageError, match="holds no file that the napari plugin foo-reader reads; choose another --reader"
    ):
        find_images([str(tmp_path)], NAME)


def test_a_folder_can_be_an_image(plugin, tmp_path):
    plugin("folder-reader", get_reader, patterns=["*.bar"], folders=True)
    image = tmp_path / "image"
    image.mkdir()
    write(image / "index.foo", layer((30, 20)))
    assert not is_batch([str(image)], "out.ome.zarr", "folder-reader")
    assert find_images([str(image)], "folder-reader") == [str(image)]
    with open_image(image, reader="folder-reader") as source:
        assert source.shape == (30, 20)
    with open_image(image) as source:
        assert source.reader == "folder-reader"
    write(image / "a.bar", layer())
    assert is_batch([str(image)], "out.ome.zarr", "folder-reader")
    assert find_images([str(image)], "folder-reader") == [f"{image}/a.bar"]


def test_outputs_are_named_after_files_and_their_images(foo, folder, tmp_path):
    pairs = plan_outputs([str(folder)], tmp_path / "out", reader=NAME)
    assert [pair.output.name for pair in pairs] == ["A.FOO_one.ome.zarr", "A.FOO_two.ome.zarr", "b.foo.ome.zarr"]
