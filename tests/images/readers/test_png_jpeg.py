"""PNG and JPEG files written with Pillow."""

import numpy as np
import pytest
from PIL import Image

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("mode", "pixels", "axes", "rgb"),
    [
        ("L", RNG.integers(0, 256, (20, 30), np.uint8), "YX", False),
        ("I;16", RNG.integers(0, 65536, (20, 30), np.uint16), "YX", False),
        ("RGB", RNG.integers(0, 256, (20, 30, 3), np.uint8), "YXS", True),
        ("RGBA", RNG.integers(0, 256, (20, 30, 4), np.uint8), "YXS", True),
    ],
)
def test_png(tmp_path, mode, pixels, axes, rgb):
    image = Image.fromarray(pixels)
    assert image.mode == mode
    image.save(tmp_path / "a.png")
    with open_image(tmp_path / "a.png") as source:
        assert (source.axes, source.rgb, source.name) == (axes, rgb, "a.png")
        np.testing.assert_array_equal(source.data[:], pixels)


def test_png_with_gray_and_alpha_is_gray(tmp_path):
    pixels = RNG.integers(0, 256, (20, 30, 2), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with open_image(tmp_path / "a.png") as source:
        np.testing.assert_array_equal(source.data[:], pixels[..., 0])
        assert "alpha" in source.notes[0]


def test_palette_png_is_rgb(tmp_path):
    image = Image.fromarray(RNG.integers(0, 256, (20, 30, 3), np.uint8)).quantize(8)
    image.save(tmp_path / "a.png")
    with open_image(tmp_path / "a.png") as source:
        np.testing.assert_array_equal(source.data[..., :3], np.asarray(image.convert("RGB")))


def test_jpeg_is_recognised_by_content(tmp_path):
    image = Image.fromarray(RNG.integers(0, 256, (20, 30, 3), np.uint8))
    image.save(tmp_path / "photo.tif", "JPEG", quality=90)
    with open_image(tmp_path / "photo.tif") as source:
        assert (source.axes, source.rgb, source.shape) == ("YXS", True, (20, 30, 3))
        assert np.abs(source.data[:].astype(int) - np.asarray(Image.open(tmp_path / "photo.tif"))).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("kept", [20, 0.5, 0.95])
def test_truncated_png_or_jpeg_is_refused(tmp_path, suffix, kept):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (200, 300, 3), np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: kept if kept > 1 else int(kept * len(content))])
    with pytest.raises(ImageError, match="copy or export it again"):
        open_image(path)
