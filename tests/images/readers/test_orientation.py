"""Stored orientation of TIFF, JPEG and PNG, compared with Pillow, and lazy views compared with NumPy."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.readers.chunk_cache import ChunkedArray
from masked_denoiser.images.readers.converted import Conversion, LevelArray, select_samples
from masked_denoiser.images.readers.orientation import orientation_of_exif, upright_level

RNG = np.random.default_rng(1)
RGB = RNG.integers(0, 256, (30, 50, 3), np.uint8)


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def _upright(pixels: np.ndarray[Any, Any], orientation: int) -> np.ndarray[Any, Any]:
    """Return pixels as Pillow shows them."""
    image = Image.fromarray(pixels)
    image.getexif()[274] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_matches_pillow(orientation: int, compression: str | None, tmp_path: Path) -> None:
    options: dict[str, Any] = {"photometric": "rgb", "compression": compression, "tile": (16, 16), "metadata": None}
    options |= {"resolution": (20_000, 10_000), "resolutionunit": 3, "extratags": [(274, 3, 1, orientation, True)]}
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(RGB, subifds=1, **options)
        writer.write(RGB[::2, ::2], subfiletype=1, **options)
    with open_image(tmp_path / "a.tif") as source:
        for level, stored in zip(source.levels, (RGB, RGB[::2, ::2]), strict=True):
            np.testing.assert_array_equal(level[:], _upright(stored, orientation))
        sizes = {"Y": 1.0, "X": 0.5} if orientation < 5 else {"Y": 0.5, "X": 1.0}
        assert source.pixel_size == pytest.approx(sizes)
        assert bool(source.notes) == (orientation > 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_matches_pillow(orientation: int, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    smooth = np.asarray(Image.fromarray(RGB[:3, :5]).resize((50, 30), Image.Resampling.BICUBIC))
    Image.fromarray(smooth).save(path, exif=_exif(orientation))
    with open_image(path) as source:
        expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
        assert np.abs(np.asarray(source.data).astype(int) - expected).max() <= 1
        assert bool(source.notes) == (orientation > 1)


@pytest.mark.parametrize(("kind", "value"), [(3, 0), (3, 9), (3, 65535), (4, 2**31), (2, 54), (12, 0)])
def test_invalid_orientation_is_ignored(kind: int, value: int, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb")
    content = (tmp_path / "a.tif").read_bytes()
    # The tag Software, which nothing reads here, becomes an orientation.
    entry = content.index(struct.pack("<HH", 305, 2))
    (tmp_path / "a.tif").write_bytes(
        content[:entry] + struct.pack("<HHII", 274, kind, 1, value) + content[entry + 12 :]
    )
    with open_image(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.data[:], RGB)


@given(st.binary(max_size=60), st.integers(0, 40))
def test_broken_exif_is_upright(noise: bytes, cut: int) -> None:
    block = struct.pack("<4sIHHHIHHI", b"II*\0", 8, 1, 274, 3, 1, 6, 0, 0)
    assert orientation_of_exif(block) == 6
    assert orientation_of_exif(block[: min(cut, 19)]) == 1
    assert orientation_of_exif(b"MM\0*" + noise) in range(1, 9)


def test_png_chunk_after_others_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    content = path.read_bytes()
    block = struct.pack(">4sIHHHIHHI", b"MM\0*", 8, 1, 274, 3, 1, 8, 0, 0)
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
    path.write_bytes(content[:-12] + chunk + content[-12:])
    with open_image(path) as source:
        np.testing.assert_array_equal(source.data[:], np.rot90(RGB))


def test_cmyk_jpeg_is_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="CMYK or other inks, which cannot be denoised; convert it to RGB"):
        open_image(tmp_path / "a.jpg")


@st.composite
def _key(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    keys: list[Any] = []
    for side in shape:
        ends = st.none() | st.integers(-side - 1, side + 1)
        keys.append(draw(st.integers(-side, side - 1) | st.builds(slice, ends, ends, st.none() | st.integers(1, 3))))
    return tuple(keys)


STORED = RNG.integers(0, 200, (2, 9, 7, 4), np.uint8)


def _lazy() -> LevelArray:
    chunks = (1, 4, 3, 4)

    def fetch(index: tuple[int, ...]) -> np.ndarray[Any, Any]:
        return STORED[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))]

    return ChunkedArray(STORED.shape, STORED.dtype, chunks, fetch)


_TABLE = RNG.integers(0, 60_000, (256, 3), np.uint16)
_U1 = np.dtype(np.uint8)
#: Lazy views of `STORED`, of axes ZYXS, and what they show.
VIEWS: dict[str, tuple[LevelArray, np.ndarray[Any, Any]]] = {
    "value": (Conversion(lambda block: 255 - block, _U1).apply_to(_lazy()), 255 - STORED),
    "colour": (Conversion(lambda block: _TABLE[block], np.dtype("u2"), samples=3).apply_to(_lazy()), _TABLE[STORED]),
    "sample": (select_samples(3, (2,), _U1).apply_to(_lazy()), STORED[..., 2]),
    "samples": (select_samples(3, (0, 3), _U1).apply_to(_lazy()), STORED[..., [0, 3]]),
    "first axis": (select_samples(0, (1, 0, 1), _U1).apply_to(_lazy()), STORED[[1, 0, 1]]),
    "turned": (upright_level(_lazy(), "ZYXS", 6), np.rot90(STORED, -1, (1, 2))),
    "mirrored": (upright_level(_lazy(), "ZYXS", 4), STORED[:, ::-1]),
    "turned twice": (
        upright_level(upright_level(_lazy(), "ZYXS", 8), "ZYXS", 7),
        np.rot90(STORED, 1, (1, 2)).swapaxes(1, 2)[:, ::-1, ::-1],
    ),
}


@pytest.mark.parametrize("name", VIEWS)
@given(data=st.data())
def test_views_index_like_numpy(name: str, data: st.DataObject) -> None:
    view, shown = VIEWS[name]
    assert (view.shape, view.dtype, len(view.chunks)) == (shown.shape, shown.dtype, shown.ndim)
    key = data.draw(_key(shown.shape))
    np.testing.assert_array_equal(view[key], shown[key])
    with pytest.raises(IndexError):
        view[shown.shape[0]]
