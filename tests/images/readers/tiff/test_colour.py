"""Colour kinds of TIFF: each is converted as a third-party library does it, kept, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.create import create_sink

RNG = np.random.default_rng(4)
GRAY = RNG.integers(0, 256, (60, 80), np.uint8)
RGB = RNG.integers(0, 256, (60, 80, 3), np.uint8)
Opener = Callable[..., Source]
LAYOUTS: list[dict[str, Any]] = [{}, {"compression": "zlib", "tile": (32, 32)}, {"bigtiff": True, "byteorder": ">"}]


def _with_palette(folder: Path, bits: int, colours: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Write a palette image of few bits, which tifffile does not write, as one of intensities, and change its kind."""
    indices = GRAY % 2**bits
    tag = [(320, 3, colours.size, tuple(int(c) for c in colours.ravel()), True)]
    stored = indices.astype(bool) if bits == 1 else indices
    tifffile.imwrite(folder / "a.tif", stored, photometric="minisblack", bitspersample=bits, extratags=tag)
    with tifffile.TiffFile(folder / "a.tif", mode="r+") as tif:
        tif.pages[0].tags["PhotometricInterpretation"].overwrite(3)
    return indices


def _ramp(entries: int, last: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    return (np.linspace(0, 1, entries) * np.array(last)[:, None]).round().astype(np.uint16) * np.uint16(257)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(("factor", "dtype"), [(257, np.uint8), (256, np.uint8), (1, np.uint8), (250, np.uint16)])
def test_palette_becomes_rgb(factor: int, dtype: Any, layout: dict[str, Any], opened: Opener) -> None:
    colours = (RNG.integers(0, 256, (3, 256)) * factor).astype(np.uint16)
    source = opened(GRAY, photometric="palette", colormap=colours, **layout)
    pixels = np.asarray(source.data)
    scale = factor if dtype == np.uint8 else 1
    assert (source.axes, source.rgb, pixels.dtype) == ("YXS", True, dtype)
    np.testing.assert_array_equal(pixels, np.take(colours // scale, GRAY, axis=1).transpose(1, 2, 0))
    assert "palette of 256 colours" in source.notes[-1]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_small_palettes_match_numpy(bits: int, tmp_path: Path) -> None:
    colours = (RNG.integers(0, 256, (3, 2**bits)) * 257).astype(np.uint16)
    indices = _with_palette(tmp_path, bits, colours)
    with open_image(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.data[3:50, ::3], (colours.T // 257)[indices[3:50, ::3]])


def test_palette_of_16_bits(opened: Opener) -> None:
    colours = RNG.integers(0, 65536, (3, 65536), np.uint16)
    indices = RNG.integers(0, 65536, (60, 80), np.uint16)
    source = opened(indices, photometric="palette", colormap=colours)
    pixels = np.asarray(source.data)
    assert source.rgb
    np.testing.assert_array_equal(pixels, colours.T[indices])


@pytest.mark.parametrize(
    ("colours", "expected", "colour"),
    [
        (_ramp(256, (255, 255, 255)), GRAY, ()),
        (_ramp(256, (255, 255, 255))[:, ::-1], 255 - GRAY, ()),
        (_ramp(256, (128, 128, 128)), np.rint(GRAY / 255 * 128).astype(np.uint8), ()),
        (_ramp(256, (0, 255, 0)), GRAY, ("00FF00",)),
    ],
    ids=["gray", "reversed", "dark", "green"],
)
def test_ramps_are_intensities(colours: Any, expected: Any, colour: tuple[str, ...], opened: Opener) -> None:
    source = opened(GRAY, photometric="palette", colormap=colours)
    pixels = np.asarray(source.data)
    assert (source.axes, source.rgb, source.channel_colours) == ("YX", False, colour)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("bits", [1, 4])
def test_gray_ramp_of_few_bits_keeps_indices(bits: int, tmp_path: Path) -> None:
    indices = _with_palette(tmp_path, bits, _ramp(2**bits, (255, 255, 255)))
    with open_image(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(np.asarray(source.data), indices)


def test_pages_of_different_palettes_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for seed in (1, 2):
            colours = np.random.default_rng(seed).integers(0, 65536, (3, 256), np.uint16)
            writer.write(GRAY, photometric="palette", colormap=colours, contiguous=False, metadata=None)
    with pytest.raises(ImageError, match="different palettes; export it as RGB"):
        open_image(tmp_path / "a.tif")


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint8", 4), ("uint16", 12), ("uint16", 16), ("bool", 1)])
def test_min_is_white_is_inverted(
    dtype: str, bits: int, layout: dict[str, Any], opened: Opener, tmp_path: Path
) -> None:
    stored = (RNG.integers(0, 2**bits, (60, 80))).astype(dtype)
    packed = {"bitspersample": bits} if bits in (4, 12) else layout  # tifffile packs bits in the simplest layout only
    source = opened(stored, photometric="miniswhite", **packed)
    pixels = np.asarray(source.data)
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), stored)
    np.testing.assert_array_equal(pixels.astype(int), 2**bits - 1 - stored.astype(int))
    assert "inverted" in source.notes[-1]


def test_fill_value_is_inverted_too(opened: Opener) -> None:
    nodata = [(42113, 2, 2, "0", True)]
    source = opened(GRAY, photometric="miniswhite", extratags=nodata)
    assert source.fill_values == (255.0,)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_ycbcr_matches_pillow(layout: dict[str, Any], opened: Opener) -> None:
    source = opened(RGB, photometric="ycbcr", subsampling=(1, 1), **layout)
    pixels = np.asarray(source.data)
    expected = np.asarray(Image.frombytes("YCbCr", (80, 60), RGB.tobytes()).convert("RGB")).astype(int)
    assert source.rgb
    assert np.abs(pixels - expected).max() <= 1
    np.testing.assert_array_equal(source.data[5:40:2, 7, 1], pixels[5:40:2, 7, 1])


def test_ycbcr_of_16_bits_has_the_same_colours(opened: Opener) -> None:
    wide = RGB.astype(np.uint16) * 256
    pixels = np.asarray(opened(wide, photometric="ycbcr").data)
    expected = np.asarray(Image.frombytes("YCbCr", (80, 60), RGB.tobytes()).convert("RGB")) * 256.0
    inside = (expected > 2000) & (expected < 63000)
    assert np.abs(pixels - expected)[inside].max() <= 512


def test_jpeg_is_converted_by_its_decoder(tmp_path: Path, opened: Opener) -> None:
    smooth = np.asarray(Image.fromarray(RGB[:6, :8]).resize((80, 64), Image.Resampling.BICUBIC))
    source = opened(smooth, photometric="rgb", compression="jpeg", subsampling=(1, 1))
    pixels = np.asarray(source.data)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.pages[0].photometric == tifffile.PHOTOMETRIC.YCBCR
    assert (source.rgb, source.notes) == (True, ())
    assert np.abs(pixels.astype(int) - smooth).mean() < 4


REFUSED = {
    "cmyk": (np.dstack([RGB, GRAY]), {"photometric": "separated"}, "CMYK"),
    "cielab": (RGB, {"photometric": "cielab"}, "CIE L*a*b*"),
    "icclab": (RGB, {"photometric": "icclab"}, "CIE L*a*b*"),
    "itulab": (RGB, {"photometric": "itulab"}, "CIE L*a*b*"),
    "raw": (GRAY, {"photometric": "cfa"}, "Bayer"),
    "logl": (GRAY, {"photometric": "logl"}, "logarithmic luminance"),
    "logluv": (RGB, {"photometric": "logluv"}, "logarithmic LUV"),
    "mask": (GRAY, {"photometric": "mask"}, "transparency mask"),
    "float white": (GRAY.astype("f4"), {"photometric": "miniswhite"}, "min-is-white"),
    "signed white": (GRAY.astype("i2"), {"photometric": "miniswhite"}, "min-is-white"),
    "float ycbcr": (RGB.astype("f4"), {"photometric": "ycbcr"}, "YCbCr has 3 samples of float32"),
    "jpeg 2000 ycbcr": (RGB, {"photometric": "ycbcr", "compression": "jpeg2000"}, "YCbCr is compressed by JPEG2000"),
}


@pytest.mark.parametrize(("pixels", "options", "words"), REFUSED.values(), ids=REFUSED)
def test_other_colours_are_refused(pixels: Any, options: dict[str, Any], words: str, opened: Opener) -> None:
    with pytest.raises(ImageError) as caught:
        opened(pixels, **options)
    assert words in str(caught.value)
    assert "; " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "words"), [(32000, "interpretation 32000"), (3, "palette has 0 colours")])
def test_contradictory_kind_is_refused(value: int, words: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GRAY)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        tif.pages[0].tags["PhotometricInterpretation"].overwrite(value)
    with pytest.raises(ImageError, match=words):
        open_image(tmp_path / "a.tif")


def test_subsampled_ycbcr_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="ycbcr")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        tif.pages[0].tags["YCbCrSubSampling"].overwrite((2, 2))
    with pytest.raises(ImageError, match=r"subsampled by \(2, 2\); export it as RGB"):
        open_image(tmp_path / "a.tif")


@pytest.mark.parametrize("samples", [["unassalpha"], ["assocalpha"], ["unspecified"]])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_alpha_keeps_its_kind(samples: list[str], planar: str, tmp_path: Path, opened: Opener) -> None:
    pixels = np.dstack([RGB, GRAY])
    stored = pixels if planar == "contig" else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    source = opened(stored, photometric="rgb", extrasamples=samples, planarconfig=planar)
    with tifffile.TiffFile(_copied(source, tmp_path / "out.ome.tif")) as tif:
        assert [kind.name.lower() for kind in tif.pages[0].extrasamples] == samples
        np.testing.assert_array_equal(tif.asarray(), pixels)
    assert any("multiplied by its alpha" in note for note in source.notes) == (samples == ["assocalpha"])


def _copied(source: Source, path: Path) -> Path:
    sink = create_sink(path, source, chunk=64)
    height, width = source.size_yx
    for plane in list_planes(source.axes, source.sizes, source.rgb):
        for y in range(0, height, 64):
            for x in range(0, width, 64):
                ys, xs = slice(y, min(y + 64, height)), slice(x, min(x + 64, width))
                sink.write(plane, y, x, source.read(plane, ys, xs))
    sink.finish()
    sink.close()
    return path


@pytest.mark.parametrize(
    ("pixels", "options", "axes", "kept"),
    [
        (np.dstack([GRAY, 255 - GRAY]), {"photometric": "minisblack"}, "YX", GRAY),
        (np.stack([GRAY, 255 - GRAY]), {"photometric": "minisblack", "planarconfig": "separate"}, "YX", GRAY),
        (np.dstack([GRAY, 255 - GRAY]), {"photometric": "miniswhite"}, "YX", 255 - GRAY),
        (np.dstack([RGB, GRAY, GRAY]), {"photometric": "rgb"}, "YXS", np.dstack([RGB, GRAY])),
    ],
    ids=["contiguous", "planar", "min is white", "RGB"],
)
def test_alpha_beside_gray_is_left_out(pixels: Any, options: Any, axes: str, kept: Any, opened: Opener) -> None:
    extra = ["unassalpha"] if axes == "YX" else ["unassalpha", "unspecified"]
    options = {"planarconfig": "contig", **options}
    source = opened(pixels, extrasamples=extra, **options)
    found = np.asarray(source.data)
    assert source.axes == axes
    np.testing.assert_array_equal(found, kept)
    assert any("alpha" in note for note in source.notes)


def test_lower_levels_are_converted_too(tmp_path: Path) -> None:
    colours = (RNG.integers(0, 256, (3, 256)) * 257).astype(np.uint16)
    options: dict[str, Any] = {"photometric": "palette", "colormap": colours, "tile": (16, 16), "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(GRAY, subifds=1, **options)
        writer.write(GRAY[::2, ::2], subfiletype=1, **options)
    with open_image(tmp_path / "a.tif") as source:
        assert len(source.levels) == 2
        np.testing.assert_array_equal(source.levels[1][:], (colours.T // 257)[GRAY[::2, ::2]])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_converted_pixels_stay_lazy(compression: str | None, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GRAY, photometric="miniswhite", compression=compression, rowsperstrip=20)
    source = open_image(tmp_path / "a.tif")
    assert source.data.chunks[1] == 80
    source.close()
    with pytest.raises(ValueError, match="closed"):
        source.data[0, 0]
