"""ImageJ files: calibration of values, contrast windows and lookup tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.create import create_sink

Opener = Callable[..., Source]

TRUE = np.random.default_rng(2).integers(-1000, 3000, (50, 60)).astype(np.int16)
SIGNED = (TRUE.astype(int) + 32768).astype(np.uint16)
GREEN = np.zeros((3, 256), np.uint8)
GREEN[1] = np.arange(256)


def _described(lines: str) -> dict[str, Any]:
    return {"metadata": None, "description": f"ImageJ=1.53t\n{lines}\n"}


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"compression": "zlib"}], ids=str)
def test_signed_pixels_have_their_true_values(options: dict[str, Any], opened: Opener) -> None:
    lines = "min=32768\nmax=33768\ncf=0\nc0=-32768.0\nc1=1.0\nvunit=HU"
    source = opened(SIGNED, **_described(lines), **options)
    assert (source.dtype, source.notes, source.windows) == (np.int16, (), ((0.0, 1000.0),))
    np.testing.assert_array_equal(np.asarray(source.data), TRUE)
    assert source.value_calibration == {"function": "straight line", "coefficients": [0.0, 1.0], "unit": "HU"}


@pytest.mark.parametrize(
    ("lines", "note", "stored"),
    [
        ("cf=0\nc0=-32768\nc1=2\nvunit=HU", "value = -32768 + 2 x pixel (HU) is", ["straight line", [-32768, 2], "HU"]),
        ("cf=0\nc0=5.5\nc1=0.25", "value = 5.5 + 0.25 x pixel is", ["straight line", [5.5, 0.25], ""]),
        (
            "cf=1\nc0=1\nc1=2\nc2=3\nvunit=OD",
            "(OD) by a function (polynomial of degree 2; coefficients 1, 2, 3)",
            ["polynomial of degree 2", [1, 2, 3], "OD"],
        ),
        ("cf=21", "(uncalibrated optical density; coefficients none)", ["uncalibrated optical density", [], ""]),
        ("cf=0\nc0=0\nc1=1\nvunit=V", "", ["straight line", [0, 1], "V"]),
        ("cf=0\nc0=0\nc1=1\nvunit=Gray Value", "", []),
        ("cf=20", "", []),
        ("cf=broken\nc0=x\nc1=nan", "", []),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_other_calibrations_are_kept_and_told(
    lines: str, note: str, stored: list[Any], dtype: str, opened: Opener
) -> None:
    pixels = SIGNED.astype(dtype)
    source = opened(pixels, **_described(lines))
    np.testing.assert_array_equal(np.asarray(source.data), pixels)
    assert list(source.value_calibration.values()) == stored
    assert [note in one and one.endswith("is not applied") for one in source.notes] == ([True] if note else [])


def test_calibration_is_stored_with_the_output(tmp_path: Path, opened: Opener) -> None:
    source = opened(SIGNED, **_described("cf=0\nc0=1\nc1=2\nvunit=OD"))
    for name in ("out.ome.tif", "out.ome.zarr"):
        sink = create_sink(tmp_path / name, source, chunk=64)
        sink.finish()
        sink.close()
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tif:
        tree = tifffile.xml2dict(tif.ome_metadata)["OME"]
    annotation = json.loads(tree["StructuredAnnotations"]["MapAnnotation"]["Value"]["M"]["value"])
    attributes = zarr.open_group(tmp_path / "out.ome.zarr", mode="r").attrs["masked_denoiser"]
    wanted = {"function": "straight line", "coefficients": [1.0, 2.0], "unit": "OD"}
    assert annotation["value_calibration"] == attributes["value_calibration"] == wanted


@pytest.mark.parametrize(
    ("shape", "metadata", "windows"),
    [
        ((2, 50, 60), {"axes": "CYX", "Ranges": (1.0, 9.0, 2.0, 8.0)}, ((1.0, 9.0), (2.0, 8.0))),
        ((2, 50, 60), {"axes": "CYX", "Ranges": (1.0, 9.0)}, ()),
        ((2, 50, 60), {"axes": "CYX", "min": 1.0, "max": 9.0}, ()),
        ((2, 50, 60), {"axes": "ZYX", "min": 1.0, "max": 9.0}, ((1.0, 9.0),)),
        ((50, 60), {"axes": "YX", "min": 9.0, "max": 9.0}, ()),
    ],
)
def test_windows_need_one_of_each_channel(shape: Any, metadata: Any, windows: Any, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones(shape, np.uint16), imagej=True, metadata=metadata)
    with open_image(tmp_path / "a.tif") as source:
        assert source.windows == windows


def test_lookup_tables_become_channel_colours(tmp_path: Path) -> None:
    fire = np.random.default_rng(0).integers(0, 255, (3, 256), np.uint8)
    fire[:, -1] = (255, 128, 0)
    metadata = {"axes": "CYX", "LUTs": [GREEN, fire]}
    tifffile.imwrite(tmp_path / "a.tif", np.ones((2, 50, 60), np.uint8), imagej=True, metadata=metadata)
    with open_image(tmp_path / "a.tif") as source:
        assert source.channel_colours == ("00FF00", "FF8000")
        assert source.notes == ("the lookup table of ImageJ of channels 1 is not kept, only the colour of its end",)


@pytest.mark.parametrize(
    ("table", "colour", "noted"), [(GREEN, "00FF00", False), (GREEN[:, ::-1], "00FF00", True)], ids=["ramp", "inverted"]
)
def test_palette_of_imagej_is_only_shown(table: Any, colour: str, noted: bool, tmp_path: Path) -> None:
    pixels = (SIGNED % 256).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, colormap=table.astype(np.uint16) * 257)
    with open_image(tmp_path / "a.tif") as source:
        assert (source.axes, source.channel_colours) == ("YX", (colour,))
        assert bool(source.notes) == noted
        np.testing.assert_array_equal(np.asarray(source.data), pixels)


def test_inverted_display_of_imagej_is_told(tmp_path: Path) -> None:
    pixels = (SIGNED % 256).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, photometric="miniswhite")
    with open_image(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(np.asarray(source.data), pixels)
        assert "inverted lookup table" in source.notes[0]


@pytest.mark.parametrize(("unit", "size"), [("um", 0.65), ("cm", 6.5e-5), ("micron", 6.5e-5)])
def test_resolution_per_centimeter_next_to_micrometers_is_converted(unit: str, size: float, opened: Opener) -> None:
    """Micro-Manager writes this pair, and ImageJ understands it for "um" alone."""
    per_unit = 1e4 / 0.65
    metadata = {"unit": unit}
    source = opened(SIGNED, imagej=True, resolution=(per_unit,) * 2, resolutionunit="CENTIMETER", metadata=metadata)
    assert source.pixel_size == pytest.approx({"Y": size, "X": size}, rel=1e-6)


def test_origin_is_that_of_imagej(opened: Opener) -> None:
    """The coordinate of pixel i is (i - xorigin) * pixel width (`ij.measure.Calibration.getX`)."""
    lines = "images=1\nslices=1\nunit=micron\nspacing=2.0\nxorigin=100.0\nyorigin=-50.0"
    source = opened(SIGNED, **_described(lines), resolution=(2, 4))
    assert source.pixel_size["X"] == 0.5
    assert source.origin == {"X": -50.0, "Y": 12.5}
