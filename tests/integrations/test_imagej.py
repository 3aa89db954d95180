"""Tests of the scripts for ImageJ: the Python part always, the macro where ImageJ 1 is installed (Debian: imagej)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ..test_packaging import ROOT

FOLDER = ROOT / "integrations" / "imagej"
IMAGEJ = Path("/usr/share/java/ij.jar")
NOISE = np.random.default_rng(5).normal(0, 500, (2, 3, 96, 160))
STACK = (np.linspace(5000, 30000, 160) + NOISE).astype(np.uint16)
COLOURS = np.clip(np.linspace(40, 200, 160)[:, None] + NOISE[0, ..., None] / 50, 0, 255).astype(np.uint8)[0]
RGB = np.repeat(COLOURS, 3, axis=-1)


def write_stack(path):
    metadata = {"axes": "ZCYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(path, STACK, imagej=True, resolution=(1 / 0.5, 1 / 0.5), metadata=metadata)


def write_rgb(path):
    tifffile.imwrite(path, RGB, photometric="rgb")


CASES = pytest.mark.parametrize(("write", "pixels", "axes"), [(write_stack, STACK, "ZCYX"), (write_rgb, RGB, "YXS")])


def check(path, pixels, axes):
    """Assert that a result has the layout of its input as ImageJ reads it, and less noise."""
    with tifffile.TiffFile(path) as file:
        (series,) = file.series
        assert file.is_imagej
        assert (series.axes, series.dtype) == (axes, pixels.dtype)
        page = file.pages[0]
        assert page.compression == tifffile.COMPRESSION.NONE
        assert not page.is_tiled
        result = series.asarray().astype(np.float64)
        if "Z" in axes:
            assert file.imagej_metadata["spacing"] == 2.0
            assert page.tags["XResolution"].value[0] / page.tags["XResolution"].value[1] == pytest.approx(2.0)
    rows = axes.index("Y")
    assert np.diff(result, axis=rows).std() < 0.6 * np.diff(pixels.astype(np.float64), axis=rows).std()
    assert abs(result.mean() - pixels.mean()) < 0.01 * pixels.mean()


def test_failure_is_one_line_on_standard_output(tmp_path):
    write_rgb(tmp_path / "a.tif")
    script = FOLDER / "denoise_for_imagej.py"
    command = [sys.executable, script, tmp_path / "a.tif", tmp_path / "b.tif", "--model missing"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stdout.startswith("masked-denoiser: no model is called 'missing'")
    assert process.stdout.count("\n") == 1
    assert not (tmp_path / "b.tif").exists()


@CASES
def test_python_part_writes_for_imagej(write, pixels, axes, tmp_path):
    write(tmp_path / "a.tif")
    script = FOLDER / "denoise_for_imagej.py"
    command = [sys.executable, script, tmp_path / "a.tif", tmp_path / "b.tif", "--noise auto"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "done\n"
    check(tmp_path / "b.tif", pixels, axes)


@pytest.mark.skipif(
    not (IMAGEJ.exists() and shutil.which("java") and "DISPLAY" in os.environ),
    reason="needs ImageJ 1 (Debian: imagej), Java and a display",
)
@CASES
def test_macro_denoises_in_imagej(write, pixels, axes, tmp_path):
    write(tmp_path / "a.tif")
    words = (sys.executable, FOLDER / "denoise_for_imagej.py", tmp_path / "a.tif", tmp_path / "b.tif", "")
    command = ["java", "-jar", IMAGEJ, "-batch", FOLDER / "Denoise_Image.ijm", "|".join(map(str, words))]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stdout + process.stderr
    assert (tmp_path / "b.tif").exists(), process.stdout + process.stderr
    check(tmp_path / "b.tif", pixels, axes)
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), pixels)
