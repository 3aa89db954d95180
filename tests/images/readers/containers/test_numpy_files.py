"""NumPy files: objects are refused, sizes are checked before memory is allocated."""

from __future__ import annotations

from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image


def test_objects_are_refused_without_unpickling(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}, {}]]), allow_pickle=True)
    np.savez(tmp_path / "a.npz", a=np.array([[{}, {}]]), allow_pickle=True)
    with pytest.raises(ImageError, match="type object"):
        open_image(tmp_path / "a.npy")
    with pytest.raises(ImageError, match="holds no image"):
        open_image(tmp_path / "a.npz")


def test_array_above_the_limit_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros((2000, 2000)))
    monkeypatch.setenv("MASKED_DENOISER_CHUNK_GIB", "0.01")
    with pytest.raises(ImageError, match="2000 x 2000 would take"):
        open_image(tmp_path / "a.npz")


def test_array_that_declares_more_than_it_has_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((20, 30), np.uint8))
    content = (tmp_path / "a.npy").read_bytes().replace(b"(20, 30)", b"(20, 40)")
    (tmp_path / "a.npy").write_bytes(content)
    with ZipFile(tmp_path / "a.npz", "w", ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ImageError, match="EOFError"):
            open_image(tmp_path / name)


def test_names_are_those_of_arrays_that_may_be_images(tmp_path):
    pixels = np.random.default_rng(0).random((20, 30))
    np.savez(tmp_path / "a.npz", curve=np.arange(3), image=pixels)
    with open_image(tmp_path / "a.npz") as source:  # the only one
        np.testing.assert_array_equal(source.data[:], pixels)
