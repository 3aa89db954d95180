"""BMP and GIF files written with Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)
GRAY = Image.fromarray(RGB[..., 0])


@pytest.mark.parametrize("image", [GRAY, GRAY.convert("1"), GRAY.convert("RGB")], ids=["gray", "bits", "gray colours"])
@pytest.mark.parametrize("suffix", ["bmp", "gif"])
def test_gray_picture_has_no_samples(tmp_path, image, suffix):
    image.save(tmp_path / f"a.{suffix}")
    with open_image(tmp_path / f"a.{suffix}") as source:
        assert (source.axes, source.rgb) == ("YX", False)
        np.testing.assert_array_equal(source.data[:], np.asarray(image.convert("L")))


@pytest.mark.parametrize("suffix", ["bmp", "gif"])
def test_palette_is_colour(tmp_path, suffix):
    image = Image.fromarray(RGB).quantize(16)
    image.save(tmp_path / f"a.{suffix}")
    with open_image(tmp_path / f"a.{suffix}") as source:
        assert (source.axes, source.rgb) == ("YXS", True)
        np.testing.assert_array_equal(source.data[:], np.asarray(image.convert("RGB")))


def test_frames_of_different_durations_have_no_step(tmp_path):
    frames = [Image.fromarray(RGB[..., i]) for i in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[50, 50, 70])
    with open_image(tmp_path / "a.gif") as source:
        assert (source.axes, source.shape, source.pixel_size) == ("TYX", (3, 20, 30), {})


@pytest.mark.parametrize("suffix", ["bmp", "gif"])
def test_size_is_checked_before_decoding(tmp_path, monkeypatch, suffix):
    Image.new("L", (4000, 4000)).save(tmp_path / f"a.{suffix}")
    monkeypatch.setenv("MASKED_DENOISER_CHUNK_GIB", "0.03")
    with pytest.raises(ImageError, match="4000 x 4000"):
        open_image(tmp_path / f"a.{suffix}")


def test_transparency_is_ignored_with_a_note(tmp_path):
    Image.fromarray(RGB).quantize(16).save(tmp_path / "a.gif", transparency=3)
    with open_image(tmp_path / "a.gif") as source:
        assert "transparency" in source.notes[0]
